//! What flood control costs: its [`tables`]; [`turns`], for events beyond a rate; the CPU-µs of an absorbed event in the whole
//! processor, beside the same event without flood control in the same run; and [`fairness`] in real time.
//! In: `[OBJECTS] [EVENTS] [SHARE]`, else ten million, 30,000 a round, and 100 events a second for each connection. Out: a
//! table.
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
const ROUNDS: usize = 40;
/// When everything comes that needs no real time.
const AT: UnixMillis = UnixMillis(1_795_255_200_000);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tidegate_bench::purge_as_the_server()?;
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u64| arguments.next().map_or(Ok(or), |given| given.parse());
    let (objects, events, share) = (number(10_000_000)?, number(30_000)?, number(100)?);
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
    // In turns, so that whatever else the machine does falls on both of a pair.
    let mut pairs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let without = through(flood, off.clone(), events).await?;
        pairs.push((without, through(flood, absorbing.clone(), events).await?));
    }
    println!(
        "{events} events on {} objects through the processor, {ROUNDS} rounds; µs of CPU an event:",
        flood.objects
    );
    let rows = [
        (
            "without flood control, not wanted by any endpoint",
            of_all(&pairs, |(without, _)| without),
        ),
        (
            "deduplicated and absorbed, journal included",
            of_all(&pairs, |(_, absorbed)| absorbed),
        ),
        (
            "flood control alone, pair by pair",
            of_all(&pairs, |(without, absorbed)| absorbed - without),
        ),
    ];
    for (what, [least, quarter, half]) in rows {
        println!("  {what:<50} {half:>6.2} half of them, {quarter:>6.2} a quarter, {least:>6.2} the least");
    }
    Ok(())
}

/// The least of all rounds, and what a quarter and half of them came to at most.
fn of_all(pairs: &[(f64, f64)], figure: impl Fn((f64, f64)) -> f64) -> [f64; 3] {
    let mut figures: Vec<f64> = pairs.iter().copied().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    [0, ROUNDS / 4, ROUNDS / 2].map(|at| figures[at])
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
