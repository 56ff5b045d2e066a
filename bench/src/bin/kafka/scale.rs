//! One, two and four processors over eight partitions and 64 integrations: what an event costs must not depend on how many
//! share the work. They stand still while the events are appended and then work them off, so that each has work all the
//! time. Ours is the CPU of all processors together, the broker's that of the node.

use std::path::Path;
use std::time::Duration;

use tidegate_bench::kafka::{Node, Process};
use tidegate_bench::webhook::Choice;
use tidegate_bench::{Failure, micros_each};

use crate::rebuild::write;
use crate::scene::{Decided, Scene};

const PARTITIONS: u32 = 8;
const INTEGRATIONS: usize = 64;
const PROCESSORS: [usize; 3] = [1, 2, 4];
/// One event in so many is for warming up.
const WARM_UP: u64 = 10;

/// So many events for each number of processors.
pub async fn run((node, folder): (&Node, &Path), events: u64) -> Result<(), Failure> {
    let scene = Scene::new(&Choice::read(std::iter::empty())?, INTEGRATIONS)?;
    let config = node.config("scale.", PARTITIONS);
    let broker = node.connect(&config).await?;
    let keys = folder.join("keys");
    write(&broker, &keys, vec![scene.entities()]).await?;
    println!("{events} events, {PARTITIONS} partitions, {INTEGRATIONS} integrations");
    let mut first = None;
    for count in PROCESSORS {
        let mut processors = Vec::new();
        for at in 0..count {
            let data = folder.join(format!("processor-{count}-{at}"));
            processors.push(Process::start(
                &data,
                "processor",
                &node.settings(&config, &keys),
            )?);
        }
        own_all(&mut processors, PARTITIONS).await?;
        let mut decided = Decided::after_now(&broker).await?;
        scene.append(&broker, events / WARM_UP).await?;
        decided.rows(events / WARM_UP).await?;
        let spent = || -> Result<Duration, Failure> { processors.iter().map(Process::spent).sum() };
        processors.iter().try_for_each(Process::pause)?;
        scene.append(&broker, events).await?;
        let before = (spent()?, node.spent()?);
        processors.iter().try_for_each(Process::go_on)?;
        decided.rows(events).await?;
        let ours = micros_each(spent()?.saturating_sub(before.0), events);
        let brokers = micros_each(node.spent()?.saturating_sub(before.1), events);
        let alone = *first.get_or_insert(ours);
        println!(
            "{count} processors: {ours:.1} µs of CPU an event, {:+.0} % of one alone (aim: within 10 %); the broker's {brokers:.1} µs",
            (ours / alone - 1.0) * 100.0
        );
        for processor in processors {
            processor.terminate()?;
        }
    }
    broker.close().await?;
    Ok(())
}

/// Waits until the processes together own all partitions.
pub async fn own_all(processors: &mut [Process], partitions: u32) -> Result<(), Failure> {
    for processor in &mut *processors {
        processor.ready().await?;
    }
    let family = "tidegate_broker_kafka_rebalanced_partitions_total";
    let began = std::time::Instant::now();
    loop {
        let mut owned = 0.0;
        for processor in &*processors {
            for (change, sign) in [("gained", 1.0), ("lost", -1.0)] {
                let counted = processor
                    .metric(&format!("{family}{{change=\"{change}\"}}"))
                    .await;
                owned += sign * counted.unwrap_or_default();
            }
        }
        if owned >= f64::from(partitions) {
            return Ok(());
        }
        if began.elapsed() > tidegate_bench::kafka::PATIENCE {
            return Err(format!("{owned} of {partitions} partitions are owned").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
