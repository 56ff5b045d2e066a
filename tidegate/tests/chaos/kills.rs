//! The whole server is killed with -9 at random moments under load, over and over on the same folder: every request
//! that was answered with a 2xx is decided once and delivered, and what is delivered again stays within the bound that
//! is promised: deliveries in flight and one batch per partition, for each kill. The manifest is applied once, before
//! the first kill; what it configured is there after the last.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::server::Server;

use crate::chance::Chance;
use crate::load::Load;
use crate::receiver::Receiver;
use crate::reckoning::reckon;
use crate::{Running, alone, begin, count, until};

/// Attempts under way at once.
const IN_FLIGHT: u64 = 16;
/// Ended attempts that are committed at once, by each partition.
const BATCH: u64 = 32;
/// Partitions of `events`.
const PARTITIONS: u64 = 4;
/// One kill in so many comes in the middle of a start.
const STARTS_CUT: u64 = 5;
/// Kills between two lines of progress.
const TELL_EVERY: u64 = 10;

#[test]
fn what_was_answered_with_2xx_survives_kill_9_of_the_server() {
    alone(async {
        let kills = count("TIDEGATE_CHAOS_KILLS", 10);
        let mut chance = Chance::new();
        let folder = tempfile::tempdir().unwrap();
        let Running {
            mut server,
            receiver,
            load,
            urls,
        } = begin(folder.path(), &settings(), crate::MANIFEST).await;
        for kill in 1..=kills {
            wait_for_a_moment(&load, (&receiver, &mut chance)).await;
            server = server.kill().spawn();
            if kill % TELL_EVERY == 0 {
                println!("{kill} of {kills} kills, {} requests accepted", load.accepted());
            }
        }
        server.ready().await;
        let urls: BTreeSet<_> = urls.into_iter().collect();
        assert_eq!(registered(&server).await, urls, "the registry after the kills");
        let before = load.accepted();
        until("requests are accepted after the last kill", || {
            load.accepted() > before
        })
        .await;
        let account = reckon(&server, load, &receiver).await;
        assert!(
            account.accepted as u64 > kills,
            "the server hardly ever came to accept"
        );
        let bound = kills * (IN_FLIGHT + BATCH * PARTITIONS);
        println!("counted: {account} ({bound} are promised at most)");
        assert!(
            account.repeats <= bound,
            "{} repeats, {bound} are promised at most",
            account.repeats
        );
    });
}

fn settings() -> [(&'static str, &'static str); 7] {
    // As the constants above; and a try that a kill cut off is made again soon.
    [
        ("FORWARD__IN_FLIGHT_MAX", "16"),
        ("FORWARD__ENDPOINT_IN_FLIGHT_MAX", "16"),
        ("FORWARD__COMMIT_ATTEMPTS_MAX", "32"),
        ("FORWARD__TIMEOUT_MS", "2000"),
        ("BROKER__EMBEDDED__PARTITIONS__REQUESTS", "4"),
        ("BROKER__EMBEDDED__PARTITIONS__EVENTS", "4"),
        ("BROKER__EMBEDDED__SEGMENT_BYTES", "33554432"),
    ]
}

/// Waits until the server has accepted a random number of requests and delivered one at least, or, one time in five,
/// only so long that it is in the middle of its start.
async fn wait_for_a_moment(load: &Load, (receiver, chance): (&Receiver, &mut Chance)) {
    if chance.below(STARTS_CUT) == 0 {
        return tokio::time::sleep(Duration::from_millis(chance.below(1_500))).await;
    }
    let (accepted, delivered) = (load.accepted(), receiver.count("taking"));
    let wanted = 1 + usize::try_from(chance.below(300)).expect("below 300");
    until("the server accepts requests", || {
        load.accepted() >= accepted + wanted
    })
    .await;
    until("the server delivers events", || {
        receiver.count("taking") > delivered
    })
    .await;
}

/// Every integration's URL as the server knows it.
async fn registered(server: &Server) -> BTreeSet<String> {
    let status: Value = serde_json::from_str(&server.get("/api/v1/status").await).unwrap();
    let integrations = status["integrations"].as_array().unwrap().iter();
    integrations
        .map(|integration| integration["url"].as_str().unwrap().to_owned())
        .collect()
}
