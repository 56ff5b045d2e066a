//! What a running server answers beside webhooks. On `DATA/admin.sock` (0600, this machine's owner of the data folder,
//! no key): the routes that the commands use, below `/api/v1`. Over TCP (`admin.listen`): `/healthz`, `/readyz` and
//! `/metrics`, for probes and scrapers, and on Kafka what processes ask one another, sealed. Both listen from the start; what is not ready yet says so.

pub mod apply;
mod calls;
mod connections;
pub(crate) mod facts;
pub mod health;
mod integrations;
mod problem;
pub mod question;
pub mod search;
pub mod status;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tidegate_broker::Broker;
use tidegate_chdb::supervise;
use tidegate_providers::Catalogue;
use tidegate_registry::{Desk, FloodPolicy, Registry};
use tidegate_sinks::audit;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{BrokerKind, Config};
use crate::metrics::Metrics;

pub use problem::Problem;

/// The socket's name in the data folder.
pub const SOCKET: &str = "admin.sock";
/// Where other processes' writes of the registry come to, on the admin address.
pub const WRITE_PATH: &str = "/internal/registry";
/// What a call holds beside its write.
const CALL_BYTES: usize = 64 * 1024;

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not every role has started.
    Starting,
    /// Requests are taken.
    Ready,
    /// No new requests are taken.
    Draining,
}

/// What the routes work with, once every role has started.
pub struct Parts {
    /// The topics.
    pub broker: Broker,
    /// Where writes of the registry are handed in.
    pub desk: Desk,
    /// What users configured.
    pub registry: Registry,
    /// The definitions.
    pub catalogue: Arc<Catalogue>,
    /// The flood control that holds where nobody has set any.
    pub flood: FloodPolicy,
    /// Asks ClickHouse, where this process knows of one.
    pub reader: Option<audit::Reader>,
    /// How the audit stands with ClickHouse, if this process has that role.
    pub audit: Option<audit::Status>,
    /// Where providers reach ingest.
    pub public_url: String,
    /// Where ingest listens, if this process has that role.
    pub ingest: Option<SocketAddr>,
    /// How the embedded engine is.
    pub engine: Option<watch::Receiver<supervise::State>>,
}

impl Parts {
    /// # Errors
    /// 503 when no ClickHouse is configured here.
    fn reader(&self) -> Result<&audit::Reader, Problem> {
        let missing = "this process knows of no ClickHouse (clickhouse.url): ask one with the role api";
        self.reader.as_ref().ok_or_else(|| Problem::unavailable(missing))
    }
}

/// What all routes share.
pub struct State {
    stage: AtomicU8,
    parts: OnceLock<Parts>,
    metrics: Metrics,
}

impl State {
    /// The state of a server that is starting.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            parts: OnceLock::new(),
            metrics,
        }
    }

    /// Every role has started.
    pub fn fill(&self, parts: Parts) {
        if self.parts.set(parts).is_err() {
            tracing::error!("the parts of the API were given twice; the first stay");
        }
    }

    /// The server's life goes on.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// # Errors
    /// 503 while the server is starting.
    fn parts(&self) -> Result<&Parts, Problem> {
        self.parts
            .get()
            .ok_or_else(|| Problem::unavailable("the server is still starting, try again in a moment"))
    }
}

/// The two listeners, running.
pub struct Admin {
    address: SocketAddr,
    socket: PathBuf,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Admin {
    /// Opens both.
    ///
    /// # Errors
    /// When one of them cannot be opened. The data folder is this process's own by then, so a socket that lies there
    /// is a dead process's.
    pub async fn start(config: &Config, state: Arc<State>) -> anyhow::Result<Self> {
        let socket = config.server.data.join(SOCKET);
        if socket.exists() {
            std::fs::remove_file(&socket).with_context(|| format!("cannot replace {}", socket.display()))?;
        }
        let unix =
            UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        let listen = config.admin.listen;
        let tcp = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen} (admin.listen)"))?;
        let address = tcp.local_addr()?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let (probes, routes) = (
            probes().merge(calls(config)).with_state(state.clone()),
            routes().with_state(state),
        );
        let (tcp_stop, unix_stop) = (stop.clone(), stop.clone());
        tasks.spawn(async move {
            report(
                axum::serve(tcp, probes)
                    .with_graceful_shutdown(tcp_stop.cancelled_owned())
                    .await,
            );
        });
        tasks.spawn(async move {
            report(
                axum::serve(unix, routes)
                    .with_graceful_shutdown(unix_stop.cancelled_owned())
                    .await,
            );
        });
        Ok(Self {
            address,
            socket,
            stop,
            tasks,
        })
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes both.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(2), async {
            while self.tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::debug!("answers of the API were cut off");
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "the admin socket stays");
        }
    }
}

fn report(ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a listener of the API ended");
    }
}

fn probes() -> Router<Arc<State>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
}

/// What other processes of the system ask; none are there beside an embedded log.
fn calls(config: &Config) -> Router<Arc<State>> {
    if config.broker.kind == BrokerKind::Embedded {
        return Router::new();
    }
    let bytes_max = 2 * config.registry.write_bytes_max + CALL_BYTES;
    Router::new()
        .route(WRITE_PATH, post(calls::write))
        .layer(DefaultBodyLimit::max(bytes_max))
}

fn routes() -> Router<Arc<State>> {
    probes()
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/apply", post(apply::apply))
        .route(
            "/api/v1/environments/{environment}/integrations",
            get(integrations::list).post(integrations::create),
        )
        .route(
            "/api/v1/environments/{environment}/integrations/{key}",
            get(integrations::show).patch(integrations::patch),
        )
        .route(
            "/api/v1/environments/{environment}/integrations/{key}/connections",
            post(connections::create),
        )
        .route(
            "/api/v1/environments/{environment}/integrations/{key}/connections/{id}",
            get(connections::show).patch(connections::patch),
        )
        .route("/api/v1/query", post(question::query))
        .route("/api/v1/search", post(search::search))
}
