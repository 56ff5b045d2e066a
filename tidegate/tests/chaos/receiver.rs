//! The customer: takes deliveries, verifies each with the official Standard Webhooks library, and counts them by
//! `webhook-id`. An endpoint that is held keeps its senders waiting until it is let go; `holding` is from the start.
//! In: deliveries. Out: what came, how often.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use standardwebhooks::Webhook;
use tidegate_testkit::receiver::{Received, Receiver as Http};

use crate::ledger::Got;

/// What came.
#[derive(Default)]
struct Book {
    events: BTreeMap<String, HashMap<String, Got>>,
    wrong: Vec<String>,
}

/// The running receiver.
#[derive(Clone)]
pub struct Receiver {
    http: Arc<Http>,
    secret: String,
    book: Arc<Mutex<Book>>,
}

impl Receiver {
    /// Starts it on a free port of this machine.
    pub async fn start() -> Receiver {
        let key = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        let secret = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key));
        let webhook = Webhook::new(&secret).unwrap();
        let book: Arc<Mutex<Book>> = Arc::default();
        let taken = book.clone();
        let http = Http::start_with(move |delivery| {
            let endpoint = delivery.path.trim_start_matches('/');
            let read = read(&delivery, &webhook);
            taken.lock().unwrap().enter(endpoint, read);
        });
        let receiver = Receiver {
            http: Arc::new(http.await),
            secret,
            book,
        };
        receiver.hold("holding");
        receiver
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.http.url("")
    }

    /// What deliveries are signed with.
    pub fn secret(&self) -> String {
        self.secret.clone()
    }

    /// The endpoint answers no more.
    pub fn hold(&self, endpoint: &str) {
        self.http.hold(&format!("/{endpoint}"));
    }

    /// The endpoint answers from now on, what it holds first.
    pub fn let_go(&self, endpoint: &str) {
        self.http.let_go(&format!("/{endpoint}"));
    }

    /// How many different events came to an endpoint.
    pub fn count(&self, endpoint: &str) -> usize {
        let book = self.book.lock().unwrap();
        book.events.get(endpoint).map_or(0, HashMap::len)
    }

    /// What came to an endpoint, by `webhook-id`.
    pub fn events(&self, endpoint: &str) -> HashMap<String, Got> {
        let book = self.book.lock().unwrap();
        book.events.get(endpoint).cloned().unwrap_or_default()
    }

    /// Deliveries that were not as they should be.
    pub fn wrong(&self) -> Vec<String> {
        self.book.lock().unwrap().wrong.clone()
    }
}

impl Book {
    fn enter(&mut self, endpoint: &str, read: Result<(String, u64), String>) {
        let (id, number) = match read {
            Ok(read) => read,
            Err(error) => return self.wrong.push(format!("{endpoint}: {error}")),
        };
        let events = self.events.entry(endpoint.to_owned()).or_default();
        let got = events.entry(id.clone()).or_insert(Got { number, times: 0 });
        got.times += 1;
        if got.number != number {
            self.wrong
                .push(format!("{id} came with number {} and {number}", got.number));
        }
    }
}

/// The `webhook-id` and the load's number of a genuine delivery.
fn read(delivery: &Received, webhook: &Webhook) -> Result<(String, u64), String> {
    let mut headers = axum::http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = delivery.headers.get(name).ok_or(format!("no {name}"))?;
        headers.insert(name, value.parse().map_err(|_| format!("{name} is {value:?}"))?);
    }
    webhook
        .verify(&delivery.body, &headers)
        .map_err(|error| error.to_string())?;
    let body: serde_json::Value =
        serde_json::from_slice(&delivery.body).map_err(|error| error.to_string())?;
    let number = body["payload"]["chaos"].as_u64().ok_or("no number")?;
    Ok((delivery.headers["webhook-id"].clone(), number))
}
