//! What Kafka's client offers and nobody here may use, because it loses wake-ups, sleeps, or commits on its own; and who
//! may name the client at all. `broker/src/kafka/mod.rs` says for each what is done instead.

use crate::names::words;
use crate::{check, rust_files};

/// The only folder that names the client.
const FOLDER: &str = "broker/src/kafka/";
/// Identifiers of the client, and why they stay away.
const AVOIDED: &[(&str, &str)] = &[
    ("FutureProducer", "sleeps 100 ms whenever its queue is full"),
    ("FutureRecord", "belongs to a producer that sleeps"),
    ("StreamConsumer", "has lost wake-ups"),
    ("split_partition_queue", "has lost wake-ups"),
    ("MockCluster", "keeps 5 MB a partition: tests have a real node"),
    ("store_offset", "offsets are in journals"),
    ("commit_consumer_state", "offsets are in journals"),
];

#[test]
fn of_kafkas_client_only_what_can_be_relied_on_is_used_and_in_one_folder() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files() {
        for (line, word) in words(&text) {
            if word == "rdkafka"
                && !path.starts_with(FOLDER)
                && path != "broker/src/metrics.rs"
                && !is_here(&path)
            {
                complaints.push(format!("{path}:{line}: names Kafka's client outside {FOLDER}"));
            }
            let avoided = AVOIDED.iter().find(|(avoided, _)| *avoided == word);
            if let Some((_, why)) = avoided.filter(|_| !is_here(&path)) {
                complaints.push(format!("{path}:{line}: `{word}` {why}"));
            }
        }
    }
    check(&complaints);
}

fn is_here(path: &str) -> bool {
    path.starts_with("tidegate/tests/tidy/")
}
