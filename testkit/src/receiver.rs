//! A customer's HTTP server for tests. In: deliveries to any path. Out: each as it came (method, path, headers, raw
//! body), in order, or to whoever takes them. Answers 200, or 503 to the first so many requests of a path
//! or any status to all of them when told so;
//! a path that is held is answered only when it is let go. Verifies nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case; of a repeated one the last.
    pub headers: BTreeMap<String, String>,
    /// Its body, byte for byte.
    pub body: Bytes,
    /// The status that it was answered with.
    pub status: u16,
}

type Take = Box<dyn Fn(Received) + Send + Sync>;

struct Shared {
    failing: Mutex<BTreeMap<String, u32>>,
    statuses: Mutex<BTreeMap<String, StatusCode>>,
    held: watch::Sender<BTreeSet<String>>,
    received: Arc<Mutex<Vec<Received>>>,
    take: Take,
}

/// A running receiver; it ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts one on a free port of this machine that keeps what comes.
    ///
    /// # Panics
    /// When no port is to be had.
    pub async fn start() -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        Self::serve(received, Box::new(move |request| lock(&kept).push(request))).await
    }

    /// Starts one that hands each request on before it answers, and keeps nothing.
    ///
    /// # Panics
    /// When no port is to be had.
    pub async fn start_with(take: impl Fn(Received) + Send + Sync + 'static) -> Self {
        Self::serve(Arc::default(), Box::new(take)).await
    }

    async fn serve(received: Arc<Mutex<Vec<Received>>>, take: Take) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            failing: Mutex::default(),
            statuses: Mutex::default(),
            held: watch::Sender::default(),
            received,
            take,
        });
        let routes = Router::new().fallback(receive).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("the receiver serves");
        });
        Self {
            address,
            shared,
            serving,
        }
    }

    /// The URL of a path (`/main`).
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers 503 to the next `requests` of a path.
    pub fn fail(&self, path: &str, requests: u32) {
        lock(&self.shared.failing).insert(path.to_owned(), requests);
    }

    /// Answers every request of a path with this status from now on.
    ///
    /// # Panics
    /// When it is no status.
    pub fn answer(&self, path: &str, status: u16) {
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        lock(&self.shared.statuses).insert(path.to_owned(), status);
    }

    /// Answers no request of a path any more; they wait.
    pub fn hold(&self, path: &str) {
        self.shared
            .held
            .send_modify(|held| _ = held.insert(path.to_owned()));
    }

    /// Answers a path's requests again, those that wait first.
    pub fn let_go(&self, path: &str) {
        self.shared.held.send_modify(|held| _ = held.remove(path));
    }

    /// What came so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Receiver")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let (headers, path) = (headers.collect(), uri.path().to_owned());
    let status = match lock(&shared.failing).get_mut(&path) {
        Some(left) if *left > 0 => {
            *left -= 1;
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => lock(&shared.statuses)
            .get(&path)
            .copied()
            .unwrap_or(StatusCode::OK),
    };
    (shared.take)(Received {
        method: method.to_string(),
        path: path.clone(),
        headers,
        body,
        status: status.as_u16(),
    });
    let mut held = shared.held.subscribe();
    // An error means that nobody can let go any more: the test is over.
    let _ = held.wait_for(|held| !held.contains(&path)).await;
    status
}
