//! A rolling restart of roles apart, under load: nothing is lost, and a process that is back within its session has moved
//! no partition. In: four processes, ended and started again one after the other. Out: every accepted request decided
//! once and delivered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_providers::Catalogue;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{PATIENCE, Server};
use tokio::task::JoinHandle;

use crate::apart::{Rounds, apply, beside, count, decided_once, delivered, gains};
use crate::launch;
use crate::serving::simple;
use crate::writers::with_engine;

/// How long a request that was not accepted waits for its next try, as a provider's would.
const AGAIN: Duration = Duration::from_millis(100);

/// Requests under way, until they are told to end.
struct Load {
    address: Arc<Mutex<String>>,
    ends: Arc<AtomicBool>,
    sending: JoinHandle<BTreeSet<String>>,
}

impl Load {
    /// Sends to these paths in turn; what is not accepted is sent again.
    fn start(address: String, paths: Vec<String>) -> Self {
        let rounds = Rounds::to(address.clone(), paths);
        let address = Arc::new(Mutex::new(address));
        let ends = Arc::new(AtomicBool::new(false));
        let (to, ended) = (address.clone(), ends.clone());
        let sending = tokio::spawn(async move {
            let mut accepted = BTreeSet::new();
            for path in rounds.paths.iter().cycle() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let base = to.lock().expect("nobody panics with it").clone();
                let sample = rounds.sample(&base, path);
                let Ok(answer) = tidegate::sample::send(&rounds.http, &sample).await else {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                let id = answer.headers().get("tidegate-request-id").cloned();
                match answer.status().as_u16() {
                    200 => {
                        let id = id.expect("every reply names its request");
                        accepted.insert(id.to_str().expect("a UUID").to_owned());
                    }
                    503 => tokio::time::sleep(AGAIN).await,
                    status => panic!("answered {status}"),
                }
            }
            accepted
        });
        Self {
            address,
            ends,
            sending,
        }
    }

    async fn end(self) -> BTreeSet<String> {
        self.ends.store(true, Ordering::Release);
        self.sending.await.expect("the load does not panic")
    }
}

/// How often partitions have moved to or from a server.
async fn moves(server: &Server) -> f64 {
    count(&server.get("/metrics").await, "rebalanced_partitions_total{")
}

/// Ends a server in order and starts it again on its folder.
async fn restarted(server: Server) -> Server {
    let launch = server.launch().clone();
    let status = server.terminate().await;
    assert!(status.success(), "SIGTERM ends with {status}");
    launch.start().await
}

/// Waits until a server has been given so many partitions since its start.
pub async fn has_again(server: &Server, partitions: f64) {
    let began = Instant::now();
    while count(
        &server.get("/metrics").await,
        r#"rebalanced_partitions_total{change="gained"}"#,
    ) < partitions
    {
        assert!(began.elapsed() < PATIENCE, "{}", server.printed());
        tokio::time::sleep(AGAIN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_moves_no_partition() {
    let folders = [(); 4].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, _engine) = with_engine(launch(folders[0].path()), "rolling").await;
    let launch = launch
        .set("TIDEGATE__BROKER__KAFKA__SESSION_TIMEOUT_MS", "60000")
        .set("TIDEGATE_ROLES", "api,audit");
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let mut api = launch.start().await;
    let ingest = beside(&launch, folders[1].path(), "ingest").start().await;
    let names: Vec<String> = (0..8).map(|number| format!("mine-{number}")).collect();
    let paths = apply(&api, &receiver, (&recorded, &names)).await;
    let worker = |folder: usize| beside(&launch, folders[folder].path(), "processor,forward");
    let mut one = worker(2).start().await;
    gains(&one, 0.0).await;
    let mut two = worker(3).start().await;
    // Four partitions of each topic, half of them for either.
    has_again(&two, 4.0).await;
    let load = Load::start(ingest.ingest().await, paths);
    let before = moves(&two).await;
    one = restarted(one).await;
    has_again(&one, 4.0).await;
    assert_eq!(
        moves(&two).await.to_bits(),
        before.to_bits(),
        "the first's restart has moved partitions"
    );
    let before = moves(&one).await;
    two = restarted(two).await;
    has_again(&two, 4.0).await;
    assert_eq!(
        moves(&one).await.to_bits(),
        before.to_bits(),
        "the second's restart has moved partitions"
    );
    let ingest = restarted(ingest).await;
    *load.address.lock().expect("nobody panics with it") = ingest.ingest().await;
    api = restarted(api).await;
    let accepted = load.end().await;
    assert!(accepted.len() > 50, "the load was no load: {}", accepted.len());
    let events = decided_once(&api, &accepted).await;
    delivered(&receiver, &events).await;
    for server in [one, two, ingest] {
        assert!(server.terminate().await.success(), "it ends in order");
    }
}
