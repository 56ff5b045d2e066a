//! What the processor costs per event: CPU-µs on one thread to verify a signed webhook of 1.5 KB, to pick its event too,
//! and to find its connection too; and of the whole processor on the embedded broker. Each stands beside the bare HMAC of
//! the same body in the same run. In: `[PROVIDER CASE] [EVENTS]`, else `bench/data/webhook.toml`. Out: a table. Measures no
//! forwarding.

use std::hint::black_box;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_bench::webhook::{self, Choice};
use tidegate_bench::{Failure, cpu, micros_each, processing};
use tidegate_broker::{Broker, Record, embedded};
use tidegate_providers::{ActiveSecret, Catalogue, Credentials, NoKeySets, RawRequest, Sample};
use tidegate_registry::{Connection, Endpoint, Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{Secret, UnixMillis};

/// How many connections the integration has, so that finding one costs what it costs.
const CONNECTIONS: usize = 10_000;
/// How many requests are appended at a time.
const APPEND: u64 = 500;

/// A signed webhook with an integration that takes it.
struct Scene {
    sample: Sample,
    received_at: UnixMillis,
    integration: Integration,
    entities: Vec<Entity>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tidegate_bench::purge_as_the_server()?;
    let mut arguments = std::env::args().skip(1);
    let choice = Choice::read(arguments.by_ref().take(2))?;
    let events: u64 = arguments.next().map_or(Ok(100_000), |events| events.parse())?;
    let scene = Scene::read(&choice)?;
    let bytes = scene.sample.body.len();
    println!(
        "{} `{}`: {bytes} bytes, {events} events",
        choice.provider, choice.case
    );
    let bare = scene.hmac(events);
    report("HMAC-SHA256 of the body", bare, bare);
    scene.steps(events, bare)?;
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
    fn read(choice: &Choice) -> Result<Self, Failure> {
        let sample = choice.signed("https://hooks.test/webhook/bench/bench")?;
        let now = UnixMillis::from(SystemTime::now());
        let environment = Environment::new("bench", now);
        let mut integration = Integration::new(environment.id, "bench", &choice.provider, now);
        integration.secrets = vec![StoredSecret::new(Secret::new(webhook::SECRET.as_bytes()))];
        integration.cfg = choice.case()?.cfg;
        // The same request is sent over and over.
        integration.flood.dedupe = Some(false);
        let endpoint = Endpoint::new(environment.id, "all", "https://example.com", now);
        let properties = choice.properties()?;
        let mut entities = vec![Entity::Environment(environment), Entity::Endpoint(endpoint)];
        entities.push(Entity::Integration(integration.clone()));
        for at in 0..CONNECTIONS {
            let mut connection = Connection::new(integration.id, format!("connection-{at}"), now);
            for (property, value) in &properties {
                let other = format!("{value}-{at}");
                connection = connection.with_property(property, if at == 0 { value } else { &other });
            }
            entities.push(Entity::Connection(connection));
        }
        Ok(Self {
            sample,
            received_at: now,
            integration,
            entities,
        })
    }

    fn hmac(&self, events: u64) -> f64 {
        cpu::micros_of_thread(events, || {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(black_box(webhook::SECRET.as_bytes())).expect("any key fits");
            mac.update(black_box(&self.sample.body));
            black_box(mac.finalize().into_bytes());
        })
    }

    fn raw(&self) -> RawRequest<'_> {
        RawRequest {
            method: &self.sample.method,
            path: "/webhook/bench/bench",
            query: "",
            headers: &self.sample.headers,
            body: &self.sample.body,
            url: &self.sample.url,
            received_at: self.received_at,
            cfg: &self.integration.cfg,
        }
    }

    /// Verifying alone, then with picking, then with attributing.
    fn steps(&self, events: u64, bare: f64) -> Result<(), Failure> {
        let catalogue = Catalogue::builtin()?;
        let registry = Registry::of(self.entities.iter().cloned())?;
        let definition = catalogue
            .get(&self.integration.provider)
            .ok_or("no such definition")?;
        let secrets: Vec<_> = self
            .integration
            .secrets_at(self.received_at)
            .map(active)
            .collect();
        let credentials = Credentials {
            secrets: &secrets,
            allow_unverified: false,
        };
        let verify = || {
            let parsed = definition.parse(black_box(self.raw()));
            let verified = definition.verify(&parsed, credentials, &NoKeySets);
            (parsed, verified.expect("it was signed above"))
        };
        let verifying = cpu::micros_of_thread(events, || {
            black_box(verify());
        });
        report("verify", verifying, bare);
        let picking = cpu::micros_of_thread(events, || {
            let (parsed, verified) = verify();
            black_box(definition.split(&parsed, &verified).expect("it is JSON"));
        });
        report("verify, pick", picking, bare);
        let mut matched = 0;
        let attributing = cpu::micros_of_thread(events, || {
            let (parsed, verified) = verify();
            let tables = registry.read();
            for event in definition.split(&parsed, &verified).expect("it is JSON") {
                let found = event.identifiers.iter().flat_map(|identifier| {
                    tables.connections_by(&self.integration.id, identifier.property, &identifier.value)
                });
                matched += found.take(1).count();
            }
        });
        assert!(matched > 0, "no connection was found");
        report("verify, pick, attribute", attributing, bare);
        Ok(())
    }

    async fn whole(&self, events: u64) -> Result<f64, Failure> {
        let directory = tempfile::tempdir()?;
        let broker = Broker::open(&embedded::Config::default(), directory.path()).await?;
        let mut left = events;
        while left > 0 {
            let batch = (0..left.min(APPEND)).map(|_| self.record()).collect();
            broker.append(batch).await?;
            left = left.saturating_sub(APPEND);
        }
        let registry = Registry::of(self.entities.iter().cloned())?;
        let (spent, rows) = processing::decide(broker, registry, events).await?;
        Ok(micros_each(spent, rows))
    }

    fn record(&self) -> Record {
        processing::request(&self.sample, &self.integration, "/", self.received_at)
    }
}

fn active(stored: &StoredSecret) -> ActiveSecret<'_> {
    ActiveSecret {
        secret: stored.secret(),
        label: stored.label.as_deref(),
    }
}
