//! The embedded ClickHouse beside a server: a child process of this program, when no ClickHouse is configured. In: the
//! configuration, which learns the child's address and password. Out: a handle that says how it is and stops it.

use std::ffi::OsString;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidegate_chdb::Password;
use tidegate_chdb::supervise::{self, State};
use tidegate_schemas::Secret;
use tokio::sync::watch;

use crate::config::Config;

/// The child says once a second that it runs; a busy machine is given some of these to miss.
const SILENCE_MIN_MS: u64 = 4000;

/// The supervised child.
pub struct Engine {
    child: supervise::Engine,
    wait: Duration,
}

impl Engine {
    /// Begins to start the child; nothing when a ClickHouse is configured.
    ///
    /// # Errors
    /// When the library is missing, or no port is free.
    pub fn start(config: &mut Config) -> anyhow::Result<Option<Self>> {
        if !config.clickhouse.url.is_empty() {
            return Ok(None);
        }
        let library = config.engine_library();
        if !library.exists() {
            bail!(
                "the embedded ClickHouse engine is missing: there is no {}; `make engine` brings it, \
                 engine.library or TIDEGATE_LIBCHDB names another place, clickhouse.url names a server instead",
                library.display()
            );
        }
        let arguments: Vec<OsString> = vec![
            "clickhouse".into(),
            "--library".into(),
            library.into_os_string(),
            "--memory-bytes-max".into(),
            config.engine.memory_bytes_max.to_string().into(),
        ];
        let program = std::env::current_exe().context("this program's own file is not to be found")?;
        let mut child = supervise::Config::new(program, arguments, config.engine_folder());
        // Fixed before the start, so that the audit knows the address however long the first start takes.
        child.listen = match config.engine.listen {
            free if free.port() == 0 => TcpListener::bind(free).and_then(|socket| socket.local_addr())?,
            set => set,
        };
        child.password = Password::generate();
        config.clickhouse.url = format!("http://{}", child.listen);
        config.clickhouse.user.clone_from(&child.user);
        config.clickhouse.password = Secret::new(child.password.reveal().as_bytes());
        child.silence_max_ms = config.engine.silence_max_ms.max(SILENCE_MIN_MS);
        let wait = Duration::from_millis(config.engine.start_timeout_ms);
        Ok(Some(Self {
            child: supervise::Engine::start(child)?,
            wait,
        }))
    }

    /// Waits for the first answer. A child that is only slow is waited for elsewhere: its rows wait in the log.
    ///
    /// # Errors
    /// When the child says why it cannot start.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let Err(error) = self.child.ready(self.wait).await else {
            return Ok(());
        };
        if matches!(self.child.state(), State::Waiting { refused: true, .. }) {
            return Err(error).context("the embedded ClickHouse engine");
        }
        tracing::warn!(%error, "the embedded ClickHouse engine is not up yet; rows wait in the log");
        Ok(())
    }

    /// How it is, as it changes.
    pub fn states(&self) -> watch::Receiver<State> {
        self.child.states()
    }

    /// Lets it finish, and ends it.
    pub async fn stop(self) {
        self.child.stop().await;
    }
}
