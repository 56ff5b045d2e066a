//! The whole processor on the real embedded broker, with requests put in and rows, events and journal read out.
//! Definitions are this crate's own files in `tests/definitions`. Nothing here waits for a time, only for rows.

mod crash;
mod decisions;
mod failures;
mod floods;
mod lines;
mod objects;
mod reading_again;
mod registry_end;
mod replays;
mod simulation;
mod tracking;
mod turns;
mod waiting;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_broker::embedded::{self, PartitionCounts};
use tidegate_broker::{Broker, Message, Record};
use tidegate_providers::Catalogue;
use tidegate_registry::{Connection, Endpoint, Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{
    EnvironmentId, EventId, EventMeta, EventRow, Headers, Metadata, Outcome, Pointer, Reason, RequestId,
    RequestKind, RequestMeta, Secret, Topic, UnixMillis, WRITE_VERSION,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::examine::{Find, find_events};
use crate::{Config, Error, Parts, Processor};

/// When every test's requests are received.
pub(crate) const RECEIVED_AT: UnixMillis = UnixMillis(1_795_255_200_000);
/// The longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many partitions of `requests` a test has.
pub(crate) const PARTITIONS: u32 = 3;

/// A processor on a broker of its own.
pub(crate) struct House {
    directory: TempDir,
    pub broker: Broker,
    running: Option<(CancellationToken, JoinHandle<Result<(), Error>>)>,
}

/// What a user configured: one environment with one integration, and what a test adds.
pub(crate) struct World {
    pub environment: EnvironmentId,
    pub integration: Integration,
    pub entities: Vec<Entity>,
}

impl World {
    /// An integration `main` of `provider` with one endpoint that wants everything.
    pub fn new(provider: &str) -> Self {
        let environment = Environment::new("test", RECEIVED_AT);
        let id = environment.id;
        let integration = Integration::new(id, "main", provider, RECEIVED_AT);
        let endpoint = Endpoint::new(id, "all", "https://example.com/hook", RECEIVED_AT);
        Self {
            environment: id,
            integration,
            entities: vec![Entity::Environment(environment), Entity::Endpoint(endpoint)],
        }
    }

    /// The same with a secret of the integration.
    pub fn secret(mut self, secret: &str) -> Self {
        self.integration.secrets.push(stored(secret));
        self
    }

    /// The same with a connection that has these properties, and its own secrets.
    pub fn connection(mut self, id: &str, properties: &[(&str, &str)], secrets: &[&str]) -> Self {
        let mut connection = Connection::new(self.integration.id, id, RECEIVED_AT);
        for (property, value) in properties {
            connection = connection.with_property(property, value);
        }
        connection.details.secrets = secrets.iter().map(|secret| stored(secret)).collect();
        self.entities.push(Entity::Connection(connection));
        self
    }

    /// The same without endpoints.
    pub fn without_endpoints(mut self) -> Self {
        self.entities
            .retain(|entity| !matches!(entity, Entity::Endpoint(_)));
        self
    }

    pub fn registry(&self) -> Registry {
        let integration = Entity::Integration(self.integration.clone());
        let entities = self.entities.iter().cloned().chain([integration]);
        Registry::of(entities).expect("a registry of its own key")
    }

    /// A request to the integration.
    pub fn request(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (RequestMeta, Bytes) {
        let body = body.into();
        let mut of_request = Headers::default();
        for (name, value) in headers {
            of_request.push(name, *value);
        }
        let meta = RequestMeta {
            v: WRITE_VERSION,
            kind: RequestKind::Received,
            id: RequestId::new(RECEIVED_AT),
            environment: self.environment,
            integration: self.integration.key.clone(),
            provider: self.integration.provider.clone(),
            connection: None,
            method: "POST".to_owned(),
            path: format!("/webhook/{}/main", self.environment),
            query: String::new(),
            url: format!("https://hooks.example.com/webhook/{}/main", self.environment),
            headers: of_request,
            received_at: RECEIVED_AT,
            remote: None,
            body_bytes: body.len() as u64,
            status: 200,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        };
        (meta, body)
    }
}

pub(crate) fn stored(secret: &str) -> StoredSecret {
    StoredSecret::new(Secret::new(secret.as_bytes()))
}

/// The definitions of this crate's tests.
pub(crate) fn catalogue() -> Arc<Catalogue> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions");
    Arc::new(Catalogue::with_overlay(&folder).expect("the tests' definitions compile"))
}

fn broker_config() -> embedded::Config {
    embedded::Config {
        segment_bytes: 64 << 20,
        partitions: PartitionCounts {
            requests: PARTITIONS,
            events: 4,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        ..embedded::Config::default()
    }
}

impl House {
    /// An empty broker, and nothing running yet.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let broker = Broker::open(&broker_config(), directory.path())
            .await
            .expect("an empty directory");
        Self {
            directory,
            broker,
            running: None,
        }
    }

    /// Starts a processor.
    pub fn start(&mut self, world: &World, config: Config) {
        self.start_finding(world, config, find_events);
    }

    /// Starts a processor that finds events in another way.
    pub fn start_finding(&mut self, world: &World, config: Config, find: Find) {
        self.start_reading(world.registry(), config, find);
    }

    /// Starts a processor that reads this registry.
    pub fn start_reading(&mut self, registry: Registry, config: Config, find: Find) {
        let client = tidegate_egress::Client::new(&tidegate_egress::Config {
            allow: vec!["127.0.0.0/8".parse().expect("a network")],
            ..tidegate_egress::Config::default()
        });
        let parts = Parts {
            broker: self.broker.clone(),
            registry,
            catalogue: catalogue(),
            client: client.expect("a client of the defaults"),
        };
        let stop = CancellationToken::new();
        let processor = Processor::finding(parts, config, find);
        self.running = Some((stop.clone(), tokio::spawn(processor.run(stop))));
    }

    /// Stops the processor in good order; how it ended.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let (stop, running) = self.running.take().expect("a processor runs");
        stop.cancel();
        running.await.expect("the processor does not panic")
    }

    /// How the processor ends by itself.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let (_stop, running) = self.running.take().expect("a processor runs");
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended
            .expect("the processor ends")
            .expect("the processor does not panic")
    }

    /// Closes the broker and opens it again, as after a restart.
    pub async fn reopened(self) -> Self {
        self.broker.close().await.expect("the log closes");
        let broker = Broker::open(&broker_config(), self.directory.path()).await;
        Self {
            broker: broker.expect("the log opens again"),
            directory: self.directory,
            running: None,
        }
    }

    /// Appends requests to a partition; where they lie.
    pub async fn append(&self, partition: u32, requests: Vec<(RequestMeta, Bytes)>) -> Vec<Pointer> {
        let record = |(meta, value): (RequestMeta, Bytes)| Record {
            topic: Topic::Requests,
            partition,
            key: Bytes::new(),
            meta: meta.encode().into(),
            value,
        };
        self.append_records(requests.into_iter().map(record).collect())
            .await
    }

    /// Appends any records; where they lie.
    pub async fn append_records(&self, records: Vec<Record>) -> Vec<Pointer> {
        let partitions: Vec<u32> = records.iter().map(|record| record.partition).collect();
        let offsets = self.broker.append(records).await.expect("room in the log");
        let pointer = |(partition, offset)| Pointer { partition, offset };
        partitions.into_iter().zip(offsets).map(pointer).collect()
    }

    /// Every row that was written, once there are at least `rows`.
    pub async fn rows(&self, rows: usize) -> Vec<EventRow> {
        let mut reader = self.broker.reader(Topic::Outcomes, 0, 0);
        let mut found: Vec<EventRow> = Vec::new();
        while found.len() < rows {
            let messages = tokio::time::timeout(PATIENCE, reader.next(1000, usize::MAX)).await;
            let messages =
                messages.unwrap_or_else(|_| panic!("{} of {rows} rows came: {found:#?}", found.len()));
            for message in messages.expect("outcomes can be read") {
                let text = std::str::from_utf8(&message.value).expect("rows are text");
                found.extend(
                    text.lines()
                        .map(|line| serde_json::from_str::<EventRow>(line).expect("a row")),
                );
            }
        }
        found
    }

    /// The true row of every event, once there are `events` of them: the one with the highest commit.
    pub async fn outcomes(&self, events: usize) -> BTreeMap<EventId, EventRow> {
        let mut wanted = events;
        loop {
            let rows = self.rows(wanted).await;
            wanted = rows.len() + 1;
            let mut outcomes: BTreeMap<EventId, EventRow> = BTreeMap::new();
            for row in rows {
                let newer = outcomes
                    .get(&row.event_id)
                    .is_none_or(|other| other.commit <= row.commit);
                if newer {
                    outcomes.insert(row.event_id, row);
                }
            }
            if outcomes.len() >= events {
                return outcomes;
            }
        }
    }

    /// What stands in `events`.
    pub async fn events(&self) -> Vec<(EventMeta, Message)> {
        let mut events = Vec::new();
        for partition in 0..self.broker.partitions(Topic::Events) {
            let offsets = self.broker.offsets(Topic::Events, partition);
            let pointers: Vec<Pointer> = offsets.map(|offset| Pointer { partition, offset }).collect();
            let messages = self
                .broker
                .read(Topic::Events, &pointers)
                .await
                .expect("events can be read");
            for message in messages.into_iter().flatten() {
                events.push((EventMeta::decode(&message.meta).expect("an event"), message));
            }
        }
        events
    }
}

/// One request, decided by a world's processor: `(connection, outcome, reason)` of every event, in order.
pub(crate) async fn decided(world: &World, request: (RequestMeta, Bytes), events: usize) -> Vec<Decided> {
    let mut house = House::new().await;
    house.append(0, vec![request]).await;
    house.start(world, Config::default());
    let outcomes = house.outcomes(events).await;
    house.stop().await.expect("a clean stop");
    let rows = house.rows(outcomes.len()).await;
    assert_eq!(rows.len(), outcomes.len(), "every event has one row");
    let mut decided: Vec<_> = outcomes.into_values().map(Decided::from).collect();
    decided.sort();
    decided
}

/// The heart of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decided {
    pub position: u32,
    pub connection: String,
    pub outcome: Outcome,
    pub reason: Reason,
}

impl Decided {
    pub fn new(position: u32, connection: &str, reason: Reason) -> Self {
        Self {
            position,
            connection: connection.to_owned(),
            outcome: reason.outcome().unwrap_or(Outcome::Routed),
            reason,
        }
    }
}

impl From<EventRow> for Decided {
    fn from(row: EventRow) -> Self {
        Self {
            position: row.position,
            connection: row.connection,
            outcome: row.outcome,
            reason: row.reason,
        }
    }
}
