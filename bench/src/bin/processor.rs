//! What the processor costs per event: CPU-µs to verify, pick and attribute a fixture's request on one thread, and of
//! the whole processor on the embedded broker, each beside the bare HMAC of the same body in the same run.
//! In: `[fixture] [case] [events]`, else `bench/data/processor.toml`. Out: a table. Measures no forwarding.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use sha2::Sha256;
use tidegate_broker::{Broker, Record, embedded};
use tidegate_processor::{Config, Parts, Processor};
use tidegate_providers::{ActiveSecret, Catalogue, Credentials, NoKeySets, RawRequest};
use tidegate_registry::{Connection, Endpoint, Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{
    Headers, Metadata, RequestId, RequestKind, RequestMeta, RowsMeta, Secret, Topic, UnixMillis,
    WRITE_VERSION,
};
use tokio_util::sync::CancellationToken;
// Its allocator.
use tidegate_bench as _;

/// How many connections the integration has, so that finding one costs what it costs.
const CONNECTIONS: usize = 10_000;
/// How many requests are appended at a time.
const APPEND: usize = 500;

#[derive(Deserialize)]
struct Choice {
    fixture: String,
    case: String,
}

#[derive(Deserialize)]
struct Fixture {
    provider: String,
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    received_at: u64,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    cfg: BTreeMap<String, String>,
    request: CaseRequest,
    expect: Expect,
}

#[derive(Deserialize)]
struct CaseRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Deserialize)]
struct Expect {
    #[serde(default)]
    events: Vec<ExpectedEvent>,
}

#[derive(Deserialize)]
struct ExpectedEvent {
    #[serde(default)]
    identifiers: Vec<(String, String)>,
}

/// A fixture's request with an integration that takes it.
struct Scene {
    case: Case,
    integration: Integration,
    entities: Vec<Entity>,
    headers: Headers,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let default: Choice = toml::from_str(include_str!("../../data/processor.toml"))?;
    let fixture = arguments.next().unwrap_or(default.fixture);
    let name = arguments.next().unwrap_or(default.case);
    let events: usize = arguments.next().map_or(Ok(100_000), |events| events.parse())?;
    let scene = Scene::read(&fixture, &name)?;
    println!(
        "{fixture} `{name}`: {} bytes, {events} events",
        scene.case.request.body.len()
    );
    let bare = scene.hmac(events);
    report("HMAC-SHA256 of the body", bare, bare);
    report("verify, pick, attribute", scene.steps(events)?, bare);
    report(
        "whole processor, embedded broker",
        scene.whole(events).await?,
        bare,
    );
    Ok(())
}

fn report(what: &str, cpu_micros: f64, bare: f64) {
    println!(
        "{what:<34} {cpu_micros:>8.2} µs of CPU an event, {:>6.1} × the HMAC",
        cpu_micros / bare
    );
}

impl Scene {
    fn read(fixture: &str, name: &str) -> Result<Self, Box<dyn Error>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let Fixture { provider, case } = toml::from_str(&std::fs::read_to_string(root.join(fixture))?)?;
        let case = case
            .into_iter()
            .find(|case| case.name == name)
            .ok_or("the fixture has no such case")?;
        let now = UnixMillis(case.received_at);
        let environment = Environment::new("bench", now);
        let mut integration = Integration::new(environment.id, "bench", &provider, now);
        integration.secrets = case
            .secrets
            .iter()
            .map(|text| StoredSecret::new(Secret::new(text.as_bytes())))
            .collect();
        integration.cfg.clone_from(&case.cfg);
        let endpoint = Endpoint::new(environment.id, "all", "https://example.com", now);
        let identifiers: Vec<_> = case
            .expect
            .events
            .iter()
            .flat_map(|event| &event.identifiers)
            .collect();
        let mut entities = vec![Entity::Environment(environment), Entity::Endpoint(endpoint)];
        entities.push(Entity::Integration(integration.clone()));
        for at in 0..CONNECTIONS {
            let mut connection = Connection::new(integration.id, format!("connection-{at}"), now);
            for (property, value) in &identifiers {
                let value = if at == 0 {
                    value.clone()
                } else {
                    format!("{value}-{at}")
                };
                connection = connection.with_property(property.trim_end_matches("[]"), &value);
            }
            entities.push(Entity::Connection(connection));
        }
        let mut headers = Headers::default();
        for (name, value) in &case.request.headers {
            headers.push(name, value.as_str());
        }
        Ok(Self {
            case,
            integration,
            entities,
            headers,
        })
    }

    fn hmac(&self, events: usize) -> f64 {
        let mut sink = 0u8;
        let micros = measured(ClockId::ThreadCPUTime, events, || {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(b"a key of thirty-two bytes or so").expect("any key fits");
            mac.update(self.case.request.body.as_bytes());
            sink ^= mac.finalize().into_bytes().first().copied().unwrap_or_default();
        });
        std::hint::black_box(sink);
        micros
    }

    fn steps(&self, events: usize) -> Result<f64, Box<dyn Error>> {
        let catalogue = Catalogue::builtin()?;
        let registry = Registry::of(self.entities.iter().cloned())?;
        let definition = catalogue
            .get(&self.integration.provider)
            .ok_or("no such definition")?;
        let received_at = UnixMillis(self.case.received_at);
        let request = &self.case.request;
        let mut matched = 0;
        let micros = measured(ClockId::ThreadCPUTime, events, || {
            let tables = registry.read();
            let secrets: Vec<_> = self.integration.secrets_at(received_at).map(active).collect();
            let parsed = definition.parse(RawRequest {
                method: &request.method,
                path: "/",
                query: request.url.split_once('?').map_or("", |(_, query)| query),
                headers: &self.headers,
                body: request.body.as_bytes(),
                url: &request.url,
                received_at,
                cfg: &self.integration.cfg,
            });
            let credentials = Credentials {
                secrets: &secrets,
                allow_unverified: false,
            };
            let verified = definition
                .verify(&parsed, credentials, &NoKeySets)
                .expect("the fixture is genuine");
            for event in definition
                .split(&parsed, &verified)
                .expect("the fixture can be split")
            {
                let found = event.identifiers.iter().flat_map(|identifier| {
                    tables.connections_by(&self.integration.id, identifier.property, &identifier.value)
                });
                matched += found.take(1).count();
            }
        });
        println!("{:<34} {matched} connections found", "");
        Ok(micros)
    }

    async fn whole(&self, events: usize) -> Result<f64, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let broker = Broker::open(&embedded::Config::default(), directory.path()).await?;
        for from in (0..events).step_by(APPEND) {
            let batch = (from..events.min(from + APPEND)).map(|_| self.record()).collect();
            broker.append(batch).await?;
        }
        let parts = Parts {
            broker: broker.clone(),
            registry: Registry::of(self.entities.iter().cloned())?,
            catalogue: Arc::new(Catalogue::builtin()?),
            client: tidegate_egress::Client::new(&tidegate_egress::Config::default())?,
        };
        let stop = CancellationToken::new();
        let processor = Processor::new(parts, Config::default());
        let before = cpu(ClockId::ProcessCPUTime);
        let running = tokio::spawn(processor.run(stop.clone()));
        let mut rows = 0;
        let mut reader = broker.reader(Topic::Outcomes, 0, 0);
        while rows < events {
            for message in reader.next(1000, 64 << 20).await? {
                rows += RowsMeta::decode(&message.meta)?.rows as usize;
            }
        }
        let spent = cpu(ClockId::ProcessCPUTime).saturating_sub(before);
        stop.cancel();
        running.await??;
        broker.close().await?;
        Ok(micros_each(spent, rows))
    }

    fn record(&self) -> Record {
        let received_at = UnixMillis(self.case.received_at);
        let request = &self.case.request;
        let meta = RequestMeta {
            v: WRITE_VERSION,
            kind: RequestKind::Received,
            id: RequestId::new(received_at),
            environment: self.integration.environment,
            integration: self.integration.key.clone(),
            provider: self.integration.provider.clone(),
            connection: None,
            method: request.method.clone(),
            path: "/".to_owned(),
            query: String::new(),
            url: request.url.clone(),
            headers: self.headers.clone(),
            received_at,
            remote: None,
            body_bytes: request.body.len() as u64,
            status: 200,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        };
        Record {
            topic: Topic::Requests,
            partition: 0,
            key: Bytes::new(),
            meta: meta.encode().into(),
            value: Bytes::copy_from_slice(request.body.as_bytes()),
        }
    }
}

fn active(stored: &StoredSecret) -> ActiveSecret<'_> {
    ActiveSecret {
        secret: stored.secret(),
        label: stored.label.as_deref(),
    }
}

/// CPU-µs a call, after a tenth of the calls to warm up.
fn measured(clock: ClockId, times: usize, mut act: impl FnMut()) -> f64 {
    (0..times / 10).for_each(|_| act());
    let before = cpu(clock);
    (0..times).for_each(|_| act());
    micros_each(cpu(clock).saturating_sub(before), times)
}

fn micros_each(spent: Duration, times: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(times).expect("fewer than 2^32 events"))
}

fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock)
        .try_into()
        .expect("CPU time is never negative")
}
