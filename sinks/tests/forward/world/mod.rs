//! What the tests of forwarding share: a broker in a temporary folder, a registry, a clock that is moved by hand, and
//! a receiver that behaves as each test says. In: events and behaviours. Out: what arrived, and the rows written.
//! Nothing here sleeps: conditions are waited for, and the time limit only ends a test that has failed.

mod receiver;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate_broker::embedded::{self, PartitionCounts};
use tidegate_broker::{Broker, Record};
use tidegate_egress::Client;
use tidegate_registry::{Endpoint, Entity, Environment, Registry, StoredSecret};
use tidegate_schemas::{
    AttemptRow, DeadMeta, EndpointId, EnvironmentId, EventId, EventKind, EventMeta, Headers, JournalMeta,
    Metadata, PayloadKind, Pointer, Proof, RequestId, Secret, Topic, UnixMillis,
};
use tidegate_sinks::forward::{Clock, Config, DisableEndpoint, Error, Forwarder, ManualClock, Parts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use receiver::{Arrival, Receiver, Reply};

/// Ends a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const SIGNING_KEY: &str = "legacy-signing-key";
/// Events are appended here unless a test says otherwise.
pub const PARTITION: u32 = 0;

pub struct World {
    pub broker: Broker,
    pub clock: ManualClock,
    pub environment: EnvironmentId,
    pub receiver: Receiver,
    pub disabled: mpsc::Receiver<DisableEndpoint>,
    registry: Registry,
    disable: mpsc::Sender<DisableEndpoint>,
    config: Config,
    allow: Vec<&'static str>,
    running: Option<(JoinHandle<Result<(), Error>>, CancellationToken)>,
    rows_read: Vec<AttemptRow>,
    _directory: TempDir,
}

/// A world being set up.
pub struct Plan {
    pub environment: Environment,
    pub endpoints: Vec<Endpoint>,
    /// What else the registry holds.
    pub others: Vec<Entity>,
    pub config: Config,
    pub allow: Vec<&'static str>,
    pub receiver: Receiver,
    pub now: UnixMillis,
}

impl Plan {
    pub async fn new(behave: impl Fn(&Arrival, usize) -> Reply + Send + Sync + 'static) -> Self {
        let now = UnixMillis::from(std::time::SystemTime::now());
        let mut environment = Environment::new("test", now);
        environment.signing_keys = vec![StoredSecret::new(Secret::new(SIGNING_KEY.as_bytes()))];
        Self {
            environment,
            endpoints: Vec::new(),
            others: Vec::new(),
            config: Config {
                jitter_percent: 0,
                commit_interval_ms: 1,
                ..Config::default()
            },
            allow: vec!["127.0.0.0/8"],
            receiver: Receiver::start(Arc::new(behave)).await,
            now,
        }
    }

    /// An endpoint of the receiver's at `/name`.
    pub fn endpoint(&mut self, name: &str) -> EndpointId {
        let url = self.receiver.url(name);
        self.endpoint_at(name, &url)
    }

    pub fn endpoint_at(&mut self, name: &str, url: &str) -> EndpointId {
        let mut endpoint = Endpoint::new(self.environment.id, name, url, self.now);
        endpoint.secrets = vec![StoredSecret::new(Secret::new(SECRET.as_bytes()))];
        let id = endpoint.id;
        self.endpoints.push(endpoint);
        id
    }

    pub async fn start(self) -> World {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let broker = embedded::Config {
            segment_bytes: 24 * 1024 * 1024,
            body_message_bytes_max: 2 * 1024 * 1024,
            rows_message_bytes_max: 6 * 1024 * 1024,
            durability: embedded::Durability::Os,
            partitions: PartitionCounts {
                requests: 1,
                events: 3,
                outcomes: 1,
                attempts: 1,
                dead: 1,
                audit: 1,
            },
            ..embedded::Config::default()
        };
        let broker = Broker::open(&broker, directory.path())
            .await
            .expect("a fresh log");
        let (disable, disabled) = mpsc::channel(16);
        let id = self.environment.id;
        let endpoints = self.endpoints.into_iter().map(Entity::Endpoint);
        let entities = [Entity::Environment(self.environment)]
            .into_iter()
            .chain(endpoints)
            .chain(self.others);
        let mut world = World {
            broker,
            clock: ManualClock::new(self.now),
            environment: id,
            receiver: self.receiver,
            disabled,
            registry: Registry::of(entities).expect("entities that are sound"),
            disable,
            config: self.config,
            allow: self.allow,
            running: None,
            rows_read: Vec::new(),
            _directory: directory,
        };
        world.run();
        world
    }
}

impl World {
    /// Begins forwarding; a former owner loses its journals.
    pub fn run(&mut self) {
        let allow = self
            .allow
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect();
        let client = Client::new(&tidegate_egress::Config {
            allow,
            ..Default::default()
        })
        .expect("a client");
        let parts = Parts {
            broker: self.broker.clone(),
            registry: self.registry.clone(),
            client,
            clock: Clock::Manual(self.clock.clone()),
            disable: self.disable.clone(),
        };
        let stop = CancellationToken::new();
        let forwarder = Forwarder::new(parts, self.config.clone());
        self.running = Some((tokio::spawn(forwarder.run(stop.clone())), stop));
    }

    /// Ends forwarding as a killed process does: nothing is committed any more.
    pub async fn kill(&mut self) {
        let (running, _) = self.running.take().expect("it is running");
        running.abort();
        assert!(running.await.expect_err("it was killed").is_cancelled());
    }

    /// Ends forwarding in good order.
    pub async fn stop(&mut self) {
        let (running, stop) = self.running.take().expect("it is running");
        stop.cancel();
        running.await.expect("no panic").expect("a clean end");
    }

    /// Replaces what the registry holds, as a restart with another configuration does.
    pub fn register(&mut self, environment: Environment, endpoints: Vec<Endpoint>) {
        let endpoints = endpoints.into_iter().map(Entity::Endpoint);
        let entities = [Entity::Environment(environment)].into_iter().chain(endpoints);
        self.registry = Registry::of(entities).expect("entities that are sound");
    }

    pub fn meta(&self, endpoints: &[EndpointId]) -> EventMeta {
        let now = self.clock.now();
        let request = RequestId::new(now);
        EventMeta {
            v: 1,
            kind: EventKind::Event,
            id: EventId::derive(request, 0, Some("acme")),
            request,
            pointer: Pointer {
                partition: 0,
                offset: 0,
            },
            position: 0,
            environment: self.environment,
            integration: "crm-prod".to_owned(),
            provider: "crm".to_owned(),
            connection: Some("acme".to_owned()),
            event_type: "contact.created".to_owned(),
            object_key: None,
            verified: Proof::Body,
            received_at: now,
            event_time: None,
            payload: PayloadKind::Json,
            headers: Headers::default(),
            endpoints: endpoints.to_vec(),
            commit: 0,
            coalesced: None,
            replay_of: None,
            delivery: None,
        }
    }

    /// Appends a message to `events`; returns its offset.
    pub async fn append(&self, meta: &EventMeta, value: &[u8]) -> u64 {
        let record = Record {
            topic: Topic::Events,
            partition: PARTITION,
            key: "acme".into(),
            meta: meta.encode().into(),
            value: value.to_vec().into(),
        };
        self.broker.append(vec![record]).await.expect("the log has room")[0]
    }

    /// Appends a message with any metadata.
    pub async fn append_raw(&self, meta: &[u8]) {
        let record = Record {
            topic: Topic::Events,
            partition: PARTITION,
            key: "acme".into(),
            meta: meta.to_vec().into(),
            value: "{}".into(),
        };
        self.broker.append(vec![record]).await.expect("the log has room");
    }

    /// Waits until the first `count` messages of `events` were read, and that committed.
    pub async fn committed(&self, count: u64) {
        let mut reader = self.broker.reader(Topic::Retries, PARTITION, 0);
        let mut input = 0;
        while input < count {
            let messages = tokio::time::timeout(PATIENCE, reader.next(100, 1 << 20)).await;
            for message in messages.expect("in time").expect("readable") {
                input = input.max(JournalMeta::decode(&message.meta).expect("our own").input);
            }
        }
    }

    /// Waits until forwarding has ended by itself; returns how.
    pub async fn ended(&mut self) -> Result<(), Error> {
        let (running, _) = self.running.take().expect("it is running");
        tokio::time::timeout(PATIENCE, running)
            .await
            .expect("in time")
            .expect("no panic")
    }

    /// Appends an event for `endpoints`; returns its id.
    pub async fn event(&self, endpoints: &[EndpointId]) -> EventId {
        let meta = self.meta(endpoints);
        self.append(&meta, br#"{"n":1}"#).await;
        meta.id
    }

    /// Waits until the rows of all attempts satisfy `done`; returns them.
    pub async fn rows(&mut self, done: impl Fn(&[AttemptRow]) -> bool) -> Vec<AttemptRow> {
        let mut reader = self.broker.reader(Topic::Attempts, 0, 0);
        self.rows_read.clear();
        while !done(&self.rows_read) {
            let messages = tokio::time::timeout(PATIENCE, reader.next(100, 1 << 20)).await;
            let Ok(messages) = messages else {
                panic!("rows so far: {:#?}", self.rows_read)
            };
            for message in messages.expect("readable") {
                for line in message
                    .value
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                {
                    let row: AttemptRow = serde_json::from_slice(line).expect("a row of the schema");
                    let again = serde_json::to_value(&row).expect("a row is JSON");
                    let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
                    assert_eq!(again, line, "nothing more and nothing less than the columns");
                    self.rows_read.push(row);
                }
            }
        }
        self.rows_read.clone()
    }

    /// Waits for `count` dead deliveries; returns them with their values.
    pub async fn dead(&self, count: usize) -> Vec<(DeadMeta, Vec<u8>)> {
        let mut reader = self.broker.reader(Topic::Dead, 0, 0);
        let mut dead = Vec::new();
        while dead.len() < count {
            let messages = tokio::time::timeout(PATIENCE, reader.next(100, 1 << 20)).await;
            for message in messages.expect("in time").expect("readable") {
                dead.push((
                    DeadMeta::decode(&message.meta).expect("our own"),
                    message.value.to_vec(),
                ));
            }
        }
        dead
    }

    pub fn dead_len(&self) -> u64 {
        self.broker.offsets(Topic::Dead, 0).end
    }
}
