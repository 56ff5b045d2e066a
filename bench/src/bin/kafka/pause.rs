//! How long events wait at a hand-over: two processors under a steady load, of which one is told to end (SIGTERM), and
//! starts again. The pause is the longest time from receiving a request to deciding it.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_bench::Failure;
use tidegate_bench::kafka::{Node, Process};
use tidegate_bench::webhook::Choice;

use crate::rebuild::write;
use crate::scale::own_all;
use crate::scene::{Decided, Scene};

const PARTITIONS: u32 = 8;
const INTEGRATIONS: usize = 64;
const PER_SECOND: u64 = 500;
/// How often requests are appended.
const EVERY: Duration = Duration::from_millis(50);

/// So many events in all.
pub async fn run((node, folder): (&Node, &Path), events: u64) -> Result<(), Failure> {
    let scene = Scene::new(&Choice::read(std::iter::empty())?, INTEGRATIONS)?;
    let mut config = node.config("pause.", PARTITIONS);
    let broker = node.connect(&config).await?;
    let keys = folder.join("keys");
    write(&broker, &keys, vec![scene.entities()]).await?;
    config.session_timeout_ms = 15_000;
    let start = |name: &str| Process::start(&folder.join(name), "processor", &node.settings(&config, &keys));
    let mut processors = vec![start("one")?, start("two")?];
    own_all(&mut processors, PARTITIONS).await?;
    let quarter = events / 4;
    let mut decided = Decided::after_now(&broker).await?;
    steadily(&scene, &broker, quarter).await?;
    println!(
        "steady: {} ms at the longest",
        decided.longest_wait(quarter).await?
    );
    let one = processors.swap_remove(0);
    let ended = tokio::task::spawn_blocking(move || one.terminate());
    steadily(&scene, &broker, quarter).await?;
    ended.await??;
    let pause = decided.longest_wait(quarter).await?;
    println!("one of two ends: {pause} ms at the longest (goal 5000)");
    processors.push(start("one")?);
    steadily(&scene, &broker, quarter).await?;
    let pause = decided.longest_wait(quarter).await?;
    println!("it starts again: {pause} ms at the longest (goal 5000)");
    processors.push(start("three")?);
    steadily(&scene, &broker, quarter).await?;
    let pause = decided.longest_wait(quarter).await?;
    println!("a third one joins: {pause} ms at the longest (goal 5000)");
    for processor in processors {
        processor.terminate()?;
    }
    broker.close().await?;
    Ok(())
}

async fn steadily(scene: &Scene, broker: &tidegate_broker::Broker, events: u64) -> Result<(), Failure> {
    let (began, mut appended) = (Instant::now(), 0);
    while appended < events {
        let due = began.elapsed().as_millis() as u64 * PER_SECOND / 1000;
        let now = due.min(events).saturating_sub(appended);
        scene.append(broker, now).await?;
        appended += now;
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}
