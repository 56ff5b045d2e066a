//! The connector: resolve, hold every address against the rule, dial exactly one that passed, TLS. In: a URI. Out: a
//! connection, or an [`Error`] inside a box (the HTTP client wants it so). All of it within one timeout and a bound on
//! open connections. Speaks no HTTP.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::resolve::Resolver;
use crate::{Error, Rule, metrics};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Dials under the rule, over TCP alone.
#[derive(Clone)]
pub(crate) struct TcpDialler {
    pub(crate) rule: Arc<Rule>,
    pub(crate) resolver: Resolver,
    pub(crate) slots: Arc<Semaphore>,
}

impl TcpDialler {
    /// The addresses of `host` that may be dialled; at least one.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let found = self.resolver.resolve(host).await?;
        let mut refused = None;
        let mut passed = Vec::with_capacity(found.len());
        for address in found.iter() {
            match self.rule.check_address(*address) {
                Ok(()) => passed.push(SocketAddr::new(*address, port)),
                Err(error) => {
                    metrics::address_refused();
                    refused = Some(error);
                }
            }
        }
        match refused {
            Some(error) if passed.is_empty() => Err(Error::AddressRefused(error)),
            _ => Ok(passed),
        }
    }

    async fn dial(self, uri: Uri) -> Result<Tcp, Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        });
        let addresses = self.addresses(host, port).await?;
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let mut failed = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without it a small request waits for an acknowledgement; failing to set it costs only time.
                    let _ = stream.set_nodelay(true);
                    return Ok(Tcp {
                        stream: TokioIo::new(stream),
                        _slot: slot,
                    });
                }
                Err(error) => failed = Some(error),
            }
        }
        let source = failed.unwrap_or_else(|| std::io::Error::other("the name has no address"));
        Err(Error::Connect {
            host: format!("{host}:{port}"),
            source: Arc::new(source),
        })
    }
}

impl Service<Uri> for TcpDialler {
    type Response = Tcp;
    type Error = BoxError;
    type Future = Dialling<Tcp>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialler = self.clone();
        Box::pin(async move { dialler.dial(uri).await.map_err(BoxError::from) })
    }
}

/// A connection that holds its place among all of them.
pub(crate) struct Tcp {
    stream: TokioIo<TcpStream>,
    _slot: OwnedSemaphorePermit,
}

impl Connection for Tcp {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

/// Dials and, for `https`, makes the TLS handshake; all of it within one timeout.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) https: HttpsConnector<TcpDialler>,
    pub(crate) timeout: Duration,
}

impl Service<Uri> for Dialler {
    type Response = MaybeHttpsStream<Tcp>;
    type Error = BoxError;
    type Future = Dialling<MaybeHttpsStream<Tcp>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let after = self.timeout;
        let connecting = self.https.call(uri);
        Box::pin(async move {
            let outcome = match tokio::time::timeout(after, connecting).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(typed(&error)),
                Err(_) => Err(Error::Timeout {
                    what: "connection",
                    after,
                }),
            };
            metrics::dialled(match &outcome {
                Ok(_) => "ok",
                Err(Error::Dns { .. }) => "dns",
                Err(Error::AddressRefused(_)) => "address_refused",
                Err(Error::Tls { .. }) => "tls",
                Err(Error::Timeout { .. }) => "timeout",
                Err(_) => "connect",
            });
            outcome.map_err(BoxError::from)
        })
    }
}

/// Our own error if the TCP part made it; else the TLS handshake failed.
fn typed(error: &BoxError) -> Error {
    match error.downcast_ref::<Error>() {
        Some(ours) => ours.clone(),
        None => Error::Tls {
            reason: error.to_string(),
        },
    }
}
