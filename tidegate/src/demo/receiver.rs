//! The demo's customer: an HTTP server that verifies each delivery with the official Standard Webhooks library and keeps
//! count. `/main` takes everything; `/shaky` answers 503 to the first try of each event. In: the endpoints' secrets.
//! Out: what arrived.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

/// One delivery that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The endpoint's name.
    pub endpoint: String,
    /// Its `webhook-id`: the event.
    pub event: String,
    /// How often the event came to this endpoint.
    pub tries: u32,
}

#[derive(Default)]
struct Book {
    secrets: BTreeMap<String, String>,
    tries: HashMap<(String, String), u32>,
    arrived: Vec<Arrived>,
    wrong: Vec<String>,
}

/// The running receiver.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Receiver {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let receiver = Self {
            address: listener.local_addr()?,
            book: Arc::default(),
        };
        let routes = Router::new()
            .route("/{endpoint}", post(receive))
            .with_state(receiver.clone());
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the demo's receiver ended");
            }
        });
        Ok(receiver)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Learns the secret that an endpoint's deliveries are signed with.
    pub fn expect(&self, endpoint: &str, secret: &str) {
        self.with(|book| book.secrets.insert(endpoint.to_owned(), secret.to_owned()));
    }

    /// What was taken so far, each verified.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.with(|book| book.arrived.clone())
    }

    /// Deliveries whose signature the official library refused.
    pub fn wrong(&self) -> Vec<String> {
        self.with(|book| book.wrong.clone())
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Book) -> T) -> T {
        ask(&mut self
            .book
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    Path(endpoint): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    receiver.with(|book| {
        let Some(secret) = book.secrets.get(&endpoint) else {
            return StatusCode::NOT_FOUND;
        };
        let verified = Webhook::new(secret).and_then(|webhook| webhook.verify(&body, &headers));
        if let Err(error) = verified {
            book.wrong.push(format!("{endpoint}: {error}"));
            return StatusCode::UNAUTHORIZED;
        }
        let event = headers
            .get("webhook-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let tries = book.tries.entry((endpoint.clone(), event.clone())).or_default();
        *tries += 1;
        let tries = *tries;
        if endpoint == "shaky" && tries == 1 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        book.arrived.push(Arrived {
            endpoint,
            event,
            tries,
        });
        StatusCode::OK
    })
}
