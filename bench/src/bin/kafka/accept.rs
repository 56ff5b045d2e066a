//! Accepting a signed webhook until Kafka has it (`acks=all`), beside the server that does nothing: both under `wrk`, in
//! turns. Ours is this process's CPU, the broker's is the node's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate_bench::idle::Idle;
use tidegate_bench::kafka::Node;
use tidegate_bench::webhook::Choice;
use tidegate_bench::{Failure, cpu, load, micros_each};
use tidegate_ingest::{Context, Ingest};
use tidegate_providers::{Catalogue, Sample};
use tidegate_registry::Registry;

use crate::scene::Scene;

const CONNECTIONS: usize = 256;
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);

/// Rounds of so many seconds each.
pub async fn run((node, folder): (&Node, &Path), seconds: u64) -> Result<(), Failure> {
    let choice = Choice::read(std::iter::empty())?;
    let scene = Scene::new(&choice, 1)?;
    let broker = node.connect(&node.config("accept.", 32)).await?;
    let ingest = Ingest::start(Context {
        config: tidegate_ingest::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..tidegate_ingest::Config::default()
        },
        public_url: String::new(),
        broker: broker.clone(),
        registry: Registry::of(scene.entities())?,
        catalogue: Arc::new(Catalogue::builtin()?),
        store_secret: Arc::new(|_, _, _| Box::pin(async { false })),
        egress: tidegate_egress::Client::new(&tidegate_egress::Config::default())?,
    })?;
    let idle = Idle::start()?;
    let durable = choice.signed(&format!("http://{}{}", ingest.address(), scene.path(0)))?;
    let nothing = Sample {
        url: format!("http://{}/", idle.address),
        ..durable.clone()
    };
    println!(
        "a signed body of {} bytes, {CONNECTIONS} connections, acks=all on one node",
        durable.body.len()
    );
    measured(node, (&nothing, folder), WARM_UP).await?;
    measured(node, (&durable, folder), WARM_UP).await?;
    println!(
        "{:>11} {:>13} {:>13} {:>16} {:>11}",
        "no-op", "accepted", "the broker's", "rate", "CPU ratio"
    );
    for _ in 0..ROUNDS {
        let round = Duration::from_secs(seconds);
        let floor = measured(node, (&nothing, folder), round).await?;
        let accepted = measured(node, (&durable, folder), round).await?;
        println!(
            "{:>8.2} µs {:>10.2} µs {:>10.2} µs {:>14.0}/s {:>11.2}",
            floor.ours,
            accepted.ours,
            accepted.broker,
            accepted.per_second,
            floor.ours / accepted.ours
        );
    }
    ingest.drain().await;
    broker.close().await?;
    Ok(())
}

/// CPU-µs a request.
struct Cost {
    ours: f64,
    broker: f64,
    per_second: f64,
}

async fn measured(node: &Node, (sample, folder): (&Sample, &Path), time: Duration) -> Result<Cost, Failure> {
    let (sample, folder) = (sample.clone(), folder.to_owned());
    let before = (cpu::own(), node.spent()?);
    let load =
        tokio::task::spawn_blocking(move || load::wrk(&sample, &folder, (CONNECTIONS, time))).await??;
    let each = |spent: Duration| micros_each(spent, load.requests);
    Ok(Cost {
        ours: each(cpu::own().saturating_sub(before.0)),
        broker: each(node.spent()?.saturating_sub(before.1)),
        per_second: load.per_second,
    })
}
