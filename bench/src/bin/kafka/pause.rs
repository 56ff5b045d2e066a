//! How long events wait at a hand-over: processors that hold many objects, under a steady load, of which one starts again,
//! one joins, one is killed and one ends for good. In: how many objects. Out: for each hand-over the longest time from
//! receiving a request to deciding it. Who goes without a word keeps its partitions until its session is over: that time
//! is said apart, for `session_timeout_ms` sets it.

use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_bench::Failure;
use tidegate_bench::kafka::{Node, Process};
use tidegate_bench::webhook::Choice;

use crate::objects::{held, hold};
use crate::rebuild::write;
use crate::scale::own_all;
use crate::scene::{Decided, Scene};

const PARTITIONS: u32 = 8;
const INTEGRATIONS: usize = 64;
const PER_SECOND: u64 = 500;
/// Events during each hand-over.
const EVENTS: u64 = 5_000;
/// How often requests are appended.
const EVERY: Duration = Duration::from_millis(50);

/// With so many objects.
pub async fn run((node, folder): (&Node, &Path), objects: u64) -> Result<(), Failure> {
    let scene = Scene::new(&Choice::read(std::iter::empty())?, INTEGRATIONS)?;
    let config = node.config("pause.", PARTITIONS);
    let broker = node.connect(&config).await?;
    let keys = folder.join("keys");
    write(&broker, &keys, vec![scene.entities()]).await?;
    hold(&broker, objects).await?;
    let start = |name: &str| Process::start(&folder.join(name), "processor", &node.settings(&config, &keys));
    let mut processors = vec![start("one")?, start("two")?];
    own_all(&mut processors, PARTITIONS).await?;
    held(&processors, objects).await?;
    let mut load = Load {
        decided: Decided::after_now(&broker).await?,
        broker,
        scene,
    };

    let pause = load.longest_wait(async { Ok(()) }).await?.0;
    println!("steady: {pause} ms at the longest");
    let one = processors.remove(0);
    let restarted = async {
        tokio::task::spawn_blocking(move || one.terminate()).await??;
        start("one")
    };
    let (pause, one) = load.longest_wait(restarted).await?;
    println!("one of two ends and starts again: {pause} ms at the longest (goal 5000)");
    let (pause, three) = load.longest_wait(async { start("three") }).await?;
    println!("a third one joins: {pause} ms at the longest (goal 5000)");
    let killed = async {
        drop(one);
        start("one")
    };
    let (pause, one) = load.longest_wait(killed).await?;
    println!("one is killed with -9 and starts again: {pause} ms at the longest (goal 5000)");
    let session_ms = config.session_timeout_ms;
    let beside = |pause: u64| {
        format!(
            "{session_ms} ms of its session and {} ms",
            pause.saturating_sub(session_ms)
        )
    };
    let killed = async {
        drop(one);
        Ok(())
    };
    let (pause, ()) = load.longest_wait(killed).await?;
    println!(
        "one is killed with -9 for good: {} at the longest (goal 5000)",
        beside(pause)
    );
    let ended = async { tokio::task::spawn_blocking(move || three.terminate()).await? };
    let (pause, ()) = load.longest_wait(ended).await?;
    println!("one ends for good: {} at the longest (goal 5000)", beside(pause));
    for processor in processors {
        processor.terminate()?;
    }
    load.broker.close().await?;
    Ok(())
}

/// Requests at a steady rate, and when they are decided.
struct Load {
    broker: tidegate_broker::Broker,
    scene: Scene,
    decided: Decided,
}

impl Load {
    /// Appends requests while something happens; the longest that one of them waited, in milliseconds, and what came of it.
    async fn longest_wait<T>(
        &mut self,
        happens: impl Future<Output = Result<T, Failure>>,
    ) -> Result<(u64, T), Failure> {
        let (appended, happened) = tokio::join!(self.append(), happens);
        appended?;
        Ok((self.decided.longest_wait(EVENTS).await?, happened?))
    }

    async fn append(&self) -> Result<(), Failure> {
        let (began, mut appended) = (Instant::now(), 0);
        while appended < EVENTS {
            let due = began.elapsed().as_millis() as u64 * PER_SECOND / 1000;
            let now = due.min(EVENTS).saturating_sub(appended);
            self.scene.append(&self.broker, now).await?;
            appended += now;
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }
}
