//! The load: one recorded webhook over and over, each made unique by a number, signed as its provider signs, from
//! several connections. In: the integrations' URLs. Out: the request id of every 2xx, and every refusal. Nothing is
//! sent twice: a request without an answer is given up, for nobody knows what became of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tidegate_providers::fixture::{Case, Fixture};
use tidegate_providers::{Catalogue, Sample, Signer};
use tidegate_schemas::{Secret, UnixMillis};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::Sent;
use crate::receiver::Receiver;

/// What is sent, by name.
#[derive(Deserialize)]
struct Wanted {
    provider: String,
    case: String,
    unique_header: String,
}

/// The secret of the integrations.
pub const SECRET: &str = "a-secret-of-the-chaos-tests";
/// Connections that send at the same time.
const SENDERS: usize = 8;
/// How far the load may be ahead of the receiver before it slows down: the tests want many crashes, not long tails.
const AHEAD_MAX: usize = 400;
/// How long a sender pauses then before each request.
const SLOW: Duration = Duration::from_millis(200);
/// How long a sender pauses after a failure: the server is down or full.
const PAUSE: Duration = Duration::from_millis(20);

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub retry_after: bool,
    pub body: String,
}

#[derive(Default)]
struct Book {
    accepted: BTreeMap<u64, String>,
    refused: Vec<Refused>,
}

struct Source {
    urls: Vec<String>,
    case: Case,
    wanted: Wanted,
    catalogue: Catalogue,
    next: AtomicU64,
    ahead_max: AtomicUsize,
    book: Mutex<Book>,
    receiver: Receiver,
    stop: CancellationToken,
}

/// The running load.
pub struct Load {
    source: Arc<Source>,
    senders: JoinSet<()>,
}

impl Load {
    /// Starts sending.
    pub fn start(urls: Vec<String>, receiver: &Receiver) -> Load {
        let wanted: Wanted = toml::from_str(include_str!("load.toml")).unwrap();
        let fixture = Fixture::of(&wanted.provider).unwrap();
        let source = Arc::new(Source {
            urls,
            case: fixture.case(&wanted.case).unwrap().clone(),
            wanted,
            catalogue: Catalogue::builtin().unwrap(),
            next: AtomicU64::new(0),
            ahead_max: AtomicUsize::new(AHEAD_MAX),
            book: Mutex::default(),
            receiver: receiver.clone(),
            stop: CancellationToken::new(),
        });
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send_on(source.clone()));
        }
        Load { source, senders }
    }

    /// Sends one request more, to this URL of an integration; its id, if it was answered with a 2xx.
    pub async fn send_to(&self, url: &str) -> Option<String> {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let number = self.source.next.fetch_add(1, Ordering::Relaxed);
        self.source.send(&http, (number, url)).await
    }

    /// Waits for no delivery from now on.
    pub fn run_ahead(&self) {
        self.source.ahead_max.store(usize::MAX, Ordering::Relaxed);
    }

    /// How many requests were answered with a 2xx.
    pub fn accepted(&self) -> usize {
        self.source.book.lock().unwrap().accepted.len()
    }

    /// Every refusal so far.
    pub fn refused(&self) -> Vec<Refused> {
        self.source.book.lock().unwrap().refused.clone()
    }

    /// Stops sending; says what was accepted, and every refusal.
    pub async fn stop(mut self) -> (Sent, Vec<Refused>) {
        self.source.stop.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let book = std::mem::take(&mut *self.source.book.lock().unwrap());
        let sent = Sent {
            accepted: book.accepted,
            numbers: self.source.next.load(Ordering::Relaxed),
        };
        (sent, book.refused)
    }
}

async fn send_on(source: Arc<Source>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    while !source.stop.is_cancelled() {
        let accepted = source.book.lock().unwrap().accepted.len();
        let delivered = source.receiver.count("taking");
        if accepted > delivered.saturating_add(source.ahead_max.load(Ordering::Relaxed)) {
            tokio::time::sleep(SLOW).await;
        }
        let number = source.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number).unwrap() % source.urls.len();
        if source.send(&http, (number, &source.urls[at])).await.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Source {
    /// Sends the request of this number; its id, if it was answered with a 2xx.
    async fn send(&self, http: &reqwest::Client, (number, url): (u64, &str)) -> Option<String> {
        let sample = self.sample(number, url);
        let mut request = http
            .post(&sample.url)
            .body(sample.body)
            .timeout(Duration::from_secs(60));
        for (name, value) in &sample.headers.0 {
            if name != "content-length" && name != "host" {
                request = request.header(name, value.as_bytes());
            }
        }
        let answer = request.send().await.ok()?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if answer.status().is_success() {
            let id = header("tidegate-request-id").expect("every reply carries the request's id");
            let id = id.to_owned();
            self.book.lock().unwrap().accepted.insert(number, id.clone());
            return Some(id);
        }
        let (status, retry_after) = (answer.status().as_u16(), header("retry-after").is_some());
        let body = answer.text().await.unwrap_or_default();
        self.book.lock().unwrap().refused.push(Refused {
            status,
            retry_after,
            body,
        });
        None
    }

    fn sample(&self, number: u64, url: &str) -> Sample {
        let mut sample = self.case.sample();
        url.clone_into(&mut sample.url);
        let text = String::from_utf8(sample.body).unwrap();
        sample.body = text
            .replacen('{', &format!("{{\"chaos\":{number},"), 1)
            .into_bytes();
        for (name, value) in &mut sample.headers.0 {
            if *name == self.wanted.unique_header {
                *value = format!("chaos-{number}").as_str().into();
            }
        }
        let secret = Secret::new(SECRET);
        let signer = Signer {
            secret: &secret,
            private_key: None,
            cfg: &self.case.cfg,
            now: UnixMillis::from(SystemTime::now()),
            recorded: &self.case.secrets,
            forge: false,
        };
        let definition = self.catalogue.get(&self.wanted.provider).unwrap();
        definition.sign(sample, &signer).unwrap()
    }
}
