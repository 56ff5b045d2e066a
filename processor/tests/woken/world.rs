//! What both processes of the test have: the same entities, a processor of the same limits, and the same Kafka. In: where
//! Kafka is, and a prefix. Out: running processors, and requests that they can decide. Checks nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::{Broker, Record, kafka};
use tidegate_processor::{Config, Error, Parts, Processor};
use tidegate_providers::Catalogue;
use tidegate_registry::{Connection, Endpoint, Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{RequestId, Secret, Topic, UnixMillis};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Partitions of `requests`, and of `events`.
pub const PARTITIONS: u32 = 4;
/// Events that a batch may hold.
pub const BATCH: usize = 8;
/// Integrations whose events find no connection and wait for one; their long names make the journal's rounds long.
pub const WAITING: usize = 24;
/// Longer than the test: what waits is decided when a processor with a shorter wait takes over.
pub const FOR_EVER_MS: u64 = 600_000;

const TOKEN: &str = "the token of the integrations";

/// Where the topics lie.
#[derive(Clone)]
pub struct Place {
    pub bootstrap: String,
    pub prefix: String,
}

impl Place {
    pub async fn connect(&self) -> Broker {
        let config = kafka::Config {
            bootstrap: self.bootstrap.clone(),
            prefix: self.prefix.clone(),
            partitions: PartitionCounts {
                requests: PARTITIONS,
                events: PARTITIONS,
                outcomes: 1,
                attempts: 1,
                dead: 1,
                audit: 1,
            },
            session_timeout_ms: 3_000,
            question_timeout_ms: 60_000,
            // Longer than anybody stands still here: what was under way is still sent by who wakes up.
            append_timeout_ms: 300_000,
            request_timeout_ms: 60_000,
            ..kafka::Config::default()
        };
        Broker::connect(&config).await.unwrap()
    }
}

fn waiting(at: usize) -> String {
    format!("waiting-{at}-{}", "x".repeat(100))
}

fn entities() -> Vec<Entity> {
    let now = UnixMillis(1_795_255_200_000);
    let mut environment = Environment::new("test", now);
    environment.id = "0192f0c1-0000-7000-8000-0000000000e1".parse().unwrap();
    let id = environment.id;
    let integration = |name: &str| {
        let mut integration = Integration::new(id, name, "acme", now);
        integration.secrets = vec![StoredSecret::new(Secret::new(TOKEN))];
        integration
    };
    let found = integration("found");
    let connection = Connection::new(found.id, "crew", now).with_property("account", "crew");
    let endpoint = Endpoint::new(id, "all", "https://example.com/hook", now);
    let mut entities = vec![
        Entity::Connection(connection),
        Entity::Integration(found),
        Entity::Endpoint(endpoint),
    ];
    entities.extend((0..WAITING).map(|at| Entity::Integration(integration(&waiting(at)))));
    entities.insert(0, Entity::Environment(environment));
    entities
}

/// A running processor.
pub struct Running {
    stop: CancellationToken,
    ended: JoinHandle<Result<(), Error>>,
}

/// Starts a processor in which an unattributed event waits so long.
pub fn start(broker: &Broker, unattributed_wait_ms: u64) -> Running {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    let parts = Parts {
        broker: broker.clone(),
        registry: Registry::of(entities()).unwrap(),
        catalogue: Arc::new(Catalogue::with_overlay(&folder).unwrap()),
        client: tidegate_egress::Client::new(&tidegate_egress::Config::default()).unwrap(),
    };
    let config = Config {
        batch_events_max: BATCH,
        read_messages_max: BATCH,
        unattributed_wait_ms,
        ..Config::default()
    };
    let stop = CancellationToken::new();
    let processor = Processor::new(parts, config);
    Running {
        ended: tokio::spawn(processor.run(stop.clone())),
        stop,
    }
}

impl Running {
    /// Stops it in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

/// A request with one event about one of a few objects; `number` tells it from all others.
pub fn found(partition: u32, number: u64) -> (RequestId, Record) {
    let thing = format!("{partition}-{}", number % 3);
    let body = json!({ "type": "thing.set", "id": format!("event-{number}"), "account": "crew",
                       "thing": thing, "number": number });
    request("found", partition, body.to_string())
}

/// A request whose event waits for its connection.
pub fn unattributed(partition: u32, at: usize) -> (RequestId, Record) {
    let body = json!({ "type": "thing.set", "id": format!("waits-{partition}-{at}"), "account": "nobody", "thing": "any" });
    request(&waiting(at), partition, body.to_string())
}

fn request(integration: &str, partition: u32, body: String) -> (RequestId, Record) {
    let now = UnixMillis::from(SystemTime::now());
    let id = RequestId::new(now);
    let environment = "0192f0c1-0000-7000-8000-0000000000e1";
    let path = format!("/webhook/{environment}/{integration}");
    let meta = json!({
        "v": 1, "kind": "received", "id": id, "environment": environment, "integration": integration,
        "provider": "acme", "method": "POST", "path": path, "url": format!("https://hooks.example.com{path}"),
        "headers": [["content-type", "application/json"], ["x-token", TOKEN]],
        "received_at": now, "body_bytes": body.len(), "status": 200,
    });
    let record = Record {
        topic: Topic::Requests,
        partition,
        key: integration.to_owned().into(),
        meta: meta.to_string().into(),
        value: body.into(),
    };
    (id, record)
}
