//! What flood control costs: its [`tables`]; [`turns`], for events beyond a rate; the CPU-µs of an absorbed event in the whole
//! processor, beside the same event without flood control in the same run; and [`fairness`] in real time.
//! In: `[OBJECTS] [EVENTS] [SHARE]`, else ten million, 200,000, and 100 events a second for each connection. Out: a table.
//! Reads no network and sends nothing.

mod fairness;
mod flood;
mod tables;
mod turns;

use flood::Flood;
use tidegate_bench::{Failure, micros_each, processing};
use tidegate_broker::{Broker, embedded};
use tidegate_registry::FloodSettings;
use tidegate_schemas::UnixMillis;

/// How often the whole processor is measured each way.
const ROUNDS: u32 = 5;
/// When everything comes that needs no real time.
const AT: UnixMillis = UnixMillis(1_795_255_200_000);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| arguments.next().map_or(Ok(or), |given| given.parse());
    let (objects, events, share) = (number(10_000_000)?, number(200_000)?, number(100)?);
    tables::each_kind();
    let mut many = 1_000_000.min(objects);
    while many <= objects && many > 0 {
        tables::large(many)?;
        many *= 10;
    }
    turns::measure();
    let flood = Flood::read()?;
    whole(&flood, events).await?;
    fairness::measure(&flood, share).await
}

/// The whole processor with everything absorbed, and without flood control, where nobody wants the events.
async fn whole(flood: &Flood, events: u64) -> Result<(), Failure> {
    let off: FloodSettings = serde_json::from_str(r#"{"dedupe": false}"#)?;
    let absorbing: FloodSettings =
        serde_json::from_str(r#"{"debounce": {"quiet_ms": 3600000, "max_wait_ms": 3600000}}"#)?;
    // In turns, and the best of each: whatever else the machine does makes a round dearer, never cheaper.
    let (mut without, mut absorbed) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        without = through(flood, off.clone(), events).await?.min(without);
        absorbed = through(flood, absorbing.clone(), events).await?.min(absorbed);
    }
    println!(
        "{events} events on {} objects through the processor, the best of {ROUNDS} rounds:",
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

async fn through(flood: &Flood, settings: FloodSettings, events: u64) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let broker = Broker::open(&embedded::Config::default(), directory.path()).await?;
    let (integration, registry) = flood.registry(settings, 1)?;
    for first in (0..events).step_by(500) {
        let batch = (first..events.min(first + 500)).map(|n| flood.record(&integration, (0, n)));
        broker.append(batch.collect()).await?;
    }
    let (spent, _) = processing::decide(broker, registry, events).await?;
    Ok(micros_each(spent, events))
}
