//! A customer's receiver: a hyper server that keeps what arrives and answers as a test says, also badly. In: HTTP. Out:
//! arrivals, which tests wait for. Verifies nothing itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::PATIENCE;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Arrival {
    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing from {:?}", self.headers));
        value.to_str().expect("text")
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a status and headers.
    Status(u16, Vec<(&'static str, String)>),
    /// With a body of this many bytes.
    Large(usize),
    /// Half a body, and the connection is cut.
    Cut,
    /// One byte of a long body, and then nothing.
    Drip,
    /// Not before [`Receiver::let_go`].
    Hang,
}

impl Reply {
    pub fn ok() -> Self {
        Reply::Status(200, Vec::new())
    }

    pub fn status(status: u16) -> Self {
        Reply::Status(status, Vec::new())
    }
}

type Behaviour = dyn Fn(&Arrival, usize) -> Reply + Send + Sync;

/// The server; it ends with the runtime.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    behave: Arc<Behaviour>,
    arrivals: Mutex<Vec<Arrival>>,
    count: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Receiver {
    /// Listens; `behave` gets each arrival, and how many came to its path before.
    pub async fn start(behave: Arc<Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            behave,
            arrivals: Mutex::default(),
            count: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A cut body ends the connection with an error, as it should.
                tokio::spawn(async move { drop(served.await) });
            }
        });
        Self { address, state }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.state.arrivals.lock().clone()
    }

    /// Waits until what has arrived satisfies `done`; returns it.
    pub async fn wait_for(&self, done: impl Fn(&[Arrival]) -> bool) -> Vec<Arrival> {
        let mut count = self.state.count.subscribe();
        loop {
            count.borrow_and_update();
            let arrivals = self.arrivals();
            if done(&arrivals) {
                return arrivals;
            }
            if tokio::time::timeout(PATIENCE, count.changed()).await.is_err() {
                let paths: Vec<String> = arrivals.into_iter().map(|arrival| arrival.path).collect();
                panic!("only these arrived: {paths:?}");
            }
        }
    }

    /// Gives whatever is under way a moment to arrive; returns what has.
    pub async fn wait_a_little(&self) -> Vec<Arrival> {
        let mut count = self.state.count.subscribe();
        // A condition is looked at again after it, so nothing hangs on how long this is.
        drop(tokio::time::timeout(Duration::from_millis(20), count.changed()).await);
        self.arrivals()
    }

    /// Answers everything that hangs, and whatever would.
    pub fn let_go(&self) {
        self.state.released.send_replace(true);
    }
}

impl State {
    async fn answer(&self, request: hyper::Request<hyper::body::Incoming>) -> Response<Scripted> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("a whole request").to_bytes();
        let arrival = Arrival {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
        };
        let before = {
            let mut arrivals = self.arrivals.lock();
            let before = arrivals.iter().filter(|other| other.path == arrival.path).count();
            arrivals.push(arrival.clone());
            before
        };
        let reply = (self.behave)(&arrival, before);
        self.count.send_modify(|count| *count += 1);
        let script = |first: Vec<u8>, then| {
            Response::new(Scripted {
                first: Some(first.into()),
                then,
            })
        };
        match reply {
            Reply::Status(status, headers) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response
                    .body(Scripted {
                        first: Some("thanks".into()),
                        then: Then::End,
                    })
                    .expect("a response")
            }
            Reply::Large(bytes) => script(vec![b'x'; bytes], Then::End),
            Reply::Cut => script(b"half".to_vec(), Then::Error),
            Reply::Drip => script(b"d".to_vec(), Then::Nothing),
            Reply::Hang => {
                let mut released = self.released.subscribe();
                released
                    .wait_for(|released| *released)
                    .await
                    .expect("the receiver lives");
                script(b"late".to_vec(), Then::End)
            }
        }
    }
}

/// A body that goes on as it is told.
struct Scripted {
    first: Option<Bytes>,
    then: Then,
}

enum Then {
    End,
    Error,
    Nothing,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match self.then {
            Then::End => Poll::Ready(None),
            Then::Error => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            Then::Nothing => Poll::Pending,
        }
    }
}
