//! The spill before a real Kafka that stands still: what is accepted meanwhile comes in the end, in order, also by way of
//! a process that starts while Kafka is still away. The same against a Kafka in memory, with crashes at any step, is
//! tested beside the code. Runs against a real node, which `make kafka` brings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::record;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::{Broker, kafka};
use tidegate_schemas::{Pointer, Topic};
use tidegate_testkit::kafka::{Kafka, unique_prefix};

const PATIENCE: Duration = Duration::from_secs(120);

fn config(bootstrap: String, folder: &Path) -> kafka::Config {
    let mut config = kafka::Config {
        bootstrap,
        prefix: unique_prefix("spill"),
        body_message_bytes_max: 64 * 1024,
        partitions: PartitionCounts {
            requests: 4,
            events: 4,
            ..PartitionCounts::default()
        },
        ..kafka::Config::default()
    };
    config.spill.dir = folder.join("spill");
    config.spill.bytes_max = 64 * 1024 * 1024;
    config
}

/// Appends numbered requests to one partition, one after the other.
#[derive(Default)]
struct Sender {
    sent: u64,
}

impl Sender {
    async fn append(&mut self, broker: &Broker, count: u64) {
        for _ in 0..count {
            let text = format!("{:04}", self.sent);
            let batch = vec![record(Topic::Requests, 1, &text)];
            let offsets = broker.append(batch).await.unwrap();
            let spills = broker.spill().unwrap().spills_for.is_some();
            assert_eq!(offsets.is_empty(), spills, "{text}");
            self.sent += 1;
        }
    }
}

/// What lies in a partition of `requests`: each text, and whether it is marked as spilled.
async fn requests(broker: &Broker, partition: u32) -> Vec<(String, bool)> {
    let end = broker.latest(Topic::Requests).await.unwrap()[partition as usize].end;
    let pointers: Vec<Pointer> = (0..end).map(|offset| Pointer { partition, offset }).collect();
    let found = broker.read(Topic::Requests, &pointers).await.unwrap();
    let seen = found.into_iter().flatten().map(|message| {
        let marked = String::from_utf8_lossy(&message.meta).contains(r#""spilled":true"#);
        (String::from_utf8(message.value.to_vec()).unwrap(), marked)
    });
    seen.collect()
}

/// Waits until requests go straight to Kafka.
async fn straight(broker: &Broker) {
    let began = Instant::now();
    while broker.spill().unwrap().spills_for.is_some() {
        assert!(began.elapsed() < PATIENCE, "{:?}", broker.spill());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_the_cluster_is_away_is_sent_on_in_order_even_by_the_next_process() {
    let (kafka, folder) = (Kafka::start(1).await, tempfile::tempdir().unwrap());
    let config = config(kafka.bootstrap(), folder.path());
    let lying = || kafka::spill_in(&config.spill.dir).unwrap().unwrap().requests;
    let (broker, mut sender) = (Broker::connect(&config).await.unwrap(), Sender::default());
    straight(&broker).await;
    sender.append(&broker, 20).await;
    kafka.signal(0, Signal::STOP);
    sender.append(&broker, 50).await;
    assert_eq!(broker.spill().unwrap().spilled.requests, 50);
    // The process ends, and the next one finds the cluster still away.
    broker.close().await.unwrap();
    assert_eq!(lying(), 50);
    let broker = Broker::connect(&config).await.unwrap();
    assert!(!broker.is_connected());
    sender.append(&broker, 50).await;
    kafka.signal(0, Signal::CONT);
    tokio::time::timeout(PATIENCE, broker.connected())
        .await
        .unwrap()
        .unwrap();
    straight(&broker).await;
    sender.append(&broker, 20).await;
    check(&requests(&broker, 1).await);
    // It falls silent again, and the client that gave up once goes on.
    kafka.signal(0, Signal::STOP);
    sender.append(&broker, 5).await;
    kafka.signal(0, Signal::CONT);
    straight(&broker).await;
    sender.append(&broker, 5).await;
    let last = requests(&broker, 1).await.pop().unwrap();
    assert_eq!(last, ("0149".to_owned(), false));
    broker.close().await.unwrap();
    assert_eq!(lying(), 0);
}

/// The first 140, of which 100 were spilled.
fn check(all: &[(String, bool)]) {
    let mut firsts: Vec<&String> = Vec::new();
    for (text, marked) in all {
        if !firsts.contains(&text) {
            firsts.push(text);
        }
        let number: u64 = text.parse().unwrap();
        assert!(!marked || (20..120).contains(&number), "{text} is marked");
    }
    let expected: Vec<String> = (0..140).map(|number| format!("{number:04}")).collect();
    assert!(firsts.iter().copied().eq(&expected), "{firsts:?}");
    let repeats = all.len() - firsts.len();
    assert!(
        repeats <= 1,
        "only the one that was not answered may come twice: {repeats}"
    );
}
