//! Crashes and outages, through the real binary: what was answered with a 2xx is decided once and delivered, whatever
//! is killed, stopped, full, slow or gone meanwhile. `load` sends, `receiver` takes, `reckoning` lays both beside
//! ClickHouse in a `ledger`; `kills`, `engine`, `full_disk`, `endpoints` and `cluster` hold the tests. One test runs at a
//! time: each has a server and an engine of its own, and the kills should hit a server under load, not a machine that
//! stands still.
//!
//! `TIDEGATE_CHAOS_KILLS` sets how often the server is killed, `TIDEGATE_CHAOS_ROUNDS` how often the engine's outages,
//! the full disk and the faults of a cluster come, `TIDEGATE_CHAOS_FAULTS` which of a cluster's (`Node,Rebalance`),
//! `TIDEGATE_CHAOS_AWAY_S` how long all of Kafka is away each time, `TIDEGATE_CHAOS_SEED` repeats a run's choices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chance;
mod cluster;
mod endpoints;
mod engine;
mod full_disk;
mod kills;
mod ledger;
mod load;
mod receiver;
mod reckoning;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_testkit::clickhouse::library;
use tidegate_testkit::server::{Launch, Server};

use chance::Chance;
use load::Load;
use receiver::Receiver;

const MANIFEST: &str = include_str!("manifest.yaml");
/// How long anything may take that a test waits for; generous, for machines that do much else.
const PATIENCE: Duration = Duration::from_secs(180);
/// Tries of a delivery: so many and so soon that none is given up, however often it is cut off.
const SCHEDULE_MS: [u32; 100] = [1000; 100];

static ALONE: Mutex<()> = Mutex::new(());

/// What every test begins with.
struct Running {
    server: Server,
    receiver: Receiver,
    load: Load,
    /// Every integration's URL.
    urls: Vec<String>,
}

impl Running {
    /// The load and the deliveries go on, whatever is down.
    async fn goes_on(&self) {
        let (accepted, delivered) = (self.load.accepted(), self.receiver.count("taking"));
        until("requests are accepted", || self.load.accepted() > accepted + 50).await;
        until("events are delivered", || {
            self.receiver.count("taking") > delivered + 50
        })
        .await;
    }
}

/// Runs one test, alone.
fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

/// Starts a receiver, a server on `folder/data` with a manifest applied, and the load. Settings are named as in the
/// environment, without `TIDEGATE__`.
async fn begin(folder: &Path, settings: &[(&str, &str)], manifest: &str) -> Running {
    let receiver = Receiver::start().await;
    let server = launch(folder, settings).start().await;
    let applied = server.apply(manifest, &variables(&receiver)).await;
    let urls: Vec<_> = applied.into_values().collect();
    let load = Load::start(urls.clone(), &receiver);
    Running {
        server,
        receiver,
        load,
        urls,
    }
}

fn launch(folder: &Path, settings: &[(&str, &str)]) -> Launch {
    let program = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let launch = Launch::new(program, &folder.join("data"))
        .set("TIDEGATE_LIBCHDB", library().to_str().unwrap())
        .set("TIDEGATE__INGEST__LISTEN", &format!("127.0.0.1:{}", free_port()))
        .set("TIDEGATE__FORWARD__SCHEDULE_MS", &format!("{SCHEDULE_MS:?}"));
    settings.iter().fold(launch, |launch, (key, value)| {
        launch.set(&format!("TIDEGATE__{key}"), value)
    })
}

/// The variables of the manifests; nobody listens at one of the addresses.
fn variables(receiver: &Receiver) -> BTreeMap<String, String> {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let variables = [
        ("CHAOS_SECRET", load::SECRET.to_owned()),
        ("CHAOS_RECEIVER", receiver.url()),
        ("CHAOS_NOBODY", format!("http://{nobody}")),
        ("CHAOS_ENDPOINT_SECRET", receiver.secret()),
    ];
    let variables = variables.into_iter();
    variables.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A port for the server's next lives too: no outgoing connection takes it while the server is down.
fn free_port() -> u16 {
    let mut chance = Chance::new();
    (0..1000)
        .map(|_| 20_000 + u16::try_from(chance.below(12_000)).expect("below 12,000"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of a thousand ports is free")
}

/// A count that the environment may set.
fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |count| {
        count
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {count}"))
    })
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
