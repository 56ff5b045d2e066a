//! How far readers are behind, as a metric says it, in figures that are known: also while nobody of them runs. In: a
//! processor that ends, and webhooks that wait for it. Out: their number, and none once it is back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidegate_providers::Catalogue;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{PATIENCE, Server};

use crate::apart::{Rounds, apply, beside, count};
use crate::kafka::on_kafka;
use crate::launch;
use crate::serving::simple;

/// Waits until the lines of a metric that begin so add up to a number.
async fn says(server: &Server, (metric, wanted): (&str, f64)) {
    let began = Instant::now();
    loop {
        let metrics = server.get("/metrics").await;
        let is_there = metrics.lines().any(|line| line.starts_with(metric));
        let found = count(&metrics, metric);
        if is_there && (found - wanted).abs() < 0.5 {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{metric} is {found}, not {wanted}\n{}",
            server.printed()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_requests_as_wait_for_a_processor_stand_in_the_metrics() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, _) = on_kafka(launch(folders[0].path()), "lag").await;
    let launch = launch
        .set("TIDEGATE_ROLES", "api,ingest")
        .set("TIDEGATE__CLICKHOUSE__URL", "http://127.0.0.1:9");
    let receiver = Receiver::start().await;
    let recorded = simple(&Catalogue::builtin().expect("the definitions compile"));
    let server = launch.start().await;
    let names = ["one", "two", "three"].map(str::to_owned);
    let paths = apply(&server, &receiver, (&recorded, &names)).await;
    let rounds = Rounds::to(server.ingest().await, paths);
    let mut sent = BTreeSet::new();
    let processor = beside(&launch, folders[1].path(), "processor").start().await;
    rounds.send(&mut sent).await;
    says(&processor, ("tidegate_processor_requests_total", 3.0)).await;
    let unread = r#"tidegate_broker_kafka_unread_messages{group="processor"}"#;
    says(&server, (unread, 0.0)).await;
    let away = processor.launch().clone();
    assert!(processor.terminate().await.success(), "it ends in order");
    for _ in 0..9 {
        rounds.send(&mut sent).await;
    }
    says(&server, (unread, 27.0)).await;
    let processor = away.start().await;
    says(&processor, ("tidegate_processor_requests_total", 27.0)).await;
    says(&processor, ("tidegate_processor_lag_messages{", 0.0)).await;
    says(&server, (unread, 0.0)).await;
}
