//! The server that does nothing: built as ingest is (hyper http1, a current-thread runtime per core, each with a socket
//! of its own by SO_REUSEPORT), reads the body, replies two bytes. The floor under accepting, and the receiver of
//! deliveries. In: requests. Out: how many there were. Verifies and keeps nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// The running server; it ends with the process.
pub struct Idle {
    /// Where it listens.
    pub address: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl Idle {
    /// Starts it on a free port of this machine, with a thread per core.
    ///
    /// # Errors
    /// When no port is free, or a thread cannot be made.
    pub fn start() -> Result<Self, Failure> {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = first.local_addr()?;
        let answered = Arc::new(AtomicU64::new(0));
        let mut listeners = vec![first];
        for _ in 1..std::thread::available_parallelism()?.get() {
            listeners.push(bind(address)?);
        }
        for listener in listeners {
            let answered = Arc::clone(&answered);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            std::thread::Builder::new()
                .name("idle".to_owned())
                .spawn(move || runtime.block_on(serve(listener, answered)))?;
        }
        Ok(Self { address, answered })
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

async fn serve(listener: std::net::TcpListener, answered: Arc<AtomicU64>) {
    let listener = TcpListener::from_std(listener).expect("the socket is of this runtime's kind");
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&answered)));
    }
}

async fn connection(stream: TcpStream, answered: Arc<AtomicU64>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request: Request<Incoming>| async {
        let read = request.into_body().collect().await;
        answered.fetch_add(1, Ordering::Relaxed);
        drop(read);
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .half_close(true)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    drop(served); // A generator that hangs up at its end is no news.
}
