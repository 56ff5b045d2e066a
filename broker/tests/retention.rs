//! Retention: segments go when requests are old enough or space is short, and what somebody still needs outlives them:
//! a parked delivery's event, rows the audit has not read, a quiet journal, a dead letter.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::{Chance, Clock, host, outcome, record, request, tiny_config};
use tidegate_broker::embedded::Config;
use tidegate_broker::embedded::disk::{Disk, SimDisk};
use tidegate_broker::{AppendError, Broker, Keeper};
use tidegate_schemas::{Pointer, Topic};

fn config() -> Config {
    Config {
        retention_interval_s: 0,
        ..tiny_config()
    }
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.names().unwrap();
    names.retain(|name| name.ends_with(".index"));
    names
}

fn oldest(disk: &SimDisk) -> u64 {
    let names = disk.names().unwrap();
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_suffix(".segment")?.parse().ok());
    numbers.min().unwrap()
}

/// The segment being filled, or one before it.
fn newest(disk: &SimDisk) -> u64 {
    let numbers = segments(disk)
        .last()
        .and_then(|name| name.strip_suffix(".index")?.parse().ok());
    numbers.unwrap_or_else(|| oldest(disk))
}

/// Appends requests until `count` segments have been filled.
async fn fill(broker: &Broker, disk: &SimDisk, count: usize) {
    let before = broker.offsets(Topic::Requests, 0).end;
    let first = segments(disk).last().cloned().unwrap_or_default();
    let newer = || segments(disk).iter().filter(|name| **name > first).count();
    let mut number = before;
    while newer() < count {
        broker
            .append(vec![request(0, &format!("filler {number} {}", "f".repeat(400)))])
            .await
            .unwrap();
        number += 1;
    }
}

fn everything_from(first: u64) -> Keeper {
    Keeper::new(move |range| (range.start.max(first)..range.end).collect())
}

fn nothing() -> Keeper {
    Keeper::new(|_| Vec::new())
}

async fn value(broker: &Broker, topic: Topic, offset: u64) -> Option<String> {
    let found = broker
        .read(topic, &[Pointer { partition: 0, offset }])
        .await
        .unwrap()
        .pop()
        .unwrap();
    found.map(|message| {
        assert_eq!(message.offset, offset);
        String::from_utf8(message.value.to_vec()).unwrap()
    })
}

/// A log whose first segments hold one of everything that may have to live.
struct Lived {
    disk: SimDisk,
    clock: Clock,
    broker: Broker,
}

async fn lived() -> Lived {
    let (disk, clock) = (SimDisk::new(), Clock::new());
    let broker = Broker::open_on(&config(), host(&disk, &clock).0).await.unwrap();
    for number in 0..10 {
        let text = format!("old {number}");
        let topics = [Topic::Events, Topic::Outcomes, Topic::State, Topic::Dead];
        broker
            .append(topics.map(|topic| record(topic, 0, &text)).into())
            .await
            .unwrap();
    }
    broker.trim(Topic::State, 0, 4).await.unwrap();
    fill(&broker, &disk, 3).await;
    Lived { disk, clock, broker }
}

async fn check_kept(broker: &Broker, dead: bool) {
    let text = |number: u64| Some(format!("old {number}"));
    for number in 0..10 {
        let event = if number == 7 { text(7) } else { None };
        assert_eq!(
            value(broker, Topic::Events, number).await,
            event,
            "event {number}"
        );
        let row = if number >= 6 { text(number) } else { None };
        assert_eq!(value(broker, Topic::Outcomes, number).await, row, "row {number}");
        let change = if number >= 4 { text(number) } else { None };
        assert_eq!(
            value(broker, Topic::State, number).await,
            change,
            "change {number}"
        );
        let letter = if dead { text(number) } else { None };
        assert_eq!(
            value(broker, Topic::Dead, number).await,
            letter,
            "dead letter {number}"
        );
    }
    let rows = support::read_all(broker, Topic::Outcomes, 0).await.unwrap();
    assert_eq!(
        rows,
        (6..10)
            .map(|number| (number, format!("old {number}")))
            .collect::<Vec<_>>()
    );
    assert_eq!(broker.offsets(Topic::State, 0), 4..10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_needed_outlives_its_segment() {
    let Lived { disk, clock, broker } = lived().await;
    // Parked: the event at offset 7. Not read by the audit: rows from 6 on.
    broker.keep(
        Topic::Events,
        0,
        Keeper::new(|range| range.filter(|offset| *offset == 7).collect()),
    );
    broker.keep(Topic::Outcomes, 0, everything_from(6));
    broker.keep(Topic::Requests, 0, nothing());
    let first = oldest(&disk);
    broker.start_retention();
    clock.advance_hours(7 * 24 + 1);
    // Several times round, so that what was appended again is appended again once more.
    for _ in 0..3 {
        fill(&broker, &disk, 2).await;
        clock.advance_hours(7 * 24 + 1);
        let newest = newest(&disk);
        support::until("older segments are freed", || oldest(&disk) >= newest).await;
        check_kept(&broker, clock.day() < 30).await;
    }
    assert!(oldest(&disk) > first);
    // The same after a kill and after a clean stop.
    let killed = disk.killed();
    let reopened = Broker::open_on(&config(), host(&killed, &clock).0).await.unwrap();
    check_kept(&reopened, clock.day() < 30).await;
    reopened.close().await.unwrap();
    let reopened = Broker::open_on(&config(), host(&killed, &clock).0).await.unwrap();
    check_kept(&reopened, clock.day() < 30).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_lives_its_thirty_days_and_no_longer() {
    let Lived { disk, clock, broker } = lived().await;
    broker.start_retention();
    // Appended again beside younger requests, it goes when they may; each round waits for what it frees.
    while clock.day() < 30 {
        let kept = value(&broker, Topic::Dead, 3).await;
        assert_eq!(kept.as_deref(), Some("old 3"), "day {}", clock.day());
        fill(&broker, &disk, 2).await;
        clock.advance_hours(8 * 24);
        let newest = newest(&disk);
        support::until("older segments are freed", || oldest(&disk) >= newest).await;
        assert_eq!(broker.offsets(Topic::Events, 0).start, 10);
    }
    assert_eq!(broker.offsets(Topic::Dead, 0).start, 10);
    assert_eq!(value(&broker, Topic::Dead, 3).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_freed_before_every_keeper_is_registered() {
    let Lived { disk, clock, broker } = lived().await;
    clock.advance_hours(1000);
    let before = segments(&disk);
    fill(&broker, &disk, 2).await;
    assert!(segments(&disk).starts_with(&before));
    broker.start_retention();
    support::until("the first segment is freed", || {
        !segments(&disk).contains(&before[0])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_at_any_step_of_freeing_loses_nothing_that_is_needed() {
    for seed in 0..30 {
        let mut chance = Chance::new(seed);
        let Lived { disk, clock, broker } = lived().await;
        keep_some(&broker);
        broker.start_retention();
        clock.advance_hours(7 * 24 + 1);
        let syncs = || disk.counters().syncs.load(std::sync::atomic::Ordering::Relaxed);
        let until = syncs() + chance.below(12) as u64;
        broker.append(vec![outcome("later")]).await.unwrap();
        support::until("some steps are done", || {
            syncs() >= until || segments(&disk).len() <= 1
        })
        .await;
        let lost = disk.power_loss(&mut |count| chance.below(count));
        drop(broker);
        let broker = Broker::open_on(&config(), host(&lost, &clock).0).await.unwrap();
        keep_some(&broker);
        for again in 0..2 {
            let text = |number: u64| Some(format!("old {number}"));
            assert_eq!(
                value(&broker, Topic::Events, 7).await,
                text(7),
                "seed {seed}, {again}"
            );
            for number in 6..10 {
                assert_eq!(
                    value(&broker, Topic::Outcomes, number).await,
                    text(number),
                    "seed {seed}, {again}"
                );
                assert_eq!(
                    value(&broker, Topic::State, number).await,
                    text(number),
                    "seed {seed}, {again}"
                );
            }
            broker.start_retention();
            fill(&broker, &lost, 1).await;
            clock.advance_hours(7 * 24 + 1);
            let newest = newest(&lost);
            broker.append(vec![outcome("later")]).await.unwrap();
            support::until("the rest is freed", || oldest(&lost) >= newest).await;
        }
    }
}

fn keep_some(broker: &Broker) {
    broker.keep(
        Topic::Events,
        0,
        Keeper::new(|range| range.filter(|offset| *offset == 7).collect()),
    );
    broker.keep(Topic::Outcomes, 0, everything_from(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_budget_the_audit_loses_first_then_requests_are_refused_and_nothing_undelivered_is_dropped() {
    let (disk, clock) = (SimDisk::new(), Clock::new());
    let config = Config {
        disk_bytes_max: 8 * 8 * 1024,
        ..config()
    };
    let broker = Broker::open_on(&config, host(&disk, &clock).0).await.unwrap();
    let undelivered = Arc::new(Mutex::new(0_u64));
    let floor = Arc::clone(&undelivered);
    broker.keep(
        Topic::Requests,
        0,
        Keeper::new(move |range| (range.start.max(*floor.lock())..range.end).collect()),
    );
    broker.keep(Topic::Outcomes, 0, Keeper::yielding(Iterator::collect));
    broker.start_retention();
    // Rows that nobody reads fill the disk: they are given up, oldest first, and requests go on.
    for number in 0..300 {
        append_when_possible(&broker, outcome(&format!("row {number} {}", "r".repeat(400)))).await;
    }
    assert!(broker.offsets(Topic::Outcomes, 0).start > 0);
    // Requests that nobody has processed fill it: they are refused, and stay.
    append_when_possible(&broker, request(0, "the first")).await;
    let first = broker.offsets(Topic::Requests, 0).start;
    let mut accepted = 1;
    let refused = loop {
        match broker.append(vec![request(0, &"u".repeat(500))]).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1000, "a budget of 64 KiB never filled");
    };
    assert!(
        matches!(refused, AppendError::Full { limit: 65_536, .. }),
        "{refused}"
    );
    assert!(refused.is_retryable() && !broker.has_space());
    assert_eq!(broker.offsets(Topic::Requests, 0), first..first + accepted);
    assert_eq!(
        value(&broker, Topic::Requests, first).await.as_deref(),
        Some("the first")
    );
    // What gets rid of them still finds room, at the latest when a segment that is being freed is free.
    append_when_possible(&broker, record(Topic::State, 0, "decided")).await;
    // Once they are processed it goes on by itself.
    *undelivered.lock() = first + accepted;
    support::until("there is space", || broker.has_space()).await;
    append_when_possible(&broker, request(0, "and on")).await;
}

async fn append_when_possible(broker: &Broker, record: tidegate_broker::Record) {
    for _ in 0..60_000 {
        match broker.append(vec![record.clone()]).await {
            Ok(_) => return,
            Err(AppendError::Full { .. }) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no space for a minute");
}
