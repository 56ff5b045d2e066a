//! A broker that is slow, or away, costs no row: what is there and does not come is waited for.

use tidegate_broker::kafka;
use tidegate_testkit::kafka::{Kafka, unique_prefix};
use tidegate_testkit::server::Signal;

use super::super::intake::{Readers, Room, repeat};
use super::*;

const ROWS: u32 = 10;

async fn fill(broker: &Broker) {
    let rows = (0..ROWS).map(|number| Record {
        topic: Topic::Attempts,
        partition: 0,
        key: Bytes::new(),
        meta: RowsMeta {
            v: 1,
            rows: 1,
            commit: 1,
        }
        .encode()
        .into(),
        value: number.to_string().into(),
    });
    broker.append(rows.collect()).await.expect("the broker takes it");
}

fn up_to(to: u64) -> OffsetRange {
    OffsetRange {
        partition: 0,
        from: 0,
        to,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standing_kafka_does_not_hand_out_is_read_when_it_goes_on() {
    let node = Kafka::start(1).await;
    let mut config = kafka::Config {
        bootstrap: node.bootstrap(),
        prefix: unique_prefix("stalled"),
        question_timeout_ms: 60_000,
        ..kafka::Config::default()
    };
    fill(&Broker::connect(&config).await.expect("it answers")).await;
    // The topics have their leaders: whoever reads may give up sooner.
    config.question_timeout_ms = 20_000;
    let broker = Broker::connect(&config).await.expect("it answers again");
    let mut readers = Readers::new(broker, Topic::Attempts);
    let range = up_to(ROWS.into());
    node.signal(0, Signal::STOP);
    let error = readers.read(range, None).await.expect_err("it stands still");
    assert!(error.is_retryable(), "{error}");
    node.signal(0, Signal::CONT);
    let began = std::time::Instant::now();
    let messages = loop {
        match repeat(&mut readers, &[range]).await {
            Ok(messages) => break messages,
            Err(error) => assert!(error.is_retryable() && began.elapsed() < PATIENCE, "{error}"),
        }
    };
    assert_eq!(messages.len(), ROWS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_gone_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::open(&log_config(), folder.path())
        .await
        .expect("an empty log opens");
    fill(&broker).await;
    let there = u64::from(ROWS);
    let mut readers = Readers::new(broker.clone(), Topic::Attempts);
    let room = Room {
        rows: 100,
        bytes: 1 << 20,
    };
    let part = readers
        .read(up_to(there + 1), Some(room))
        .await
        .expect("some come");
    assert_eq!(
        (part.messages.len() as u64, part.to, part.gone),
        (there, there, 0)
    );
    for room in [None, Some(room)] {
        let missing = OffsetRange {
            from: there,
            ..up_to(there + 1)
        };
        let stalled = readers.read(missing, room).await;
        assert!(
            matches!(stalled, Err(Error::Stalled { next, .. }) if next == there),
            "{stalled:?}"
        );
    }
    broker
        .trim(Topic::Attempts, 0, there)
        .await
        .expect("the log takes it");
    let part = readers.read(up_to(there), None).await.expect("nothing is there");
    assert_eq!((part.messages.len(), part.to, part.gone), (0, there, there));
}
