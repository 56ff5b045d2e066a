//! An ingest of its own is killed with -9 while Kafka is away and requests lie in its spill. In: the house, and how long
//! Kafka is away. Out: nothing, when every sender had its 2xx before, meanwhile and afterwards, and each integration's
//! requests lie in `requests` in the order in which they were accepted; that none is lost the reckoning says.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tidegate_testkit::server::Server;

use super::{House, beside, order, passed};
use crate::{PATIENCE, free_port};

/// What each integration sends before Kafka goes, while it is away, again after the kill, and when it is back.
const REQUESTS: usize = 20;

impl House {
    pub(super) async fn suffer_with_a_spill(&mut self, away: Duration) {
        let listen = format!("127.0.0.1:{}", free_port());
        let launch = beside(&self.running.server, &self.folder, ("ingest", "ingest"));
        let mut ingest = launch.set("TIDEGATE__INGEST__LISTEN", &listen).start().await;
        knows_the_registry(&ingest).await;
        let mut accepted = vec![Vec::new(); self.running.urls.len()];
        self.send(&listen, &mut accepted).await;
        let stands_still = self.chance.below(2) == 0;
        for node in 0..self.kafka.nodes() {
            match stands_still {
                true => self.kafka.signal(node, Signal::STOP),
                false => self.kafka.kill(node),
            }
        }
        let began = Instant::now();
        self.send(&listen, &mut accepted).await;
        let told = readiness(&ingest).await;
        assert!(told["spill"].is_string(), "nothing lies in the spill: {told}");
        ingest = ingest.kill().start().await;
        self.send(&listen, &mut accepted).await;
        passed(away.saturating_sub(began.elapsed())).await;
        match stands_still {
            true => (0..self.kafka.nodes()).for_each(|node| self.kafka.signal(node, Signal::CONT)),
            false => self.kafka.start_all().await,
        }
        drained(&ingest).await;
        self.send(&listen, &mut accepted).await;
        let spilled = order::of_requests(&self.config, &accepted).await;
        assert!(
            spilled >= 2 * REQUESTS,
            "only {spilled} requests went through the spill"
        );
        let ended = ingest.terminate().await;
        assert!(ended.success(), "{ended}");
    }

    /// Each integration sends some requests, one after the other; all of them are accepted.
    async fn send(&self, address: &str, accepted: &mut [Vec<String>]) {
        let sending = self
            .running
            .urls
            .iter()
            .zip(accepted)
            .map(async |(url, accepted)| {
                let (_, path) = url.split_once("/webhook/").expect("a webhook's URL");
                let url = format!("http://{address}/webhook/{path}");
                for _ in 0..REQUESTS {
                    let id = self.running.load.send_to(&url).await;
                    accepted.push(id.expect("no provider sees a failure"));
                }
            });
        futures_util::future::join_all(sending).await;
    }
}

async fn readiness(server: &Server) -> Value {
    serde_json::from_str(&server.get("/readyz").await).unwrap()
}

/// Waits until a process could start without Kafka.
async fn knows_the_registry(server: &Server) {
    let copy = server.launch().data().join("registry.copy");
    crate::until("a copy of the registry is kept", || copy.exists()).await;
}

/// Waits until nothing lies in a process's spill.
async fn drained(server: &Server) {
    let began = Instant::now();
    loop {
        let told = readiness(server).await;
        if told.get("spill").is_none() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{told}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
