//! What a row costs from its topic into ClickHouse: CPU of this process (reading, masking, encoding, compressing,
//! sending) and, apart, of the engine (parsing, sorting, writing, merging). In: `--rows N` (default 200000). Out: a table.
//!
//! Needs `libchdb.so` (`$TIDEGATE_LIBCHDB`, else `build/chdb/libchdb.so`) and `tidegate-clickhouse` beside this program:
//! `cargo build --release -p tidegate-chdb -p tidegate-bench && target/release/audit`.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tidegate_broker::{Broker, Record, embedded};
use tidegate_providers::Catalogue;
use tidegate_registry::{Entity, Integration, Registry};
use tidegate_schemas::{
    AttemptId, AttemptRow, Attribution, DeliveryId, DeliveryStatus, EndpointId, EnvironmentId, EventId,
    EventRow, Headers, Metadata, Outcome, PayloadKind, Proof, Reason, RequestId, RequestKind, RequestMeta,
    RowsMeta, Topic, UnixMillis,
};
use tidegate_sinks::audit::{Audit, Config, Question, Reader, migrate};
use tokio_util::sync::CancellationToken;
// Its allocator.
use tidegate_bench as _;

type Failure = Box<dyn Error + Send + Sync>;

/// Rows of a message in `outcomes` and `attempts`, as the processor and forward batch them under load.
const ROWS_PER_MESSAGE: u64 = 500;
const BODY_BYTES: usize = 1500;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let rows = rows_asked_for()?;
    let folder = std::env::temp_dir().join(format!("tidegate-bench-audit-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut engine = Engine::start(&folder.join("clickhouse"))?;
    let measured = measure(&folder, &engine, rows).await;
    engine.child.kill()?;
    engine.child.wait()?;
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn rows_asked_for() -> Result<u64, Failure> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(200_000),
        (Some("--rows"), Some(rows)) => Ok(rows.parse()?),
        _ => Err("usage: audit [--rows N]".into()),
    }
}

/// The places where the rows come from.
struct Source {
    broker: Broker,
    environment: EnvironmentId,
    provider: String,
    at: UnixMillis,
}

async fn measure(folder: &Path, engine: &Engine, rows: u64) -> Result<(), Failure> {
    let broker = Broker::open(&embedded::Config::default(), &folder.join("log")).await?;
    let catalogue = Arc::new(Catalogue::builtin()?);
    let provider = catalogue
        .names()
        .next()
        .ok_or("there are no definitions")?
        .to_owned();
    let at = UnixMillis::from(SystemTime::now());
    let environment = EnvironmentId::new(at);
    let integration = Integration::new(environment, "crm", &provider, at);
    let registry = Registry::of([Entity::Integration(integration)])?;
    let config = Config {
        url: format!("http://{}", engine.address),
        ..Config::default()
    };
    migrate(&config).await?;
    let source = Source {
        broker: broker.clone(),
        environment,
        provider,
        at,
    };
    println!(
        "{:<18} {:>9} {:>12} {:>12} {:>10}",
        "table", "rows", "ours µs/row", "engine µs/row", "rows/s"
    );
    for (table, topic) in [
        ("webhook_events", Topic::Outcomes),
        ("webhook_requests", Topic::Requests),
        ("delivery_attempts", Topic::Attempts),
    ] {
        source.fill(topic, rows).await?;
        let audit = Audit::new(
            config.clone(),
            broker.clone(),
            Arc::clone(&catalogue),
            registry.clone(),
        );
        let (ours, theirs, begun) = (cpu("self")?, cpu(&engine.pid())?, Instant::now());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(audit.run(shutdown.clone()));
        wait_for(&config, table, rows).await?;
        let took = begun.elapsed();
        let (ours, theirs) = (cpu("self")? - ours, cpu(&engine.pid())? - theirs);
        shutdown.cancel();
        running.await??;
        #[allow(clippy::cast_precision_loss)] // figures for people
        let per_row = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
        let rate = 1e6 / per_row(took);
        println!(
            "{table:<18} {rows:>9} {:>12.2} {:>12.2} {rate:>10.0}",
            per_row(ours),
            per_row(theirs)
        );
    }
    Ok(())
}

async fn wait_for(config: &Config, table: &str, rows: u64) -> Result<(), Failure> {
    let reader = Reader::new(config)?;
    let question = Question::new(format!("SELECT count() FROM {table}"));
    loop {
        let answer = reader.query(&question, "TabSeparated")?.collect().await?;
        if String::from_utf8(answer)?.trim().parse::<u64>()? >= rows {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Source {
    async fn fill(&self, topic: Topic, rows: u64) -> Result<(), Failure> {
        let partitions = u64::from(self.broker.partitions(topic));
        let mut batch = Vec::new();
        for first in (0..rows).step_by(usize::try_from(ROWS_PER_MESSAGE)?) {
            let numbers = first..(first + ROWS_PER_MESSAGE).min(rows);
            let partition = u32::try_from(first / ROWS_PER_MESSAGE % partitions)?;
            match topic {
                Topic::Requests => {
                    batch.extend(numbers.map(|number| self.request(partition, number)));
                }
                Topic::Outcomes => batch.push(lines((topic, partition), numbers.map(|n| self.event(n)))?),
                _ => batch.push(lines((topic, partition), numbers.map(|n| self.attempt(n)))?),
            }
            self.broker.append(std::mem::take(&mut batch)).await?;
        }
        Ok(())
    }

    fn time(&self, number: u64) -> UnixMillis {
        self.at.after(Duration::from_millis(number / 20))
    }

    fn request(&self, partition: u32, number: u64) -> Record {
        let mut headers = Headers::default();
        for (name, value) in [
            ("host", "hooks.example.com"),
            ("user-agent", "Sender-Hooks/044aadd"),
            ("content-type", "application/json"),
            ("x-event", "contact.changed"),
            (
                "x-signature-256",
                "sha256=0b2d7a6f2f3c1f6f7d3b8c9e6f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
            ),
        ] {
            headers.push(name, value);
        }
        headers.push("x-delivery", number.to_string().as_str());
        let mut body = format!(r#"{{"id":{number},"changes":["#).into_bytes();
        while body.len() < BODY_BYTES - 60 {
            let field = body.len() as u64 * 2_654_435_761 % 97 + number % 89;
            body.extend(format!(r#"{{"property":"p{field}","value":"{}"}},"#, field * number).bytes());
        }
        body.extend(br#"{"property":"end","value":null}]}"#);
        let meta = RequestMeta {
            v: 1,
            kind: RequestKind::Received,
            id: RequestId::new(self.time(number)),
            environment: self.environment,
            integration: "crm".to_owned(),
            provider: self.provider.clone(),
            connection: None,
            method: "POST".to_owned(),
            path: format!("/webhook/{}/crm", self.environment),
            query: String::new(),
            url: format!("https://hooks.example.com/webhook/{}/crm", self.environment),
            headers,
            received_at: self.time(number),
            remote: Some("192.0.2.7".to_owned()),
            body_bytes: body.len() as u64,
            status: 200,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        };
        let (key, meta, value) = (Bytes::new(), meta.encode().into(), body.into());
        Record {
            topic: Topic::Requests,
            partition,
            key,
            meta,
            value,
        }
    }

    fn event(&self, number: u64) -> EventRow {
        let request_id = RequestId::new(self.time(number));
        EventRow {
            environment: self.environment,
            integration: "crm".to_owned(),
            received_at: self.time(number),
            event_id: EventId::derive(request_id, 0, Some("c-1")),
            request_id,
            request_partition: 3,
            request_offset: number,
            position: 0,
            provider: self.provider.clone(),
            connection: format!("connection-{}", number % 1000),
            attribution: Attribution::Matched,
            event_type: "contact.changed".to_owned(),
            delivery_key: format!("delivery-{number}"),
            object_key: format!("contact/{}", number % 50_000),
            object_version: number.to_string(),
            event_time: Some(self.time(number)),
            outcome: Outcome::Routed,
            reason: Reason::Ok,
            detail: String::new(),
            verified: Proof::Body,
            window: None,
            endpoints: vec![EndpointId(self.environment.0)],
            payload_kind: PayloadKind::Json,
            span_start: 0,
            span_bytes: 1500,
            payload: String::new(),
            replay_of: None,
            decided_at: self.time(number),
            commit: number / ROWS_PER_MESSAGE,
        }
    }

    fn attempt(&self, number: u64) -> AttemptRow {
        let event = self.event(number);
        AttemptRow {
            environment: event.environment,
            integration: event.integration,
            received_at: event.received_at,
            attempt_id: AttemptId::new(event.received_at),
            delivery_id: DeliveryId::derive(event.event_id, EndpointId(self.environment.0)),
            event_id: event.event_id,
            request_id: event.request_id,
            event_partition: 2,
            event_offset: number,
            provider: event.provider,
            connection: event.connection,
            event_type: event.event_type,
            endpoint_id: EndpointId(self.environment.0),
            endpoint: "main".to_owned(),
            url: "https://example.com/hooks/tidegate".to_owned(),
            number: 1,
            status: DeliveryStatus::Delivered,
            reason: Reason::Ok,
            http_status: 200,
            error: String::new(),
            attempted_at: event.received_at,
            duration_micros: 1500 + number % 1000,
            response: r#"{"ok":true}"#.to_owned(),
            next_at: None,
        }
    }
}

fn lines<R: serde::Serialize>(
    (topic, partition): (Topic, u32),
    rows: impl Iterator<Item = R>,
) -> Result<Record, Failure> {
    let (mut value, mut count) = (Vec::new(), 0);
    for row in rows {
        serde_json::to_writer(&mut value, &row)?;
        value.push(b'\n');
        count += 1;
    }
    let meta = RowsMeta {
        v: 1,
        rows: count,
        commit: 1,
    }
    .encode()
    .into();
    Ok(Record {
        topic,
        partition,
        key: Bytes::new(),
        meta,
        value: value.into(),
    })
}

/// The engine as a process of its own, so that its CPU is told from ours.
struct Engine {
    child: Child,
    address: String,
}

impl Engine {
    fn start(data: &Path) -> Result<Engine, Failure> {
        let program = std::env::current_exe()?.with_file_name("tidegate-clickhouse");
        let library = std::env::var_os("TIDEGATE_LIBCHDB")
            .map_or_else(|| PathBuf::from("build/chdb/libchdb.so"), PathBuf::from);
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--library")
            .arg(library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("standard output was asked for")?;
        let address = BufReader::new(output)
            .lines()
            .next()
            .ok_or("the engine ended: see its error above")??;
        Ok(Engine { child, address })
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

/// The CPU time of a process so far, from `/proc`; the kernel counts it in hundredths of a second.
fn cpu(process: &str) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("/proc/PID/stat has a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<u64, Failure> { Ok(fields.get(index).ok_or("a short stat")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
