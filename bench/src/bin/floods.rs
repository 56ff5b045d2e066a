//! What flood control costs: bytes and CPU for each delivery id, object and open window; lookups, slices and a restore of
//! as many objects as asked for; the longest that one decision holds the owner up while tables grow; and the CPU-µs of an
//! absorbed event in the whole processor, beside the same event without flood control in the same run.
//! In: `[OBJECTS] [EVENTS]`, else ten million and 200,000. Out: a table. Reads no network and sends nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use tidegate_bench::{Failure, micros_each, processing};
use tidegate_broker::journal::Changes;
use tidegate_broker::{Broker, Record, embedded};
use tidegate_processor::{FloodConfig, Rehearsal, RehearsedEvent};
use tidegate_providers::Sample;
use tidegate_registry::{
    Connection, Debounce, Endpoint, Entity, Environment, FloodPolicy, FloodSettings, Integration, Registry,
    StoredSecret,
};
use tidegate_schemas::{EventId, Headers, IntegrationId, Secret, UnixMillis};

/// How many of each kind are counted to say what one costs.
const COUNTED: u64 = 1_000_000;
/// Decisions between two messages of the journal.
const BATCH: u64 = 2_000;
/// Bytes of a slice.
const SLICE: usize = 1 << 20;
/// When everything comes.
const AT: UnixMillis = UnixMillis(1_795_255_200_000);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let objects: u64 = arguments.next().map_or(Ok(10_000_000), |given| given.parse())?;
    let events: u64 = arguments.next().map_or(Ok(200_000), |given| given.parse())?;
    each_kind();
    let mut many = 1_000_000.min(objects);
    while many <= objects {
        large(many)?;
        many *= 10;
    }
    whole(events).await
}

/// No limit that a measurement would meet.
fn config() -> FloodConfig {
    FloodConfig {
        dedupe_bytes_max: 64 << 30,
        objects_bytes_max: 64 << 30,
        windows_bytes_max: 64 << 30,
        ..FloodConfig::default()
    }
}

fn policy(dedupe: bool, compares: bool, debounce: bool) -> Arc<FloodPolicy> {
    Arc::new(FloodPolicy {
        dedupe,
        order: compares,
        debounce: debounce.then(Debounce::default),
        detect_changes: compares,
        ..FloodPolicy::default()
    })
}

/// The `n`th event about an object, or under a delivery id.
fn event<'a>(n: u64, named: &'a str) -> RehearsedEvent<'a> {
    RehearsedEvent {
        id: EventId(uuid::Uuid::from_u128(u128::from(n) + 1)),
        integration: IntegrationId(uuid::Uuid::from_u128(7)),
        connection: Some("acme"),
        event_type: "contact.changed",
        received_at: AT,
        delivery_id: Some(named),
        object_key: Some(named),
        version: Some(1),
        time: None,
        deleted: false,
        content: Some(7),
        payload_bytes: 1_500,
    }
}

fn name(n: u64) -> String {
    format!("contact/{n}")
}

fn spent() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .expect("CPU time is never negative")
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn each(of: usize, count: u64) -> f64 {
    of as f64 / count as f64
}

/// Bytes, CPU and journal of each delivery id, object and open window.
fn each_kind() {
    println!("{COUNTED} of each kind:");
    let kinds = [
        ("delivery id", policy(true, false, false)),
        ("object: order and content", policy(false, true, false)),
        ("open window", policy(false, false, true)),
    ];
    for (what, policy) in kinds {
        let mut rehearsal = Rehearsal::new(&config());
        let (mut journal_bytes, mut writing) = (0, Duration::ZERO);
        let began = spent();
        for n in 1..=COUNTED {
            let name = name(n);
            rehearsal.decide(&event(n, &name), &policy);
            if n % BATCH == 0 {
                let before = spent();
                journal_bytes += rehearsal.changes().len_bytes();
                writing += spent().saturating_sub(before);
            }
        }
        let deciding = spent().saturating_sub(began).saturating_sub(writing);
        println!(
            "  {what:<26} {:>6.1} bytes in memory, {:>6.1} in the journal; {:>5.2} µs to decide, {:>5.2} µs to write",
            each(rehearsal.state_bytes(), COUNTED),
            each(journal_bytes, COUNTED),
            micros_each(deciding, COUNTED),
            micros_each(writing, COUNTED)
        );
    }
}

/// Many objects: growing, looking up, slices, a restore.
fn large(objects: u64) -> Result<(), Failure> {
    let policy = policy(false, true, false);
    let mut rehearsal = Rehearsal::new(&config());
    let (mut longest, began) = (Duration::ZERO, spent());
    let mut longest_write = Duration::ZERO;
    for n in 0..objects {
        let name = name(n);
        let before = spent();
        rehearsal.decide(&event(n, &name), &policy);
        longest = longest.max(spent().saturating_sub(before));
        if n % BATCH == 0 {
            let before = spent();
            rehearsal.changes();
            longest_write = longest_write.max(spent().saturating_sub(before));
        }
    }
    let growing = micros_each(spent().saturating_sub(began), objects);
    println!(
        "{objects} objects: {:.1} bytes each, {growing:.2} µs to add one, {:.0} µs the longest, {:.0} µs a batch's changes",
        each(rehearsal.state_bytes(), objects),
        longest.as_secs_f64() * 1e6,
        longest_write.as_secs_f64() * 1e6,
    );
    lookups(&mut rehearsal, (objects, &policy));
    slices(&rehearsal)
}

/// Events about objects that are known and have not changed, all over the table.
fn lookups(rehearsal: &mut Rehearsal, (objects, policy): (u64, &Arc<FloodPolicy>)) {
    let lookups = 1_000_000;
    let names: Vec<String> = (0..lookups)
        .map(|n: u64| name(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % objects))
        .collect();
    let before = spent();
    for name in &names {
        rehearsal.decide(&event(0, name), policy);
    }
    let micros = micros_each(spent().saturating_sub(before), lookups);
    println!(
        "  looked up: {micros:.2} µs each, {:.1} M a second on one thread",
        1.0 / micros
    );
}

/// A whole round of slices, and what a new owner needs to read it.
fn slices(rehearsal: &Rehearsal) -> Result<(), Failure> {
    let (mut journal, mut cursor, mut longest) = (Vec::new(), None::<Vec<u8>>, Duration::ZERO);
    let began = spent();
    loop {
        let before = spent();
        let (slice, next) = rehearsal.slice(cursor.as_deref(), SLICE);
        longest = longest.max(spent().saturating_sub(before));
        journal.push(slice);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let writing = spent().saturating_sub(began);
    let bytes: usize = journal.iter().map(Changes::len_bytes).sum();
    let began = Instant::now();
    let restored = Rehearsal::restored(&config(), &journal)?;
    println!(
        "  a round: {} MB in {:.2} s of CPU, {:.0} µs the longest slice of 1 MiB; restored in {:.2} s to {} MB",
        bytes / 1_000_000,
        writing.as_secs_f64(),
        longest.as_secs_f64() * 1e6,
        began.elapsed().as_secs_f64(),
        restored.state_bytes() / 1_000_000,
    );
    Ok(())
}

/// The flood, as data.
#[derive(Deserialize)]
struct Flood {
    provider: String,
    header: String,
    secret: String,
    connection: String,
    body: String,
    objects: u64,
}

/// The whole processor with everything absorbed, and without flood control, where nobody wants the events.
async fn whole(events: u64) -> Result<(), Failure> {
    let flood: Flood = toml::from_str(include_str!("../../data/floods.toml"))?;
    let off: FloodSettings = serde_json::from_str(r#"{"dedupe": false}"#)?;
    let absorbing: FloodSettings =
        serde_json::from_str(r#"{"debounce": {"quiet_ms": 3600000, "max_wait_ms": 3600000}}"#)?;
    let without = flood.through(off, events).await?;
    let absorbed = flood.through(absorbing, events).await?;
    println!(
        "{events} events on {} objects through the processor:",
        flood.objects
    );
    println!("  without flood control, not wanted by any endpoint  {without:>6.2} µs of CPU an event");
    println!("  deduplicated and absorbed, journal included        {absorbed:>6.2} µs of CPU an event");
    println!(
        "  flood control alone                                {:>6.2} µs of CPU an event",
        absorbed - without
    );
    Ok(())
}

impl Flood {
    async fn through(&self, settings: FloodSettings, events: u64) -> Result<f64, Failure> {
        let directory = tempfile::tempdir()?;
        let broker = Broker::open(&embedded::Config::default(), directory.path()).await?;
        let (integration, registry) = self.registry(settings)?;
        for first in (0..events).step_by(500) {
            let batch = (first..events.min(first + 500)).map(|n| self.record(&integration, n));
            broker.append(batch.collect()).await?;
        }
        let (spent, _) = processing::decide(broker, registry, events).await?;
        Ok(micros_each(spent, events))
    }

    /// One integration with one connection and an endpoint that wants another type of event.
    fn registry(&self, settings: FloodSettings) -> Result<(Integration, Registry), Failure> {
        let environment = Environment::new("bench", AT);
        let mut integration = Integration::new(environment.id, "bench", &self.provider, AT);
        integration.secrets = vec![StoredSecret::new(Secret::new(self.secret.as_bytes()))];
        integration.flood = settings;
        let mut endpoint = Endpoint::new(environment.id, "none", "https://example.com", AT);
        endpoint.types = vec!["nothing".to_owned()];
        let connection = Connection::new(integration.id, self.connection.clone(), AT);
        let entities = [
            Entity::Environment(environment),
            Entity::Endpoint(endpoint),
            Entity::Integration(integration.clone()),
            Entity::Connection(connection),
        ];
        Ok((integration, Registry::of(entities)?))
    }

    fn record(&self, integration: &Integration, n: u64) -> Record {
        let object = (n % self.objects).to_string();
        let body = self
            .body
            .replace("{n}", &n.to_string())
            .replace("{object}", &object);
        let now = UnixMillis::from(SystemTime::now());
        let mut headers = Headers::default();
        headers.push(&self.header, self.secret.as_str());
        headers.push("content-type", "application/json");
        let sample = Sample {
            method: "POST".to_owned(),
            url: "https://hooks.test/webhook/bench/bench".to_owned(),
            headers,
            body: body.into(),
        };
        processing::request(&sample, integration, "/", now)
    }
}
