//! Several processes write the rows: two share the partitions, one stands still past its session and wakes up, the other
//! is killed and comes back, under load. In: an engine that all share. Out: views and rollups that count right.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;
use tidegate_providers::Catalogue;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Server;

use crate::apart::{Rounds, apply, beside, decided_once, delivered};
use crate::launch;
use crate::rolling::has_again;
use crate::serving::simple;
use crate::writers::with_engine;

/// Asks until one number is as expected.
pub async fn counts(server: &Server, (sql, expected): (&str, usize)) {
    let number = |rows: &[Value]| rows.first().map(|row| row["n"].to_string().replace('"', ""));
    let wanted = Some(expected.to_string());
    let rows = server.query_until(sql, |rows| number(rows) == wanted).await;
    assert_eq!(number(&rows), wanted, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_audits_of_which_one_stands_still_and_one_is_killed_count_right() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, _engine) = with_engine(launch(folders[0].path()), "audits").await;
    let launch = launch
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__OUTCOMES", "4")
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__ATTEMPTS", "4")
        .set("TIDEGATE__CLICKHOUSE__ROLLUP_WAIT_S", "2")
        .set("TIDEGATE__CLICKHOUSE__ROLLUP_INTERVAL_S", "1")
        .set("TIDEGATE_ROLES", "api,ingest,processor,forward");
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let server = launch.start().await;
    let stopped = beside(&launch, folders[1].path(), "audit").start().await;
    // Four partitions of three topics, all of them, and then half.
    has_again(&stopped, 12.0).await;
    let mut killed = beside(&launch, folders[2].path(), "audit").start().await;
    has_again(&killed, 6.0).await;
    let names: Vec<String> = (0..6).map(|number| format!("mine-{number}")).collect();
    let paths = apply(&server, &receiver, (&recorded, &names)).await;
    let rounds = Rounds::to(server.ingest().await, paths);
    let mut sent = BTreeSet::new();
    for round in 0..60 {
        match round {
            10 => stopped.signal(Signal::STOP),
            25 => has_again(&killed, 12.0).await,
            30 => killed = killed.kill().start().await,
            45 => {
                stopped.signal(Signal::CONT);
                // It was given up, and takes part again.
                has_again(&stopped, 18.0).await;
            }
            _ => {}
        }
        rounds.send(&mut sent).await;
    }
    let events = decided_once(&server, &sent).await;
    delivered(&receiver, &events).await;
    for sql in [
        "SELECT count() AS n FROM requests",
        "SELECT count() AS n FROM events",
        "SELECT count() AS n FROM attempts WHERE status = 'delivered'",
        "SELECT sum(requests) AS n FROM requests_per_minute",
        "SELECT sum(events) AS n FROM events_per_minute",
        "SELECT sum(deliveries) AS n FROM events_per_minute",
        "SELECT sum(attempts) AS n FROM attempts_per_minute",
    ] {
        counts(&server, (sql, sent.len())).await;
    }
    assert!(killed.terminate().await.success(), "it ends in order");
}
