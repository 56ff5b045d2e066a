//! The audit against the real engine: each test has an engine, a log and a folder of its own.
//! In: rows as processor, forward and ingest write them. Out: what ClickHouse says. Never sleeps for a result: it asks
//! until the answer is right or a generous time is over.

mod exact;
mod hidden;
mod kept;
mod migrations;
mod outage;
mod reading;
mod refused;
mod rollups;
mod secure;
mod stalled;
mod written;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_broker::{Broker, Message, Record, embedded};
use tidegate_providers::Catalogue;
use tidegate_registry::{Entity, Integration, Registry};
use tidegate_schemas::{
    AttemptRow, Attribution, DeliveryId, EventId, EventRow, Headers, Metadata, Outcome, PayloadKind, Proof,
    Reason, RequestId, RequestKind, RequestMeta, RowsMeta, Topic, UnixMillis,
};
use tidegate_testkit::clickhouse::Engine;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::block::{Block, announce};
use super::client::connect;
use super::insert::Inserter;
use super::ledger::OffsetRange;
use super::masking::Masker;
use super::status::Status;
use super::table::Table;
use super::{Audit, Config, Error, Question, Reader, migrate};

/// How long a right answer is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
const ENVIRONMENT: &str = "0192f0c1-0000-7000-8000-0000000000e1";

/// An engine, a log, and what an audit needs.
struct House {
    engine: Engine,
    broker: Broker,
    config: Config,
    masker: Masker,
    _folder: TempDir,
}

/// An audit at work.
struct Running {
    task: JoinHandle<Result<(), Error>>,
    shutdown: CancellationToken,
    status: Status,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task
            .await
            .expect("the audit does not panic")
            .expect("the audit ends well");
    }
}

impl House {
    /// Everything started; the tables are not there yet.
    async fn open() -> House {
        Self::knowing(Catalogue::builtin().expect("the built-in definitions compile")).await
    }

    /// The same with other definitions; the integration is of the first.
    async fn knowing(catalogue: Catalogue) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Engine::start(&folder.path().join("clickhouse"));
        let broker = Broker::open(&log_config(), &folder.path().join("log"))
            .await
            .expect("an empty log opens");
        let config = Config {
            url: engine.url(),
            user: engine.user().to_owned(),
            password: tidegate_schemas::Secret::new(engine.password()),
            block_wait_ms: 20,
            retry_wait_ms: 10,
            retry_wait_max_ms: 200,
            unknown_errors_max: 2,
            rollup_wait_s: 0,
            ..Config::default()
        };
        let catalogue = Arc::new(catalogue);
        let provider = catalogue
            .names()
            .next()
            .expect("there are definitions")
            .to_owned();
        let environment = ENVIRONMENT.parse().expect("a literal UUID");
        let integration = Integration::new(environment, "crm", &provider, UnixMillis(1));
        let registry = Registry::of([Entity::Integration(integration)]).expect("a registry");
        let masker = Masker { catalogue, registry };
        House {
            engine,
            broker,
            config,
            masker,
            _folder: folder,
        }
    }

    /// The same with the tables.
    async fn migrated() -> House {
        let house = House::open().await;
        migrate(&house.config)
            .await
            .expect("an empty database can be migrated");
        house
    }

    fn audit(&self) -> Running {
        let audit = Audit::new(
            self.config.clone(),
            self.broker.clone(),
            Arc::clone(&self.masker.catalogue),
            self.masker.registry.clone(),
        );
        let (status, shutdown) = (audit.status(), CancellationToken::new());
        Running {
            status,
            task: tokio::spawn(audit.run(shutdown.clone())),
            shutdown,
        }
    }

    fn inserter(&self) -> Inserter {
        Inserter {
            client: connect(&self.config).expect("the configuration is right"),
            config: self.config.clone(),
            status: Status::default(),
            shutdown: CancellationToken::new(),
        }
    }

    /// What ClickHouse answers, as tab-separated text.
    async fn ask(&self, sql: &str) -> Result<String, Error> {
        let answer = Reader::new(&self.config)?.query(&Question::new(sql), "TabSeparated")?;
        Ok(String::from_utf8(answer.collect().await?)
            .expect("text")
            .trim_end_matches('\n')
            .to_owned())
    }

    async fn check(&self, sql: &str, expected: &str) {
        assert_eq!(self.ask(sql).await.expect(sql), expected, "{sql}");
    }

    /// Asks until the answer is as expected.
    async fn until(&self, sql: &str, expected: &str) {
        let mut last = None;
        let asking = async {
            loop {
                let answer = self.ask(sql).await;
                if answer.as_ref().is_ok_and(|answer| answer == expected) {
                    return;
                }
                last = Some(answer);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        assert!(asked.is_ok(), "{sql}: expected {expected}, last {last:?}");
    }

    async fn execute(&self, sql: &str) {
        let client = connect(&self.config).expect("the configuration is right");
        client.query_raw(sql).execute().await.expect(sql);
    }

    /// Appends event rows as one batch; `commit` is their version.
    async fn decide(&self, partition: u32, commit: u64, rows: &[EventRow]) {
        let rows: Vec<EventRow> = rows
            .iter()
            .map(|row| EventRow {
                commit,
                ..row.clone()
            })
            .collect();
        self.append_rows(Topic::Outcomes, partition, (commit, &rows))
            .await;
    }

    async fn append_rows<R: serde::Serialize>(
        &self,
        topic: Topic,
        partition: u32,
        (commit, rows): (u64, &[R]),
    ) {
        let mut value = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut value, row).expect("a row is JSON");
            value.push(b'\n');
        }
        let meta = RowsMeta {
            v: 1,
            rows: u32::try_from(rows.len()).expect("few rows"),
            commit,
        }
        .encode();
        self.append(topic, partition, (meta, value)).await;
    }

    async fn receive(&self, partition: u32, meta: &RequestMeta, body: &[u8]) {
        self.append(Topic::Requests, partition, (meta.encode(), body.to_vec()))
            .await;
    }

    async fn append(&self, topic: Topic, partition: u32, (meta, value): (Vec<u8>, Vec<u8>)) {
        let record = Record {
            topic,
            partition,
            key: Bytes::new(),
            meta: meta.into(),
            value: value.into(),
        };
        self.broker.append(vec![record]).await.expect("the log takes it");
    }

    /// The block of some messages, as the writer would make it.
    fn block(&self, table: Table, messages: &[Message], ranges: Vec<OffsetRange>) -> Block {
        let announced = announce(table, ranges, messages);
        Block::build(table, announced, messages, &self.masker).expect("messages of this build")
    }
}

/// A small log: nothing here is large.
fn log_config() -> embedded::Config {
    embedded::Config {
        segment_bytes: 8 << 20,
        body_message_bytes_max: 2 << 20,
        rows_message_bytes_max: 2 << 20,
        durability: embedded::Durability::Os,
        partitions: embedded::PartitionCounts {
            requests: 3,
            events: 2,
            ..embedded::PartitionCounts::default()
        },
        ..embedded::Config::default()
    }
}

/// A time some minutes ago, so that its minute is complete.
fn earlier(minutes: u64) -> UnixMillis {
    let now = UnixMillis::from(std::time::SystemTime::now());
    let minute = now.0 / 60_000 - minutes;
    UnixMillis(minute * 60_000 + 1_234)
}

/// The event row number `number`, received at `received_at`.
fn event(number: u32, received_at: UnixMillis) -> EventRow {
    let request_id = request_id(number);
    EventRow {
        environment: ENVIRONMENT.parse().expect("a literal UUID"),
        integration: "crm".to_owned(),
        received_at,
        event_id: EventId::derive(request_id, 0, Some("c-1")),
        request_id,
        request_partition: 1,
        request_offset: u64::from(number),
        position: 0,
        provider: "acme".to_owned(),
        connection: "c-1".to_owned(),
        attribution: Attribution::Matched,
        event_type: "contact.changed".to_owned(),
        delivery_key: format!("d-{number}"),
        object_key: format!("contact/{number}"),
        object_version: "7".to_owned(),
        event_time: Some(UnixMillis(1_700_000_000_123)),
        outcome: Outcome::NoEndpoint,
        reason: Reason::EndpointMissing,
        detail: String::new(),
        verified: Proof::Body,
        window: None,
        endpoints: Vec::new(),
        payload_kind: PayloadKind::Json,
        span_start: 0,
        span_bytes: 0,
        payload: "{}".to_owned(),
        replay_of: None,
        decided_at: received_at,
        commit: 0,
    }
}

fn events(numbers: std::ops::Range<u32>, received_at: UnixMillis) -> Vec<EventRow> {
    numbers.map(|number| event(number, received_at)).collect()
}

/// An attempt at the delivery of an event.
fn attempt(number: u32, received_at: UnixMillis) -> AttemptRow {
    let event = event(number, received_at);
    let endpoint_id = "0192f0c1-0000-7000-8000-0000000000f1"
        .parse()
        .expect("a literal UUID");
    AttemptRow {
        environment: event.environment,
        integration: event.integration,
        received_at,
        attempt_id: format!("0192f0c1-2b3c-7d4e-8f90-a0000000{number:04x}")
            .parse()
            .expect("a UUID"),
        delivery_id: DeliveryId::derive(event.event_id, endpoint_id),
        event_id: event.event_id,
        request_id: event.request_id,
        event_partition: 1,
        event_offset: 5,
        provider: event.provider,
        connection: event.connection,
        event_type: event.event_type,
        endpoint_id,
        endpoint: "main".to_owned(),
        url: "https://example.com/hook".to_owned(),
        number: 1,
        status: tidegate_schemas::DeliveryStatus::Delivered,
        reason: Reason::Ok,
        http_status: 204,
        error: String::new(),
        attempted_at: received_at,
        duration_micros: 1500,
        response: "thanks".to_owned(),
        next_at: None,
    }
}

fn request_id(number: u32) -> RequestId {
    format!("0192f0c1-2b3c-7d4e-8f90-{number:012x}")
        .parse()
        .expect("a UUID")
}

/// A request as ingest appends it.
fn request(number: u32, received_at: UnixMillis) -> RequestMeta {
    let mut headers = Headers::default();
    headers.push("content-type", "application/json");
    RequestMeta {
        v: 1,
        kind: RequestKind::Received,
        id: request_id(number),
        environment: ENVIRONMENT.parse().expect("a literal UUID"),
        integration: "crm".to_owned(),
        provider: "acme".to_owned(),
        connection: None,
        method: "POST".to_owned(),
        path: "/webhook/x/crm".to_owned(),
        query: String::new(),
        url: "https://hooks.example.com/webhook/x/crm".to_owned(),
        headers,
        received_at,
        remote: Some("192.0.2.7".to_owned()),
        body_bytes: 2,
        status: 200,
        refusal: None,
        detail: String::new(),
        spilled: false,
        replay: None,
    }
}
