//! A real ingest over a real embedded log in a folder of its own, for one test. In: limits and integrations. Out: its
//! address, and what lies in `requests`. Stands in for nothing but the registry's writer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_broker::{Broker, Message, embedded};
use tidegate_ingest::{Config, Context, Ingest, StoreSecret};
use tidegate_providers::Catalogue;
use tidegate_registry::{Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{EnvironmentId, IntegrationId, Metadata as _, RequestMeta, Secret, Topic, UnixMillis};

use crate::wire::{Reply, Wire};

pub const SECRET: &str = "the-right-token";
/// Generous: reached only by what would never come.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for what must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

/// The secrets that handshakes delivered.
pub type Stored = Arc<Mutex<Vec<(IntegrationId, Vec<u8>)>>>;

pub struct House {
    pub broker: Broker,
    pub ingest: Ingest,
    pub environment: EnvironmentId,
    pub stored: Stored,
    _folder: TempDir,
}

/// How a house differs from the usual one.
pub struct Plan {
    pub limits: Config,
    pub log: embedded::Config,
    /// What becomes of the integration `crm` (of `acme`, with its secret) and `open` (of `acme-open`).
    pub change: fn(&mut Integration),
    pub keeps_secrets: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            limits: limits(),
            log: log(),
            change: |_| (),
            keeps_secrets: true,
        }
    }
}

/// One thread, so that the order of what is sent is the order of what is appended.
pub fn limits() -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        threads: 1,
        ..Config::default()
    }
}

pub fn log() -> embedded::Config {
    embedded::Config {
        segment_bytes: 4 << 20,
        disk_bytes_max: 256 << 20,
        group_bytes_max: 1 << 20,
        tail_bytes_max: 1 << 20,
        body_message_bytes_max: 1 << 20,
        rows_message_bytes_max: 1 << 20,
        ..embedded::Config::default()
    }
}

pub fn catalogue() -> Catalogue {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/definitions");
    Catalogue::with_overlay(folder.as_ref()).expect("the test's definitions compile")
}

impl House {
    pub async fn usual() -> Self {
        Self::of(Plan::default()).await
    }

    pub async fn of(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Broker::open(&plan.log, folder.path()).await.expect("a log");
        let environment = Environment::new("test", UnixMillis(1));
        let id = environment.id;
        let mut entities = vec![Entity::Environment(environment)];
        let providers = [
            ("crm", "acme"),
            ("open", "acme-open"),
            ("named", "acme-named"),
            ("strict", "acme-strict"),
            ("lost", "acme-without-definition"),
        ];
        for (partition, (key, provider)) in (1..).zip(providers) {
            let mut integration = Integration::new(id, key, provider, UnixMillis(1));
            integration.secrets = vec![StoredSecret::new(Secret::new(SECRET))];
            integration.cfg.insert("word".to_owned(), "swordfish".to_owned());
            integration.partitions = vec![partition];
            (plan.change)(&mut integration);
            entities.push(Entity::Integration(integration));
        }
        let registry = Registry::of(entities).expect("a registry");
        let stored = Stored::default();
        let ingest = Ingest::start(Context {
            config: plan.limits,
            public_url: String::new(),
            broker: broker.clone(),
            registry,
            catalogue: Arc::new(catalogue()),
            store_secret: writer(stored.clone(), plan.keeps_secrets),
            egress: tidegate_egress::Client::new(&tidegate_egress::Config::default()).expect("a client"),
        })
        .expect("ingest starts");
        Self {
            broker,
            ingest,
            environment: id,
            stored,
            _folder: folder,
        }
    }

    /// The path of an integration's webhooks.
    pub fn path(&self, integration: &str) -> String {
        format!("/webhook/{}/{integration}", self.environment)
    }

    pub async fn connect(&self) -> Wire {
        Wire::connect(self.ingest.address()).await
    }

    /// Sends one request over a connection of its own. `head` holds method, path and headers but not the lengths.
    pub async fn send(&self, request: Sent<'_>) -> Reply {
        let mut wire = self.connect().await;
        wire.send(&request.bytes(self)).await;
        wire.reply_to(request.method).await
    }

    /// A request that is accepted, by which the end of what was appended before it is seen.
    pub async fn accept_one(&self, integration: &'static str) {
        let last = Sent {
            headers: &format!("x-token: {SECRET}\r\nx-account: last\r\n"),
            body: b"{\"type\":\"last\"}",
            ..Sent::to(integration)
        };
        assert_eq!(self.send(last).await.status, 200);
    }

    /// The messages of a partition up to the one that `accept_one` sends now, that one left out.
    pub async fn appended(
        &self,
        (integration, partition): (&'static str, u32),
    ) -> Vec<(RequestMeta, Message)> {
        self.accept_one(integration).await;
        let mut reader = self.broker.reader(Topic::Requests, partition, 0);
        let mut all = Vec::new();
        loop {
            let batch = soon("a message", reader.next(100, 64 << 20))
                .await
                .expect("readable");
            for message in batch {
                let meta = RequestMeta::decode(&message.meta).expect("our own metadata");
                if message.value.as_ref() == b"{\"type\":\"last\"}" {
                    return all;
                }
                all.push((meta, message));
            }
        }
    }
}

fn writer(stored: Stored, keeps: bool) -> StoreSecret {
    Arc::new(move |integration, _, secret| {
        let stored = stored.clone();
        Box::pin(async move {
            // The reply must wait for this, not only for the call.
            tokio::task::yield_now().await;
            if keeps {
                let mut stored = stored.lock().expect("nobody panics holding it");
                stored.push((integration, secret.expose().to_vec()));
            }
            keeps
        })
    })
}

/// A request to be sent.
#[derive(Clone, Copy)]
pub struct Sent<'a> {
    pub method: &'a str,
    pub integration: &'a str,
    /// What follows the integration in the URL.
    pub more: &'a str,
    /// Header lines, each with its end.
    pub headers: &'a str,
    pub body: &'a [u8],
}

impl<'a> Sent<'a> {
    /// A POST without a body.
    pub fn to(integration: &'a str) -> Self {
        Sent {
            method: "POST",
            integration,
            more: "",
            headers: "",
            body: b"",
        }
    }

    pub fn bytes(&self, house: &House) -> Vec<u8> {
        let path = house.path(self.integration);
        let head = format!(
            "{} {path}{} HTTP/1.1\r\nhost: hooks.test\r\n{}content-length: {}\r\n\r\n",
            self.method,
            self.more,
            self.headers,
            self.body.len()
        );
        [head.as_bytes(), self.body].concat()
    }
}
