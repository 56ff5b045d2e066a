//! The configuration: every section of every room, put together. In: a TOML file and the environment. Out: a
//! [`Config`]; every key has its commented line in `config/default.toml`, which a test holds against the code.

mod limits;
mod load;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::logging;

pub use limits::Misfits;
pub use load::{Error, uncommented};

/// `config/default.toml`: every key, its default, and a line about it.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: logging::Config,
    /// `[broker]`
    pub broker: Broker,
    /// `[registry]`
    pub registry: tidegate_registry::Config,
    /// `[egress]`
    pub egress: tidegate_egress::Config,
    /// `[ingest]`
    pub ingest: tidegate_ingest::Config,
    /// `[providers]`
    pub providers: tidegate_providers::Config,
    /// `[processor]`
    pub processor: tidegate_processor::Config,
    /// `[forward]`
    pub forward: tidegate_sinks::forward::Config,
    /// `[clickhouse]`
    pub clickhouse: tidegate_sinks::audit::Config,
    /// `[engine]`
    pub engine: Engine,
}

/// `[server]`: what concerns the process as a whole.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The folder of the log, the keys, the embedded ClickHouse and the admin socket.
    pub data: PathBuf,
    /// Where providers reach ingest, as registered with them; empty: `http://` and `ingest.listen`.
    pub public_url: String,
    /// A folder of definitions laid over the built-in ones.
    #[serde(deserialize_with = "path_or_none")]
    pub definitions: Option<PathBuf>,
    /// The key file that secrets are encrypted with; empty: `DATA/keys`, made at the first start.
    #[serde(deserialize_with = "path_or_none")]
    pub key_file: Option<PathBuf>,
    /// How long the roles may take to end, in milliseconds, beside `ingest.drain_timeout_ms`.
    pub stop_timeout_ms: u64,
    /// How often freed memory is given back to the kernel, in seconds; 0: soon, on whichever thread frees some next,
    /// which may hold a processor up for milliseconds.
    pub memory_purge_interval_s: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data: PathBuf::from("tidegate-data"),
            public_url: String::new(),
            definitions: None,
            key_file: None,
            stop_timeout_ms: 30_000,
            memory_purge_interval_s: 60,
        }
    }
}

/// `[admin]`: health, readiness and metrics over TCP, for probes and scrapers. The API is on `DATA/admin.sock`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address of `/healthz`, `/readyz` and `/metrics`, and on Kafka of what processes ask one another, sealed.
    pub listen: SocketAddr,
    /// Where other processes reach that address, `host:port`; empty: as it listens, on the interface towards Kafka.
    pub advertise: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            advertise: String::new(),
        }
    }
}

/// `[broker]`: which engine carries the topics.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// `embedded`: the log in `DATA/log`; `kafka`: a cluster, which any number of processes share.
    pub kind: BrokerKind,
    /// `[broker.embedded]`
    pub embedded: tidegate_broker::embedded::Config,
    /// `[broker.kafka]`
    pub kafka: tidegate_broker::kafka::Config,
}

/// The engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BrokerKind {
    /// The log of this process.
    #[default]
    Embedded,
    /// A Kafka cluster.
    Kafka,
}

/// `[engine]`: the embedded ClickHouse, which runs when `clickhouse.url` is empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// `libchdb.so`; empty: `TIDEGATE_LIBCHDB`, beside the program, or `build/chdb/libchdb.so` here.
    #[serde(deserialize_with = "path_or_none")]
    pub library: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How much memory its queries may take together, in bytes.
    pub memory_bytes_max: u64,
    /// How long its first answer may take, in milliseconds.
    pub start_timeout_ms: u64,
    /// How long it may say nothing before it is killed and started again, in milliseconds; `readyz` tells at half of
    /// it. It says once a second that it runs: 4000 at least.
    pub silence_max_ms: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            library: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            memory_bytes_max: 2 << 30,
            start_timeout_ms: 60_000,
            silence_max_ms: 30_000,
        }
    }
}

/// An empty path is none.
fn path_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

impl Config {
    /// Reads a configuration: the file (without one: the defaults), the environment over it.
    ///
    /// # Errors
    /// When the file cannot be read, or it or a variable has an unknown key or a wrong value.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let (name, text) = load::text_of(file)?;
        load::load(&name, &text, variables)
    }

    /// What holds, as TOML: the defaults, the file and the environment, without passwords.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn effective(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<String, Error> {
        let (name, text) = load::text_of(file)?;
        load::effective::<Self>((&uncommented(DEFAULTS), &name, &text), variables)
    }

    /// Where the embedded log lies.
    #[must_use]
    pub fn log_folder(&self) -> PathBuf {
        self.server.data.join("log")
    }

    /// Where the embedded ClickHouse lies.
    #[must_use]
    pub fn engine_folder(&self) -> PathBuf {
        self.server.data.join("clickhouse")
    }

    /// Where ingest keeps what it accepts while Kafka is away.
    #[must_use]
    pub fn spill_folder(&self) -> PathBuf {
        let set = &self.broker.kafka.spill.dir;
        if set.as_os_str().is_empty() {
            self.server.data.join("spill")
        } else {
            set.clone()
        }
    }

    /// This process's last copy of the registry.
    #[must_use]
    pub fn registry_copy(&self) -> PathBuf {
        self.server.data.join("registry.copy")
    }

    /// The key file.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.server
            .key_file
            .clone()
            .unwrap_or_else(|| self.server.data.join("keys"))
    }

    /// Where `libchdb.so` is looked for when the configuration does not say.
    #[must_use]
    pub fn engine_library(&self) -> PathBuf {
        if let Some(library) = &self.engine.library {
            return library.clone();
        }
        if let Some(named) = std::env::var_os("TIDEGATE_LIBCHDB") {
            return PathBuf::from(named);
        }
        let beside = std::env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.join("libchdb.so")));
        beside
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("build/chdb/libchdb.so"))
    }
}
