//! Damage at every byte of a small log: whatever is cut, flipped or shortened, the log either opens with exactly what
//! was written up to some point that was never named as synced, or refuses and says where. It never opens with
//! something else, and `repair` makes it open again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::{open_sim, outcome, request, tiny_config};
use tidegate_broker::embedded::disk::{Disk, SimDisk};
use tidegate_broker::embedded::{Config, Decision, inspect_on, repair_on};
use tidegate_broker::{Broker, Error};
use tidegate_schemas::Topic;

/// How many messages the log of these tests holds; each is a sync group of its own.
const MESSAGES: u64 = 12;

fn config() -> Config {
    Config {
        durability: tidegate_broker::embedded::Durability::Fsync,
        ..tiny_config()
    }
}

fn text(number: u64) -> String {
    format!("message {number} {}", "y".repeat(number as usize * 5))
}

async fn written(clean: bool) -> SimDisk {
    let disk = SimDisk::new();
    let broker = open_sim(&config(), &disk).await.unwrap();
    for number in 0..MESSAGES {
        broker
            .append(vec![request(0, &text(number)), outcome("row")])
            .await
            .unwrap();
    }
    if clean {
        broker.close().await.unwrap();
        return disk;
    }
    disk.killed()
}

/// Opens the damaged log and reads it; true when it was refused, or an error came while reading.
async fn check(disk: &SimDisk, what: &str, lost_max: u64) -> bool {
    let broker = match open_sim(&config(), disk).await {
        Ok(broker) => broker,
        Err(Error::Damaged(_)) => return true,
        Err(error) => panic!("{what}: {error}"),
    };
    let end = broker.offsets(Topic::Requests, 0).end;
    assert!(
        end + lost_max >= MESSAGES && end <= MESSAGES,
        "{what}: {end} of {MESSAGES} messages are left"
    );
    match support::read_all(&broker, Topic::Requests, 0).await {
        Err(Error::Damaged(_)) => return true,
        Err(error) => panic!("{what}: {error}"),
        Ok(all) => {
            let expected: Vec<_> = (0..end).map(|number| (number, text(number))).collect();
            assert_eq!(all, expected, "{what}");
        }
    }
    go_on(&broker, end, what).await;
    false
}

async fn go_on(broker: &Broker, end: u64, what: &str) {
    let offsets = broker.append(vec![request(0, "later")]).await.unwrap();
    assert_eq!(offsets, [end], "{what}");
}

fn segment_of(disk: &SimDisk) -> (String, usize) {
    let name = "0000000000000001.segment".to_owned();
    let used = disk.contents(&name).iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (name, used)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_killed_log_is_cut_or_refused() {
    let disk = written(false).await;
    let (name, used) = segment_of(&disk);
    let mut refused = 0;
    for position in 0..used + 100 {
        let damaged = disk.killed();
        damaged.damage(&name, position, |byte| byte ^ (1 << (position % 8)));
        refused += u64::from(check(&damaged, &format!("flip at {position}"), 1).await);
    }
    assert!(
        refused > 0 && (refused as usize) < used,
        "{refused} of {used} flips were refused"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_closed_log_never_reads_as_something_else() {
    let disk = written(true).await;
    for name in disk.names().unwrap() {
        if !name.starts_with("0000000000000001") {
            continue;
        }
        for position in 0..disk.contents(&name).len() {
            let damaged = disk.killed();
            damaged.damage(&name, position, |byte| byte ^ (1 << (position % 8)));
            check(&damaged, &format!("flip at {position} of {name}"), 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_anywhere_is_cut_or_refused() {
    for clean in [false, true] {
        let disk = written(clean).await;
        let (name, used) = segment_of(&disk);
        for length in 0..used {
            let damaged = disk.killed();
            damaged.truncate(&name, length);
            // What is missing at the end of the file cannot name what was synced.
            check(&damaged, &format!("cut at {length}, clean {clean}"), MESSAGES).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_log_names_its_damage_and_repair_decides() {
    let disk = written(false).await;
    let (name, used) = segment_of(&disk);
    for (decision, left) in [
        (Decision::Cut, "a beginning"),
        (Decision::Skip, "all but the damaged"),
    ] {
        let damaged = disk.killed();
        damaged.damage(&name, used / 2, |byte| !byte);
        let refused = open_sim(&config(), &damaged).await.unwrap_err();
        let Error::Damaged(damage) = refused else {
            panic!("{refused}")
        };
        let lost = damage
            .offsets
            .iter()
            .find(|(topic, ..)| *topic == Topic::Requests)
            .copied()
            .unwrap();
        assert_eq!((lost.3 - lost.2, damage.segment), (1, 1), "{damage}");
        let inspection = inspect_on(&damaged).unwrap();
        assert_eq!(
            inspection.damage.map(|damage| damage.position),
            Some(damage.position)
        );
        let given_up = repair_on(&damaged, decision).unwrap();
        assert_eq!(given_up.len(), 1, "{left}");
        assert_eq!(inspect_on(&damaged).unwrap().damage, None);
        let broker = open_sim(&config(), &damaged).await.unwrap();
        let end = if decision == Decision::Cut {
            lost.2
        } else {
            MESSAGES
        };
        let expected = (0..end)
            .filter(|number| *number != lost.2)
            .map(|number| (number, text(number)));
        let all = support::read_all(&broker, Topic::Requests, 0).await.unwrap();
        assert_eq!(all, expected.collect::<Vec<_>>(), "{left}");
        go_on(&broker, end, left).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damage_is_mended_by_skipping() {
    let disk = written(false).await;
    let (name, used) = segment_of(&disk);
    for position in 0..used {
        let damaged = disk.killed();
        damaged.damage(&name, position, |byte| !byte);
        let broker = match open_sim(&config(), &damaged).await {
            Ok(broker) => broker,
            Err(_) => {
                repair_on(&damaged, Decision::Skip).unwrap();
                open_sim(&config(), &damaged)
                    .await
                    .unwrap_or_else(|error| panic!("flip at {position}: {error}"))
            }
        };
        let all = support::read_all(&broker, Topic::Requests, 0).await.unwrap();
        assert!(
            all.len() as u64 + 1 >= MESSAGES,
            "flip at {position}: {} messages are left",
            all.len()
        );
        assert!(
            all.iter().all(|(offset, found)| *found == text(*offset)),
            "flip at {position}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_segment_is_refused_and_can_be_bridged() {
    let disk = SimDisk::new();
    let broker = open_sim(&config(), &disk).await.unwrap();
    let mut number = 0;
    while disk
        .names()
        .unwrap()
        .iter()
        .filter(|name| name.ends_with(".index"))
        .count()
        < 4
    {
        broker.append(vec![request(0, &text(number % 40))]).await.unwrap();
        number += 1;
    }
    let disk = disk.killed();
    drop(broker);
    disk.remove("0000000000000002.segment").unwrap();
    let refused = open_sim(&config(), &disk).await.unwrap_err();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
    repair_on(&disk, Decision::Skip).unwrap();
    let broker = open_sim(&config(), &disk).await.unwrap();
    let all = support::read_all(&broker, Topic::Requests, 0).await.unwrap();
    assert_eq!(all.last(), Some(&(number - 1, text((number - 1) % 40))));
    assert!(all.len() as u64 > number / 3 && (all.len() as u64) < number);
}
