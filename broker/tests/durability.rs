//! When an append counts as done, and when it can be read: after the sync where that is promised, at once elsewhere;
//! and what each durability survives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{Chance, open_sim, outcome, record, request, small_config, tiny_config};
use tidegate_broker::Error;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_broker::embedded::{Config, Durability, PartitionCounts};
use tidegate_schemas::Topic;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_registry_are_acknowledged_and_readable_only_after_the_sync_everything_else_at_once() {
    let disk = SimDisk::new();
    let broker = open_sim(&tiny_config(), &disk).await.unwrap();
    broker
        .append(vec![request(0, "the log has begun")])
        .await
        .unwrap();
    disk.hold_syncs(true);
    assert_eq!(
        broker.append(vec![outcome("a row")]).await.unwrap(),
        [0],
        "nobody waits for a sync"
    );
    for (topic, start) in [(Topic::Requests, 1), (Topic::Registry, 0)] {
        let batch = vec![record(topic, 0, "waits"), record(Topic::Events, 0, "does not")];
        let events = broker.offsets(Topic::Events, 0).end;
        let appending = tokio::spawn({
            let broker = broker.clone();
            async move { broker.append(batch).await }
        });
        let mut reader = broker.reader(Topic::Events, 0, events);
        assert_eq!(&reader.next(1, 100).await.unwrap()[0].value[..], b"does not");
        assert_eq!(broker.offsets(topic, 0).end, start);
        assert!(!appending.is_finished());
        disk.hold_syncs(false);
        assert_eq!(appending.await.unwrap().unwrap(), [start, events]);
        assert_eq!(broker.offsets(topic, 0).end, start + 1);
        disk.hold_syncs(true);
    }
    disk.hold_syncs(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_durability_survives_a_kill_and_says_what_a_power_loss_costs() {
    for durability in [Durability::Fsync, Durability::Interval, Durability::Os] {
        let config = Config {
            durability,
            sync_interval_ms: 1,
            ..tiny_config()
        };
        let disk = SimDisk::new();
        let broker = open_sim(&config, &disk).await.unwrap();
        for number in 0..100 {
            broker
                .append(vec![request(0, &format!("{number}"))])
                .await
                .unwrap();
        }
        let killed = open_sim(&config, &disk.killed()).await.unwrap();
        assert_eq!(killed.offsets(Topic::Requests, 0), 0..100, "{durability:?}");
        // Every page that was not synced is gone: the log still opens, with a beginning of what was written.
        let lost = open_sim(&config, &disk.power_loss(&mut |_| 0)).await.unwrap();
        let left = lost.offsets(Topic::Requests, 0).end;
        let least = if durability == Durability::Fsync { 100 } else { 0 };
        assert!((least..=100).contains(&left), "{durability:?}: {left}");
        let all = support::read_all(&lost, Topic::Requests, 0).await.unwrap();
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, (offset, text))| *offset == at as u64 && *text == at.to_string())
        );
        if durability == Durability::Interval {
            let all_synced = || disk.power_loss(&mut |_| 0);
            for _ in 0..10_000 {
                let later = open_sim(&config, &all_synced()).await.unwrap();
                if later.offsets(Topic::Requests, 0).end == 100 {
                    break;
                }
            }
            let later = open_sim(&config, &all_synced()).await.unwrap();
            assert_eq!(
                later.offsets(Topic::Requests, 0).end,
                100,
                "the interval has passed"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_waiting_keeps_nobody_else_from_waking() {
    let disk = SimDisk::new();
    let broker = open_sim(&tiny_config(), &disk).await.unwrap();
    let mut chance = Chance::new(11);
    for round in 0..30 {
        disk.hold_syncs(true);
        let append = |number: usize| {
            let broker = broker.clone();
            tokio::spawn(async move { broker.append(vec![request(0, &number.to_string())]).await })
        };
        let mut waiting: Vec<_> = (0..40).map(append).collect();
        // Some give up while they wait, some while the flusher wakes them.
        for given_up in [true, false] {
            for _ in 0..10 {
                waiting.swap_remove(chance.below(waiting.len())).abort();
            }
            if given_up {
                tokio::task::yield_now().await;
                disk.hold_syncs(false);
            }
        }
        for appending in waiting {
            assert!(appending.await.unwrap().is_ok(), "round {round}");
        }
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_with_the_reason() {
    let disk = SimDisk::new();
    let broker = open_sim(&small_config(), &disk).await.unwrap();
    broker
        .append(vec![request(1, "in the second partition")])
        .await
        .unwrap();
    broker.close().await.unwrap();
    let fewer = PartitionCounts {
        requests: 1,
        ..small_config().partitions
    };
    let cases = [
        (
            Config {
                partitions: fewer,
                ..small_config()
            },
            "requests partition 1",
        ),
        (
            Config {
                segment_bytes: 1024,
                ..small_config()
            },
            "segment_bytes is 1024",
        ),
        (
            Config {
                disk_bytes_max: 100 * 1024,
                ..small_config()
            },
            "disk_bytes_max",
        ),
        (
            Config {
                partitions: PartitionCounts {
                    dead: 0,
                    ..small_config().partitions
                },
                ..small_config()
            },
            "dead has 0",
        ),
    ];
    for (config, reason) in cases {
        let refused = open_sim(&config, &disk).await.unwrap_err();
        assert!(
            matches!(refused, Error::Config(_)) && refused.to_string().contains(reason),
            "{refused}"
        );
    }
    let broker = open_sim(&small_config(), &disk).await.unwrap();
    assert_eq!(broker.offsets(Topic::Requests, 1), 0..1);
}

#[test]
fn a_configuration_is_read_from_text_and_knows_no_other_keys() {
    let config: Config = toml::from_str("durability = \"interval\"\n[partitions]\nrequests = 7").unwrap();
    assert_eq!(
        (config.durability, config.partitions_of(Topic::State)),
        (Durability::Interval, 7)
    );
    assert_eq!(config.segment_bytes, 128 * 1024 * 1024);
    assert!(toml::from_str::<Config>("segment_byte = 1").is_err());
}
