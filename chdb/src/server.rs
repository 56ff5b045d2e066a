//! The server: the engine and its listener in this process.
//!
//! In: [`Config`] and a future that tells when to stop. Out: ClickHouse's HTTP interface on [`Server::address`] until then. Stopping lets running
//! requests finish, up to `stop_wait_ms`. It neither starts nor watches processes: that is [`crate::supervise`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::engine::Engine;
use crate::error::Error;
use crate::exception::Exception;
use crate::http::call::Call;
use crate::http::coding::Coding;
use crate::http::intake::Intake;
use crate::http::reply::{self, Label};
use crate::http::run::Queries;
use crate::http::spool::Budget;
use crate::http::stream::ReplyBody;

/// Opens the engine and serves until `shutdown` resolves.
///
/// # Errors
/// When the library is missing, the directory is in use or cannot be opened, or the address cannot be listened on.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Server::open(config).await?.run(shutdown).await
}

/// The engine, open, and its listener.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all requests share.
struct Shared {
    config: Config,
    engine: Arc<Engine>,
    queries: Arc<Queries>,
    budget: Arc<Budget>,
}

impl Server {
    /// Waits for the directory, opens the engine on it and listens.
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn open(config: Config) -> Result<Server, Error> {
        let address = config.listen;
        if !address.ip().is_loopback() && (!config.remote || config.password.is_empty()) {
            return Err(Error::NotLoopback { address });
        }
        let listen = |source| Error::Listen { address, source };
        let opening = config.clone();
        let engine = tokio::task::spawn_blocking(move || Engine::open(&opening)).await;
        let engine = Arc::new(engine.expect("opening the engine does not panic")?);
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let queries = Queries::new(engine.clone(), config.limits.clone());
        let budget = Budget::new(config.limits.body_memory_bytes_max);
        Ok(Server {
            listener,
            address,
            shared: Arc::new(Shared {
                config,
                engine,
                queries,
                budget,
            }),
        })
    }

    /// Where it listens, the port chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The engine's version, such as `26.5.1.1`.
    pub fn version(&self) -> &str {
        self.shared.engine.version()
    }

    /// Serves until `shutdown` resolves, then lets running requests finish.
    ///
    /// # Errors
    /// None yet; a listener that fails to accept is tried again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let room = Arc::new(Semaphore::new(self.shared.config.limits.connections_max.max(1)));
        tokio::pin!(shutdown);
        loop {
            let permit = tokio::select! {
                () = &mut shutdown => break,
                permit = room.clone().acquire_owned() => permit.expect("nobody closes the room"),
            };
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, self.shared.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        }
        stop.cancel();
        connections.close();
        if timeout(self.shared.config.stop_wait(), connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "stopping although requests are still running"
            );
        }
        Ok(())
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    // without it small replies would only wait longer
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.limits.header_wait());
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let has_query = request.uri().query().is_some_and(|query| !query.is_empty());
        match (request.method().clone(), request.uri().path()) {
            (Method::GET | Method::HEAD, "/") if !has_query => reply::text(StatusCode::OK, "Ok.\n"),
            (Method::GET | Method::HEAD, "/ping" | "/replicas_status") => {
                reply::text(StatusCode::OK, "Ok.\n")
            }
            (Method::GET | Method::HEAD | Method::POST, "/" | "/query") => self.query(request).await,
            (Method::GET | Method::HEAD | Method::POST, _) => reply::text(
                StatusCode::NOT_FOUND,
                "There is nothing here. Use / or /ping, or /?query=… for queries.\n",
            ),
            _ => reply::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "Only GET, HEAD and POST are understood.\n",
            ),
        }
    }

    async fn query(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let mut label = Label {
            query_id: String::new(),
            time_zone: self.engine.time_zone().to_owned(),
            format: None,
            coding: Coding::Identity,
        };
        match self.try_query(request, &mut label).await {
            Ok(reply) => reply,
            Err(exception) => label.failure(&exception, self.engine.version()),
        }
    }

    async fn try_query(
        &self,
        request: Request<Incoming>,
        label: &mut Label,
    ) -> Result<Response<ReplyBody>, Exception> {
        let (head, body) = request.into_parts();
        let mut call = Call::parse(&head.method, &head.uri, &head.headers)?;
        label.query_id.clone_from(&call.query_id);
        label.coding = if call.compress {
            Coding::Identity
        } else {
            call.answer_coding
        };
        call.credentials.check(&self.config)?;
        let content_type = head
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let intake = Intake {
            limits: &self.config.limits,
            budget: &self.budget,
            directory: &self.config.data,
        };
        let taken = intake.take(&mut call, content_type, body).await?;
        label.query_id.clone_from(&call.query_id);
        self.queries.run(&call, taken, label).await
    }
}
