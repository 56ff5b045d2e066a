//! What accepting durably costs beside a server that does nothing: ingest itself (early check on) with the embedded log
//! on a disk, every append synced, and the no-op server built the same way, both under `wrk` at 256 kept connections, in
//! turns. CPU is this process's (both servers live here, one works at a time); `wrk` is a process of its own.
//!
//! Run: `cargo run --release -p tidegate-bench --bin accept -- [DIRECTORY [PROVIDER CASE]]`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_bench::idle::Idle;
use tidegate_bench::webhook::{Choice, SECRET};
use tidegate_bench::{Failure, cpu, load, micros_each};
use tidegate_broker::{Broker, embedded};
use tidegate_ingest::{Context, Ingest};
use tidegate_providers::{Catalogue, Sample};
use tidegate_registry::{Entity, Environment, Integration, Registry, StoredSecret};
use tidegate_schemas::{Secret, Topic, UnixMillis};

const CONNECTIONS: usize = 256;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);
/// Bytes of the newest messages in memory: few, so that the memory for them is had before anything is measured.
const TAIL_BYTES: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    tidegate_bench::purge_as_the_server()?;
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let choice = Choice::read(arguments)?;
    let folder = tempfile::tempdir_in(parent)?;
    let log = embedded::Config {
        disk_bytes_max: 64 << 30,
        retention_hours: 1,
        tail_bytes_max: TAIL_BYTES,
        ..embedded::Config::default()
    };
    let broker = Broker::open(&log, &folder.path().join("log")).await?;
    let (ingest, durable) = durable(broker.clone(), &choice)?;
    let idle = Idle::start()?;
    let nothing = Sample {
        url: format!("http://{}/", idle.address),
        ..durable.clone()
    };
    refuses_forgery(&ingest, &durable).await?;
    println!(
        "a signed body of {} bytes, {CONNECTIONS} connections",
        durable.body.len()
    );
    measured(&nothing, folder.path(), WARM_UP).await?;
    let filled = || broker.offsets(Topic::Requests, 0).end * durable.body.len() as u64;
    while filled() < TAIL_BYTES as u64 {
        measured(&durable, folder.path(), WARM_UP).await?;
    }
    let mut ratios = Vec::new();
    println!(
        "{:>22} {:>22} {:>12} {:>12}",
        "no-op", "accepted durably", "CPU ratio", "rate ratio"
    );
    for _ in 0..ROUNDS {
        let floor = measured(&nothing, folder.path(), ROUND).await?;
        let accepted = measured(&durable, folder.path(), ROUND).await?;
        let ratio = (floor.0 / accepted.0, accepted.1 / floor.1);
        println!(
            "{:>8.2} µs {:>8.0}/s {:>8.2} µs {:>8.0}/s {:>12.2} {:>12.2}",
            floor.0, floor.1, accepted.0, accepted.1, ratio.0, ratio.1
        );
        ratios.push(ratio);
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((cpu, rate)) = ratios.get(ROUNDS / 2) {
        println!("accept durable: {cpu:.2} of the no-op by CPU, {rate:.2} by rate (median round; aim 0.6)");
    }
    ingest.drain().await;
    broker.close().await?;
    Ok(())
}

/// CPU-µs a request, and requests a second.
async fn measured(sample: &Sample, folder: &Path, time: Duration) -> Result<(f64, f64), Failure> {
    let (sample, folder) = (sample.clone(), folder.to_owned());
    let before = cpu::own();
    let load =
        tokio::task::spawn_blocking(move || load::wrk(&sample, &folder, (CONNECTIONS, time))).await??;
    Ok((
        micros_each(cpu::own().saturating_sub(before), load.requests),
        load.per_second,
    ))
}

fn durable(broker: Broker, choice: &Choice) -> Result<(Ingest, Sample), Failure> {
    let now = UnixMillis::from(SystemTime::now());
    let environment = Environment::new("bench", now);
    let mut integration = Integration::new(environment.id, "bench", &choice.provider, now);
    integration.secrets = vec![StoredSecret::new(Secret::new(SECRET.as_bytes()))];
    integration.cfg.clone_from(&choice.case()?.cfg);
    let path = format!("/webhook/{}/bench", environment.id);
    let context = Context {
        config: tidegate_ingest::Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..tidegate_ingest::Config::default()
        },
        public_url: String::new(),
        broker,
        registry: Registry::of([Entity::Environment(environment), Entity::Integration(integration)])?,
        catalogue: Arc::new(Catalogue::builtin()?),
        store_secret: Arc::new(|_, _, _| Box::pin(async { false })),
        egress: tidegate_egress::Client::new(&tidegate_egress::Config::default())?,
    };
    let ingest = Ingest::start(context)?;
    let sample = choice.signed(&format!("http://{}{path}", ingest.address()))?;
    Ok((ingest, sample))
}

/// The early check is on: else the figure would be of something cheaper.
async fn refuses_forgery(ingest: &Ingest, genuine: &Sample) -> Result<(), Failure> {
    let mut forged = genuine.clone();
    let last = forged.body.last_mut().ok_or("the body is empty")?;
    *last ^= 1;
    let address = ingest.address().to_string();
    let sent = load::send(&address, load::encode(&forged, &address), (1, 1, 0)).await;
    match sent {
        Err(refused) if refused.to_string().contains(" 401 ") => Ok(()),
        Err(other) => Err(format!("a forged request was not answered 401: {other}").into()),
        Ok(()) => Err("a forged request was accepted: the early check is off".into()),
    }
}
