//! The wiring of the roles into one process. In: the configuration. Out: a running [`Server`], which can be stopped in
//! order: readiness off, no new connections, requests in flight finished, decided and committed, the last attempts
//! ended, the last rows written, the log closed. What each role does is its own package's business.

mod copy;
mod engine;
mod folder;
mod internal;
mod lead;
mod roles;
mod shape;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidegate_broker::Broker;
use tidegate_ingest::Ingest;
use tidegate_providers::Catalogue;
use tidegate_sinks::audit;
use tokio::signal::unix::{SignalKind, signal as on};

use crate::api::{Admin, Parts, Stage, State};
use crate::config::{BrokerKind, Config};
use crate::memory;
use crate::metrics::Metrics;
use engine::Engine;
use folder::Folder;
use roles::{Role, Roles};
pub use shape::{RoleName, Shape};

/// A running server.
pub struct Server {
    config: Config,
    state: Arc<State>,
    admin: Admin,
    broker: Broker,
    ingest: Option<Ingest>,
    roles: Roles,
    engine: Option<Engine>,
    _folder: Option<Folder>,
}

/// The runtime of a server's roles; ingest has threads of its own.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("roles")
        .build()?)
}

/// Resolves at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// When signals cannot be listened for.
pub fn signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
    })
}

impl Server {
    /// Starts the roles of `shape`.
    ///
    /// # Errors
    /// Whatever keeps a role from starting: an address that is taken, a folder in use, a wrong key, a damaged log, a
    /// missing engine. What was started by then is stopped again.
    pub async fn start(mut config: Config, shape: &Shape) -> anyhow::Result<Self> {
        shape.check(&config)?;
        let interval = Duration::from_secs(config.server.memory_purge_interval_s);
        memory::purge_every(interval).context("cannot start the thread that gives memory back")?;
        std::fs::create_dir_all(&config.server.data)
            .with_context(|| format!("cannot make the data folder {}", config.server.data.display()))?;
        let folder = own_folder(&mut config).await?;
        config.place_spill(shape);
        let broker = open_broker(&config).await?;
        config.check_limits(|topic| broker.message_bytes_max(topic))?;
        let state = Arc::new(State::new(Metrics::install()?));
        let admin = Admin::start(&config, state.clone()).await?;
        let engine = if shape.needs_clickhouse() {
            Engine::start(&mut config)?
        } else {
            None
        };
        let address = internal::address(&config, admin.address());
        let started =
            Self::start_roles((&config, shape), (&broker, address), (&state, engine.as_ref())).await;
        let (ingest, roles) = match started {
            Ok(started) => started,
            Err(error) => {
                if let Some(engine) = engine {
                    engine.stop().await;
                }
                admin.stop().await;
                return Err(error);
            }
        };
        state.enter(Stage::Ready);
        tracing::info!(
            ingest = ingest.as_ref().map(|ingest| tracing::field::display(ingest.address())),
            admin = %admin.address(),
            data = %config.server.data.display(),
            "ready"
        );
        Ok(Self {
            config,
            state,
            admin,
            broker,
            ingest,
            roles,
            engine,
            _folder: folder,
        })
    }

    async fn start_roles(
        (config, shape): (&Config, &Shape),
        (broker, address): (&Broker, String),
        (state, engine): (&Arc<State>, Option<&Engine>),
    ) -> anyhow::Result<(Option<Ingest>, Roles)> {
        let catalogue = Arc::new(catalogue(config)?);
        let mut roles = Roles::default();
        roles.watch(broker);
        let (desk, registry) = roles.registry((config, shape), broker, address).await?;
        let client = tidegate_egress::Client::new(&config.egress)?;
        let role = Role {
            config,
            broker,
            registry: &registry,
            catalogue: &catalogue,
            client: &client,
            desk: &desk,
        };
        roles.tend(&role);
        let audit = shape
            .has(RoleName::Audit)
            .then(|| roles.audit(&role, engine.map(Engine::states)));
        if shape.has(RoleName::Processor) {
            roles.process(&role);
        }
        if shape.has(RoleName::Forward) {
            roles.forward(&role);
        }
        broker.start_retention();
        let has_ingest = shape.has(RoleName::Ingest);
        let ingest = has_ingest.then(|| roles::ingest(&role)).transpose()?;
        if let Some(engine) = engine
            && let Err(error) = engine.ready().await
        {
            if let Some(ingest) = ingest {
                ingest.drain().await;
            }
            if let Err(error) = roles.stop(config.stop_timeout()).await {
                tracing::warn!(error = format!("{error:#}"), "a role did not stop cleanly");
            }
            return Err(error);
        }
        if engine.is_some()
            && let Err(error) = audit::migrate(&config.clickhouse).await
        {
            tracing::warn!(%error, "the tables are not there yet; the audit tries again");
        }
        state.fill(Parts {
            broker: broker.clone(),
            desk,
            registry,
            catalogue,
            flood: config.processor.flood.policy(),
            reader: (!config.clickhouse.url.is_empty())
                .then(|| audit::Reader::new(&config.clickhouse))
                .transpose()?,
            audit,
            public_url: public_url(config, ingest.as_ref().map(Ingest::address)),
            ingest: ingest.as_ref().map(Ingest::address),
            engine: engine.map(Engine::states),
        });
        Ok((ingest, roles))
    }

    /// Where providers' requests come to, if this process takes them.
    #[must_use]
    pub fn ingest_address(&self) -> Option<SocketAddr> {
        self.ingest.as_ref().map(Ingest::address)
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Resolves when a role has failed and the process should end, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        self.roles.failed().await
    }

    /// Drains and stops.
    ///
    /// # Errors
    /// When a role ended with an error, or the log could not be closed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.state.enter(Stage::Draining);
        if let Some(ingest) = self.ingest {
            ingest.drain().await;
        }
        let ended = self.roles.stop(self.config.stop_timeout()).await;
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
        self.admin.stop().await;
        self.broker
            .close()
            .await
            .context("the log was not closed cleanly")?;
        tracing::info!("stopped");
        ended
    }
}

impl Config {
    /// A process that takes webhooks spills, and one that once did sends on what it has.
    fn place_spill(&mut self, shape: &Shape) {
        let folder = self.spill_folder();
        let spill = &mut self.broker.kafka.spill;
        let was_used = folder.exists();
        if was_used && !spill.enabled {
            tracing::warn!(
                folder = %folder.display(),
                "what lies in the spill is not sent on: set broker.kafka.spill.enabled"
            );
        }
        spill.enabled &= was_used || shape.has(RoleName::Ingest);
        spill.dir = folder;
    }

    fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.server.stop_timeout_ms)
    }
}

/// With Kafka: locks the data folder, and gives this process the folder's name unless it has one.
async fn own_folder(config: &mut Config) -> anyhow::Result<Option<Folder>> {
    if config.broker.kind == BrokerKind::Embedded {
        return Ok(None);
    }
    let folder = Folder::lock(&config.server.data).await?;
    if config.broker.kafka.instance.is_empty() {
        folder.name().clone_into(&mut config.broker.kafka.instance);
    }
    Ok(Some(folder))
}

/// The engine that carries the topics.
async fn open_broker(config: &Config) -> anyhow::Result<Broker> {
    Ok(match config.broker.kind {
        BrokerKind::Embedded => Broker::open(&config.broker.embedded, &config.log_folder()).await?,
        BrokerKind::Kafka => Broker::connect(&config.broker.kafka).await?,
    })
}

/// The definitions, built in and laid over.
pub(crate) fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    let folder = config.server.definitions.as_deref();
    Ok(Catalogue::load(config.providers, folder)?)
}

/// Where providers reach ingest.
fn public_url(config: &Config, ingest: Option<SocketAddr>) -> String {
    match config.server.public_url.trim_end_matches('/') {
        "" => format!("http://{}", ingest.unwrap_or(config.ingest.listen)),
        set => set.to_owned(),
    }
}
