//! The sockets: one thread per core, each with a current-thread runtime and a socket of its own on the same port
//! (SO_REUSEPORT). In: the [`Context`] that all threads share. Out: a running [`Ingest`] that can be drained: no new
//! connections, requests in flight finished, then an end within the limit. What is answered is decided in `accept`.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tidegate_broker::Broker;
use tidegate_providers::Catalogue;
use tidegate_registry::Registry;
use tidegate_schemas::{IntegrationId, Reason, Secret};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::accept::{Door, Sender};
use crate::config::Config;
use crate::drain::Drain;
use crate::reply::Refusal;
use crate::socket::Socket;

/// How many headers hyper takes by itself, on the stack; for more it asks for 16 KiB of memory at every request.
const HYPER_HEADERS: usize = 100;

/// Asks the registry's writer to keep a secret that a handshake delivered, for an integration or one of its
/// connections; resolves when it is durable, false when none was awaited any more.
pub type StoreSecret = Arc<
    dyn Fn(IntegrationId, Option<String>, Secret) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync,
>;

/// What ingest works with.
pub struct Context {
    /// Its limits.
    pub config: Config,
    /// Where providers reach it, as registered with them (`https://hooks.example.com`), without a slash at the end;
    /// empty: the address it listens on.
    pub public_url: String,
    /// Where requests are appended.
    pub broker: Broker,
    /// Where integrations are found.
    pub registry: Registry,
    /// The definitions.
    pub catalogue: Arc<Catalogue>,
    /// Keeps the secrets that handshakes deliver.
    pub store_secret: StoreSecret,
    /// Makes the calls that confirm a handshake.
    pub egress: tidegate_egress::Client,
}

/// Why ingest cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (ingest.listen): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread or its runtime cannot be made.
    #[error("cannot start a thread of ingest: {0}")]
    Thread(#[from] std::io::Error),
}

/// Ingest, running.
pub struct Ingest {
    address: SocketAddr,
    drain: Drain,
    threads: Vec<JoinHandle<()>>,
}

impl Ingest {
    /// Opens the sockets and begins to serve.
    ///
    /// # Errors
    /// When the address is taken or not this machine's, or a thread cannot be made.
    pub fn start(mut context: Context) -> Result<Self, Error> {
        let threads = match context.config.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            set => set,
        };
        let (asked, backlog) = (context.config.listen, context.config.backlog);
        let listen = |address| bind(address, backlog).map_err(|source| Error::Listen { address, source });
        let first = listen(asked)?;
        let address = first.local_addr().map_err(|source| Error::Listen {
            address: asked,
            source,
        })?;
        let mut listeners = vec![first];
        for _ in 1..threads {
            listeners.push(listen(address)?);
        }
        if context.public_url.is_empty() {
            context.public_url = format!("http://{address}");
        }
        let drain = Drain::default();
        let connections = Arc::new(Semaphore::new(context.config.connections_max));
        let door = Arc::new(Door::new(context));
        let threads = listeners
            .into_iter()
            .enumerate()
            .map(|(n, listener)| {
                let thread = Thread {
                    door: door.clone(),
                    connections: connections.clone(),
                    drain: drain.clone(),
                };
                std::thread::Builder::new()
                    .name(format!("ingest-{n}"))
                    .spawn(move || thread.run(listener))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            address,
            drain,
            threads,
        })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, finishes the requests in flight, and returns when all threads have ended, at the
    /// latest after `ingest.drain_timeout_ms`.
    pub async fn drain(self) {
        self.drain.begin();
        let join = tokio::task::spawn_blocking(move || {
            self.threads
                .into_iter()
                .map(JoinHandle::join)
                .filter(Result::is_err)
                .count()
        });
        match join.await {
            Ok(0) => {}
            broken => tracing::error!(?broken, "threads of ingest panicked"),
        }
    }
}

fn bind(address: SocketAddr, backlog: i32) -> std::io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

struct Thread {
    door: Arc<Door>,
    connections: Arc<Semaphore>,
    drain: Drain,
}

impl Thread {
    fn run(self, listener: std::net::TcpListener) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve(listener)),
            Err(error) => tracing::error!(%error, "a thread of ingest has no runtime"),
        }
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a thread of ingest has no socket"),
        };
        let open = TaskTracker::new();
        while let Some((stream, remote, permit)) = self.next(&listener).await {
            let (door, drain) = (self.door.clone(), self.drain.clone());
            open.spawn(async move {
                connection(stream, Sender::new(door, remote), drain).await;
                drop(permit);
            });
        }
        drop(listener);
        open.close();
        if tokio::time::timeout(self.door.config().drain_timeout(), open.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = open.len(),
                "connections cut off: ingest.drain_timeout_ms is over"
            );
        }
    }

    /// The next connection, when one more may be open; nothing once it drains.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let accept = async {
            loop {
                match listener.accept().await {
                    // Only then the permit: a thread that nobody comes to must not keep the last one from the others.
                    Ok((stream, remote)) => {
                        let permit = self.connections.clone().acquire_owned().await.ok()?;
                        return Some((stream, remote, permit));
                    }
                    Err(error) => {
                        // Out of descriptors, or a connection that broke before it was taken: the others go on.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.drain.begins() => None,
            accepted = accept => accepted,
        }
    }
}

/// Serves one connection, HTTP/1.1 or HTTP/2 without TLS, as its first bytes tell.
async fn connection(stream: TcpStream, sender: Arc<Sender>, drain: Drain) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "a connection broke at once");
    }
    let mut preface = [0u8; 3];
    let limit = sender.door.config().header_timeout();
    let peeked = tokio::select! {
        biased;
        () = drain.begins() => return,
        peeked = tokio::time::timeout(limit, stream.peek(&mut preface)) => peeked,
    };
    match peeked {
        Ok(Ok(1..)) if &preface == b"PRI" => http2(stream, sender, drain).await,
        Ok(Ok(1..)) => http1(stream, sender, drain).await,
        _ => {}
    }
}

async fn http1(stream: TcpStream, sender: Arc<Sender>, drain: Drain) {
    let config = sender.door.config();
    let mut builder = hyper::server::conn::http1::Builder::new();
    // hyper's own limits lie above ours, so that ours are the ones that are named.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size((config.header_bytes_max * 2).max(128 << 10))
        .half_close(true);
    if config.header_count_max >= HYPER_HEADERS {
        builder.max_headers(config.header_count_max * 2 + 16);
    }
    let service = service_fn(|request| sender.receive(request));
    let mut served = builder.serve_connection(TokioIo::new(Socket::new(stream)), service);
    let result = drain
        .serve(&mut served, |served| served.graceful_shutdown())
        .await;
    let Err(error) = result else { return };
    let socket = served.into_parts().io.into_inner();
    if error.is_timeout() && socket.head_begun() {
        socket.refuse(&Refusal::new(
            Reason::HeaderTimeout,
            "the headers did not arrive within ingest.header_timeout_ms",
        ));
    }
}

async fn http2(stream: TcpStream, sender: Arc<Sender>, drain: Drain) {
    let config = sender.door.config();
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let header_bytes = u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(header_bytes.saturating_mul(2))
        .max_concurrent_streams(256)
        .keep_alive_interval(Some(config.header_timeout()));
    let service = service_fn(|request| sender.receive(request));
    let mut served = builder.serve_connection(TokioIo::new(stream), service);
    let result = drain
        .serve(&mut served, |served| served.graceful_shutdown())
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP/2 connection ended");
    }
}
