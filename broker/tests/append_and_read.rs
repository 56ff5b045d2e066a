//! What was appended is read back: at the tail, from the disk, by pointer, after a clean stop and after none.
//! Uses the operating system's disk.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use support::{outcome, request, small_config};
use tidegate_broker::{AppendError, Broker, Error};
use tidegate_schemas::{Pointer, Topic};

#[tokio::test]
async fn what_was_appended_is_read_in_order_and_by_pointer() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3_u64 {
        let broker = Broker::open(&small_config(), directory.path()).await.unwrap();
        assert_eq!(broker.offsets(Topic::Requests, 1), 0..round * 200);
        for number in 0..200 {
            let text = format!("request {round}/{number}");
            let offsets = broker
                .append(vec![request(1, &text), outcome(&text)])
                .await
                .unwrap();
            assert_eq!(offsets, [round * 200 + number, round * 200 + number]);
            expected.push(text);
        }
        check_all(&broker, &expected).await;
        match round {
            0 => broker.close().await.unwrap(),
            _ => drop(broker),
        }
    }
    let broker = Broker::open(&small_config(), directory.path()).await.unwrap();
    check_all(&broker, &expected).await;
}

async fn check_all(broker: &Broker, expected: &[String]) {
    for (topic, partition) in [(Topic::Requests, 1), (Topic::Outcomes, 0)] {
        let mut reader = broker.reader(topic, partition, 0);
        let mut texts = Vec::new();
        while texts.len() < expected.len() {
            for message in reader.next(7, 10_000).await.unwrap() {
                assert_eq!(message.offset, texts.len() as u64);
                texts.push(String::from_utf8(message.value.to_vec()).unwrap());
            }
        }
        assert_eq!(texts, expected);
        let pointers: Vec<Pointer> = [5, 0, expected.len() as u64 - 1, 1_000_000]
            .map(|offset| Pointer { partition, offset })
            .into();
        let found = broker.read(topic, &pointers).await.unwrap();
        let found: Vec<Option<&[u8]>> = found
            .iter()
            .map(|found| found.as_ref().map(|found| &found.value[..]))
            .collect();
        let text = |at: usize| Some(expected[at].as_bytes());
        assert_eq!(found, [text(5), text(0), text(expected.len() - 1), None]);
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::open(&small_config(), directory.path()).await.unwrap();
    // A lock belongs to the open file, so the same process is refused like another.
    let refused = Broker::open(&small_config(), directory.path()).await.unwrap_err();
    let Error::Locked { path, holder } = refused else {
        panic!("{refused}")
    };
    assert_eq!(
        (path.as_path(), holder),
        (directory.path() as &Path, std::process::id().to_string())
    );
    broker.close().await.unwrap();
    Broker::open(&small_config(), directory.path()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::open(&small_config(), directory.path()).await.unwrap();
    let large = "x".repeat(small_config().rows_message_bytes_max);
    let refused = broker
        .append(vec![request(0, "fits"), outcome(&large)])
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            AppendError::TooLarge {
                topic: "outcomes",
                ..
            }
        ),
        "{refused}"
    );
    let refused = broker
        .append(vec![request(0, "fits"), request(99, "nowhere")])
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            AppendError::NoPartition {
                partition: 99,
                partitions: 2,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(broker.offsets(Topic::Requests, 0), 0..0);
    let other = broker.clone();
    broker.close().await.unwrap();
    assert_eq!(
        other.append(vec![request(0, "late")]).await,
        Err(AppendError::Closed)
    );
}
