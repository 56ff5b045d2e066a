//! The ways of a request: straight, into the spill, out of it, back; a spill that is full; a leader that alone is away.

use std::task::Poll;
use std::time::Duration;

use tidegate_schemas::{Metadata as _, RequestMeta};

use super::{Cluster, Mood, PARTITIONS, request, start, start_unreached, straight, until};
use crate::embedded::disk::SimDisk;
use crate::embedded::untrimmed_on;
use crate::error::AppendError;
use crate::kafka::spill::Spilling;

const AWAY: Mood = Mood::Silent { arrives: false };

async fn append(spilling: &Spilling<Cluster>, partition: u32, text: &str) -> Vec<u64> {
    let batch = [request(partition, text)];
    spilling.intake.append(&batch).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_kafka_answers_nothing_is_spilled() {
    let cluster = Cluster::new(Mood::Answers);
    let spilling = start(&cluster, &SimDisk::new());
    straight(&spilling).await;
    for number in 0..5 {
        assert_eq!(append(&spilling, 1, &number.to_string()).await, [number]);
    }
    assert_eq!(cluster.partition(1).len(), 5);
    assert!(cluster.partition(1).iter().all(|(_, marked)| !marked));
    assert_eq!(cluster.purges(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spilled_comes_marked_in_order_behind_what_came_before_and_before_what_comes_later() {
    for arrives in [false, true] {
        let cluster = Cluster::new(Mood::Answers);
        let spilling = start(&cluster, &SimDisk::new());
        straight(&spilling).await;
        append(&spilling, 0, "before").await;
        cluster.become_(Mood::Silent { arrives });
        for number in 0..20 {
            let offsets = append(&spilling, 0, &format!("away {number:02}")).await;
            assert_eq!(offsets, [0_u64; 0], "it has no offset yet");
        }
        assert!(spilling.intake.spills_for().is_some());
        assert_eq!(spilling.intake.store.standing().requests, 20);
        cluster.become_(Mood::Answers);
        append(&spilling, 0, "later").await;
        straight(&spilling).await;
        append(&spilling, 0, "straight").await;
        let mut expected = vec!["before".to_owned()];
        expected.extend((0..20).map(|number| format!("away {number:02}")));
        expected.extend(["later".to_owned(), "straight".to_owned()]);
        assert_eq!(cluster.firsts(0), expected);
        let all = cluster.partition(0);
        let repeats = all.len() - expected.len();
        assert_eq!(
            repeats,
            usize::from(arrives),
            "only what was in doubt may come twice: {all:?}"
        );
        for (text, marked) in all {
            let is_second = marked || !text.starts_with("away") || (arrives && text == "away 00");
            assert!(is_second, "{text} is not marked");
            assert!(
                !marked || text.starts_with("away") || text == "later",
                "{text} is marked"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_kafka_falls_silent_is_given_up_together_and_keeps_its_order() {
    let cluster = Cluster::new(Mood::Answers);
    let spilling = start(&cluster, &SimDisk::new());
    straight(&spilling).await;
    cluster.become_(AWAY);
    let texts: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    let batches: Vec<_> = texts.iter().map(|text| [request(2, text)]).collect();
    let mut appends: Vec<_> = batches
        .iter()
        .map(|batch| Box::pin(spilling.intake.append(batch)))
        .collect();
    for append in &mut appends {
        // The first poll of each, in order.
        assert!(tokio::time::timeout(Duration::ZERO, append).await.is_err());
    }
    std::future::poll_fn(|context| {
        appends.retain_mut(|append| match append.as_mut().poll(context) {
            Poll::Ready(appended) => {
                assert_eq!(appended, Ok(Vec::new()));
                false
            }
            Poll::Pending => true,
        });
        if appends.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    assert_eq!(cluster.purges(), 1);
    cluster.become_(Mood::Answers);
    straight(&spilling).await;
    assert_eq!(cluster.firsts(2), texts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_cluster_that_was_not_reached_yet() {
    let cluster = Cluster::new(Mood::Answers);
    let spilling = start_unreached(&cluster, &SimDisk::new());
    append(&spilling, 0, "early").await;
    assert!(spilling.intake.has_space());
    for partition in 0..PARTITIONS {
        assert!(
            cluster.partition(partition).is_empty(),
            "its topics were not checked"
        );
    }
    spilling.intake.reached();
    straight(&spilling).await;
    assert_eq!(cluster.partition(0), [("early".to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spill_refuses_by_its_key_and_takes_requests_again_when_kafka_is_back() {
    let cluster = Cluster::new(AWAY);
    let spilling = start(&cluster, &SimDisk::new());
    let padding = "f".repeat(6 * 1024);
    for round in 0..3 {
        let mut accepted = Vec::new();
        let refused = loop {
            let text = format!("{round} {} {padding}", accepted.len());
            match spilling.intake.append(&[request(0, &text)]).await {
                Ok(_) => accepted.push(text),
                Err(error) => break error,
            }
            assert!(accepted.len() < 1000, "it is bounded");
        };
        assert!(matches!(refused, AppendError::SpillFull { .. }), "{refused}");
        assert!(refused.is_retryable() && refused.to_string().contains("broker.kafka.spill.bytes_max"));
        // Later rounds begin while space still comes back, a segment at a time.
        let fits = accepted.len() > 10 || round > 0;
        assert!(fits, "{} fit into it", accepted.len());
        until("ingest is told", || !spilling.intake.has_space()).await;
        let before = cluster.firsts(0).len();
        cluster.become_(Mood::Answers);
        straight(&spilling).await;
        assert_eq!(cluster.firsts(0)[before..], accepted, "round {round}");
        until("emptied segments give room", || spilling.intake.store.has_space()).await;
        cluster.become_(AWAY);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_alone_is_away_holds_up_its_own_partition_only() {
    let cluster = Cluster::new(Mood::Answers);
    let spilling = start(&cluster, &SimDisk::new());
    straight(&spilling).await;
    cluster.lead(1, false);
    for number in 0..10 {
        for partition in 0..PARTITIONS {
            append(&spilling, partition, &format!("{number}")).await;
        }
    }
    until("the others go on", || {
        cluster.firsts(0).len() == 10 && cluster.firsts(2).len() == 10
    })
    .await;
    assert!(cluster.firsts(1).is_empty());
    assert_eq!(spilling.intake.store.standing().requests, 10);
    cluster.lead(1, true);
    straight(&spilling).await;
    let expected: Vec<_> = (0..10).map(|number| format!("{number}")).collect();
    for partition in 0..PARTITIONS {
        assert_eq!(cluster.firsts(partition), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_straight_again_though_they_never_stop_coming() {
    let cluster = Cluster::new(AWAY);
    let spilling = std::sync::Arc::new(start(&cluster, &SimDisk::new()));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (spilling, stop) = (spilling.clone(), stop.clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    append(&spilling, sender % PARTITIONS, &format!("{sender} {sent:06}")).await;
                    sent += 1;
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                sent
            })
        })
        .collect();
    until("some are spilled", || {
        spilling.intake.store.standing().requests > 20
    })
    .await;
    cluster.become_(Mood::Answers);
    straight_once(&spilling).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut total = 0;
    for sender in senders {
        total += sender.await.unwrap();
    }
    let mut found = 0;
    for partition in 0..PARTITIONS {
        let firsts = cluster.firsts(partition);
        found += firsts.len();
        for sender in 0..4 {
            let of_sender: Vec<_> = firsts
                .iter()
                .filter(|text| text.starts_with(&format!("{sender} ")))
                .collect();
            assert!(of_sender.is_sorted(), "the order of one sender");
        }
    }
    assert_eq!(found, total);
}

/// Under load the store may be in use again by the time anybody looks.
async fn straight_once(spilling: &Spilling<Cluster>) {
    until("requests go straight", || spilling.intake.spills_for().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_says_what_lies_in_it() {
    let (cluster, disk) = (Cluster::new(AWAY), SimDisk::new());
    let spilling = start(&cluster, &disk);
    for number in 0..40 {
        append(
            &spilling,
            number % PARTITIONS,
            &format!("{number:02} {}", "x".repeat(5000)),
        )
        .await;
    }
    let standing = spilling.intake.store.standing();
    let found = untrimmed_on(&disk, tidegate_schemas::Topic::Requests).unwrap();
    assert_eq!((found.messages, found.bytes), (40, standing.bytes));
    assert!(found.oldest.is_some() && found.oldest <= standing.oldest);
    let killed = disk.killed();
    drop(spilling);
    let again = start(&cluster, &killed);
    let after = again.intake.store.standing();
    assert_eq!(
        (after.requests, after.bytes),
        (40, standing.bytes),
        "a restart counts the same"
    );
    let oldest = again.intake.store.oldest(0).await.unwrap();
    let meta = RequestMeta::decode(&oldest[0].meta);
    assert!(
        meta.is_err(),
        "the tests' metadata is not a whole request's, and is kept as it is"
    );
    assert_eq!(&oldest[0].meta[..], br#"{"v":1,"spilled":true}"#);
    cluster.become_(Mood::Answers);
    straight(&again).await;
    until("what is drained is given up", || {
        untrimmed_on(&killed, tidegate_schemas::Topic::Requests)
            .unwrap()
            .messages
            == 0
    })
    .await;
    again.close(Duration::from_millis(20)).await.unwrap();
}
