//! What only Kafka does: topics checked at start, partitions shared out among processes, silence of the cluster, and
//! topics that anyone can read with standard tools. Runs against real nodes, which `make kafka` brings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use support::record;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::journal::{Changes, Commit, Journal, JournalError};
use tidegate_broker::{AppendError, Assignment, Assignments, Broker, Error, kafka};
use tidegate_schemas::{Pointer, Topic};
use tidegate_testkit::kafka::{Kafka, shared, unique_prefix};

const PATIENCE: Duration = Duration::from_secs(120);

fn config(bootstrap: String, test: &str) -> kafka::Config {
    kafka::Config {
        bootstrap,
        prefix: unique_prefix(test),
        partitions: PartitionCounts {
            requests: 4,
            events: 4,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        session_timeout_ms: 3_000,
        question_timeout_ms: 60_000,
        append_timeout_ms: 60_000,
        request_timeout_ms: 60_000,
        ..kafka::Config::default()
    }
}

#[tokio::test]
async fn a_topic_that_breaks_a_promise_is_refused_by_name_setting_found_and_needed() {
    let good = config(shared().await.bootstrap(), "settings");
    Broker::connect(&good).await.unwrap();
    let check = async |change: fn(&mut kafka::Config), setting: &str, topic: &str| {
        let mut wanted = good.clone();
        change(&mut wanted);
        let error = Broker::connect(&wanted).await.unwrap_err();
        let text = error.to_string();
        let is_meant = matches!(&error, Error::Topic { setting: found, .. } if *found == setting);
        assert!(is_meant && text.contains(topic), "{text}");
    };
    check(|it| it.partitions.requests = 5, "partitions", "requests").await;
    check(|it| it.partitions.events = 3, "partitions", "events").await;
    check(|it| it.replication = 2, "replication", "requests").await;
    check(
        |it| it.body_message_bytes_max *= 2,
        "max.message.bytes",
        "requests",
    )
    .await;
    check(
        |it| it.rows_message_bytes_max *= 2,
        "max.message.bytes",
        "outcomes",
    )
    .await;
    check(|it| it.retention_hours += 1, "retention.ms", "requests").await;
    check(|it| it.dead_retention_hours += 1, "retention.ms", "dead").await;
    let mut missing = good.clone();
    missing.prefix = unique_prefix("missing");
    missing.create_topics = false;
    let error = Broker::connect(&missing).await.unwrap_err();
    assert!(error.to_string().contains("create_topics"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_named() {
    let mut nobody = config("127.0.0.1:1".to_owned(), "nobody");
    nobody.question_timeout_ms = 500;
    let error = Broker::connect(&nobody).await.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("127.0.0.1:1"),
        "{error}"
    );
}

/// Takes changes in until the partitions are as wanted, releasing what is lost at once.
async fn owns(
    assignments: &mut Assignments,
    owned: &mut BTreeSet<u32>,
    wanted: impl Fn(&BTreeSet<u32>) -> bool,
) {
    let began = Instant::now();
    while !wanted(owned) {
        assert!(began.elapsed() < PATIENCE, "{owned:?} after {PATIENCE:?}");
        match tokio::time::timeout(Duration::from_millis(200), assignments.next()).await {
            Ok(Assignment::Gained(partition)) => {
                assert!(owned.insert(partition), "{partition} is gained twice")
            }
            Ok(Assignment::Lost(partition)) => {
                assert!(
                    owned.remove(&partition),
                    "{partition} is lost though it was not owned"
                );
                assignments.released(partition);
            }
            Err(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_out_and_go_on_with_whoever_stays() {
    let config = config(shared().await.bootstrap(), "group");
    let broker = Broker::connect(&config).await.unwrap();
    let mut one = broker.assignments(Topic::Requests, "test").unwrap();
    let mut ones = BTreeSet::new();
    owns(&mut one, &mut ones, |owned| owned.len() == 4).await;
    let mut two = broker.assignments(Topic::Requests, "test").unwrap();
    let mut twos = BTreeSet::new();
    let give = tokio::spawn(async move {
        owns(&mut one, &mut ones, |owned| owned.len() == 2).await;
        (one, ones)
    });
    owns(&mut two, &mut twos, |owned| owned.len() == 2).await;
    let (one, ones) = give.await.unwrap();
    assert!(ones.is_disjoint(&twos), "{ones:?} and {twos:?}");
    drop(one);
    owns(&mut two, &mut twos, |owned| owned.len() == 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_waits_for_its_former_owner_to_end() {
    let config = config(shared().await.bootstrap(), "release");
    let broker = Broker::connect(&config).await.unwrap();
    let mut one = broker.assignments(Topic::Events, "test").unwrap();
    let mut ones = BTreeSet::new();
    owns(&mut one, &mut ones, |owned| owned.len() == 4).await;
    let mut two = broker.assignments(Topic::Events, "test").unwrap();
    let mut lost = BTreeSet::new();
    while lost.len() < 2 {
        match one.next().await {
            Assignment::Lost(partition) => assert!(lost.insert(partition)),
            gained @ Assignment::Gained(_) => panic!("{gained:?}"),
        }
    }
    // Not released yet: the other one must not have any of them.
    let early = tokio::time::timeout(Duration::from_secs(1), two.next()).await;
    assert!(early.is_err(), "{early:?} before the former owner had ended");
    lost.iter().for_each(|partition| one.released(*partition));
    let mut twos = BTreeSet::new();
    owns(&mut two, &mut twos, |owned| owned.len() == 2).await;
    assert_eq!(twos, lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_of_the_cluster_is_an_answer_in_time_and_nothing_is_written_twice_to_a_journal() {
    let kafka = Kafka::start(1).await;
    let mut config = config(kafka.bootstrap(), "silence");
    (config.request_timeout_ms, config.append_timeout_ms) = (1_000, 3_000);
    let broker = Broker::connect(&config).await.unwrap();
    let mut narrow = config.clone();
    narrow.queue_bytes_max = 4_096;
    let narrow = Broker::connect(&narrow).await.unwrap();
    let mut tables = support::numbers::Numbers::default();
    let place = (Topic::State, 0);
    let (mut journal, _) = Journal::open(&broker, place, &mut tables, |_| {}).await.unwrap();
    let request = || vec![record(Topic::Requests, 0, "a request")];
    broker.append(request()).await.unwrap();
    kafka.signal(0, rustix::process::Signal::STOP);
    a_full_queue_is_an_answer(&narrow).await;
    let error = broker.append(request()).await.unwrap_err();
    assert!(
        matches!(error, AppendError::Unanswered { .. }) && error.is_retryable(),
        "{error}"
    );
    let mut changes = Changes::new();
    changes.push(&tables.set("a", Some(1)));
    let commit = Commit {
        changes,
        input: 1,
        ..Commit::default()
    };
    let error = journal.commit(commit, &tables).await.unwrap_err();
    assert!(error.is_in_doubt(), "{error}");
    let again = journal.commit(Commit::default(), &tables).await.unwrap_err();
    assert!(matches!(again, JournalError::InDoubt { .. }), "{again}");
    kafka.signal(0, rustix::process::Signal::CONT);
    let began = Instant::now();
    let input = loop {
        assert!(began.elapsed() < PATIENCE, "the journal cannot be opened again");
        let mut rebuilt = support::numbers::Numbers::default();
        match Journal::open(&broker, place, &mut rebuilt, |_| {}).await {
            Ok((_, input)) => {
                let expected = if input == 1 {
                    tables.clone()
                } else {
                    Default::default()
                };
                assert_eq!(rebuilt, expected, "all of the commit or nothing");
                break input;
            }
            Err(error) => assert!(error.is_retryable() || error.is_in_doubt(), "{error}"),
        }
    };
    assert!(input <= 1);
    while broker.append(request()).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "requests are taken again");
    }
}

/// What waits for a silent cluster fills the queue; the next one is told so at once, and waits neither for the cluster nor
/// for the 100 ms that librdkafka's own futures would sleep.
async fn a_full_queue_is_an_answer(narrow: &Broker) {
    let large = || vec![record(Topic::Requests, 0, &"x".repeat(2_500))];
    assert!(narrow.has_space());
    let (first, second) = tokio::join!(biased; narrow.append(large()), narrow.append(large()));
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert!(matches!(first, AppendError::Unanswered { .. }), "{first}");
    assert!(
        matches!(second, AppendError::Busy { .. }) && second.is_retryable(),
        "{second}"
    );
}

#[tokio::test]
async fn pointers_are_read_across_a_long_partition() {
    let broker = Broker::connect(&config(shared().await.bootstrap(), "pointers"))
        .await
        .unwrap();
    let text = |number: u64| format!("request {number}");
    for batch in 0..4 {
        let records = (0..500).map(|at| record(Topic::Requests, 2, &text(batch * 500 + at)));
        broker.append(records.collect()).await.unwrap();
    }
    broker.trim(Topic::Requests, 2, 100).await.unwrap();
    let offsets = [1999, 5, 100, 101, 1200, 100, 2000, 99];
    let pointers = offsets.map(|offset| Pointer { partition: 2, offset });
    let found = broker.read(Topic::Requests, &pointers).await.unwrap();
    for (offset, message) in offsets.iter().zip(found) {
        let found = message.map(|message| String::from_utf8(message.value.to_vec()).unwrap());
        let expected = (100..2000).contains(offset).then(|| text(*offset));
        assert_eq!(found, expected, "offset {offset}");
    }
}

#[tokio::test]
async fn a_topic_is_read_with_standard_tools() {
    let config = config(shared().await.bootstrap(), "tools");
    let broker = Broker::connect(&config).await.unwrap();
    let mut written = record(Topic::Requests, 3, "the body, byte for byte");
    written.key = "an-integration".into();
    written.meta = r#"{"v":1,"path":"/webhook"}"#.into();
    broker.append(vec![written]).await.unwrap();
    let topic = Topic::Requests.name(&config.prefix);
    let read = Command::new("kcat")
        .args(["-C", "-q", "-e", "-b", &config.bootstrap, "-t", &topic, "-p", "3"])
        .args(["-o", "beginning", "-f", "%k|%h|%s"])
        .output()
        .expect("kcat is installed: apt-get install kcat");
    let printed = String::from_utf8(read.stdout).unwrap();
    let header = format!(r#"{}={{"v":1,"path":"/webhook"}}"#, kafka::HEADER);
    assert_eq!(
        printed,
        format!("an-integration|{header}|the body, byte for byte")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_of_three_takes_nothing_with_it() {
    let mut kafka = Kafka::start(3).await;
    let mut config = config(kafka.bootstrap(), "three");
    (config.replication, config.min_insync) = (3, 2);
    let broker = Broker::connect(&config).await.unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..12_u32 {
        match round {
            3 => kafka.kill(0),
            8 => kafka.start_node(0).await,
            _ => {}
        }
        for partition in 0..4 {
            let text = format!("{round} to {partition}");
            let began = Instant::now();
            let offset = loop {
                match broker
                    .append(vec![record(Topic::Requests, partition, &text)])
                    .await
                {
                    Ok(offsets) => break offsets[0],
                    Err(error) => assert!(error.is_retryable() && began.elapsed() < PATIENCE, "{error}"),
                }
            };
            acknowledged.push((Pointer { partition, offset }, text));
        }
    }
    let pointers: Vec<Pointer> = acknowledged.iter().map(|(pointer, _)| *pointer).collect();
    let began = Instant::now();
    let found = loop {
        match broker.read(Topic::Requests, &pointers).await {
            Ok(found) => break found,
            Err(error) => assert!(error.is_retryable() && began.elapsed() < PATIENCE, "{error}"),
        }
    };
    for ((pointer, text), message) in acknowledged.iter().zip(found) {
        let found = message.map(|message| String::from_utf8(message.value.to_vec()).unwrap());
        assert_eq!(found.as_ref(), Some(text), "{pointer:?}");
    }
}

/// Messages of `events` partition 0, each with its number as the value.
async fn numbered(broker: &Broker, count: u64) {
    for first in (0..count).step_by(500) {
        let batch = first..count.min(first + 500);
        let batch = batch.map(|number| record(Topic::Events, 0, &number.to_string()));
        broker.append(batch.collect()).await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_is_paused_over_and_over_reads_everything() {
    let mut config = config(shared().await.bootstrap(), "paused");
    // Some ten messages: it is paused and goes on at each of them.
    config.read_ahead_bytes_max = 1_000;
    let broker = Broker::connect(&config).await.unwrap();
    let count = 20_000;
    numbered(&broker, count).await;
    let mut reader = broker.reader(Topic::Events, 0, 0);
    while reader.position() < count {
        let next = reader.next(7, 1 << 20);
        let read = tokio::time::timeout(PATIENCE, next).await.expect("it goes on");
        assert!(!read.unwrap().is_empty());
    }
    broker.close().await.unwrap();
}

#[tokio::test]
async fn readers_that_come_and_go_miss_nothing_that_another_left_on_its_way() {
    let config = config(shared().await.bootstrap(), "in-turns");
    let broker = Broker::connect(&config).await.unwrap();
    let count = 20_000;
    numbered(&broker, count).await;
    // Each begins where the one before read ahead: backwards, so that what is on its way lies behind what is wanted.
    for first in (0..count - 200).rev().step_by(97) {
        let wanted = first..first + 20;
        let pointers: Vec<Pointer> = wanted
            .clone()
            .map(|offset| Pointer { partition: 0, offset })
            .collect();
        let read = broker.read(Topic::Events, &pointers).await.unwrap();
        let offsets: Vec<Option<u64>> = read.iter().map(|it| it.as_ref().map(|it| it.offset)).collect();
        assert_eq!(offsets, wanted.map(Some).collect::<Vec<_>>());
    }
    broker.close().await.unwrap();
}
