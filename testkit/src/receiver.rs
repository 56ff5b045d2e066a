//! A customer's HTTP server for tests. In: deliveries to any path. Out: each as it came (method, path, headers, raw
//! body), in order. Answers 200, or 503 to the first so many requests of a path when told so. Verifies nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
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

#[derive(Debug, Default)]
struct Book {
    failing: BTreeMap<String, u32>,
    received: Vec<Received>,
}

/// A running receiver; it ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts it on a free port of this machine.
    ///
    /// # Panics
    /// When no port is to be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let book = Arc::new(Mutex::new(Book::default()));
        let routes = Router::new().fallback(receive).with_state(book.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("the receiver serves");
        });
        Self {
            address,
            book,
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
        with(&self.book, |book| book.failing.insert(path.to_owned(), requests));
    }

    /// What came so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        with(&self.book, |book| book.received.clone())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn with<T>(book: &Mutex<Book>, ask: impl FnOnce(&mut Book) -> T) -> T {
    ask(&mut book.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn receive(
    State(book): State<Arc<Mutex<Book>>>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let (headers, path) = (headers.collect(), uri.path().to_owned());
    with(&book, |book| {
        let status = match book.failing.get_mut(&path) {
            Some(left) if *left > 0 => {
                *left -= 1;
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::OK,
        };
        book.received.push(Received {
            method: method.to_string(),
            path,
            headers,
            body,
            status: status.as_u16(),
        });
        status
    })
}
