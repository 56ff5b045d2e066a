//! Whatever is done twice has the same ids, and one outcome counts: the one with the highest commit. Crashes are made
//! by a journal that has forgotten the last commits, which is how a process finds its log when it died before them.

use std::collections::BTreeMap;

use tidegate_schemas::{EventId, Outcome, Topic};

use super::lines::find_lines;
use super::{House, PARTITIONS, World};
use crate::Config;

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_is_decided_and_a_restart_decides_nothing_twice() {
    let world = World::new("lines");
    let mut house = House::new().await;
    for partition in 0..PARTITIONS {
        let bodies = ["a b", "", "c\nreject\nd"];
        house
            .append(partition, bodies.map(|body| world.request(&[], body)).to_vec())
            .await;
    }
    house.start_finding(&world, Config::default(), find_lines);
    let events = 6 * PARTITIONS as usize;
    let first = house.outcomes(events).await;
    house.stop().await.expect("a clean stop");
    let mut house = house.reopened().await;
    house.append(0, vec![world.request(&[], "e")]).await;
    house.start_finding(&world, Config::default(), find_lines);
    let rows = house.rows(events + 1).await;
    assert_eq!(rows.len(), events + 1, "nothing was decided twice");
    assert_eq!(first.len(), events);
    house.stop().await.expect("a clean stop");
    let routed = rows.iter().filter(|row| row.outcome == Outcome::Routed).count();
    assert_eq!(house.events().await.len(), routed);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_done_twice_has_the_same_ids_and_one_outcome_each() {
    let world = World::new("lines");
    let mut house = House::new().await;
    house
        .append(
            0,
            ["a b", "c\nd", "panic"]
                .map(|body| world.request(&[], body))
                .to_vec(),
        )
        .await;
    house.start_finding(&world, Config::default(), find_lines);
    let first = house.outcomes(5).await;
    house.stop().await.expect("a clean stop");
    // The journal forgets everything, as if the process had died between its outputs and its commit.
    let end = house.broker.offsets(Topic::State, 0).end;
    house.broker.trim(Topic::State, 0, end).await.expect("a trim");
    house.start_finding(&world, Config::default(), find_lines);
    let rows = house.rows(10).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(rows.len(), 10);
    let mut twice: BTreeMap<EventId, Vec<u64>> = BTreeMap::new();
    for row in &rows {
        twice.entry(row.event_id).or_default().push(row.commit);
    }
    assert_eq!(twice.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    for (id, commits) in twice {
        let [earlier, later] = commits.as_slice() else {
            panic!("{id} has the commits {commits:?}");
        };
        assert!(later > earlier, "{id} has the commits {commits:?}");
    }
    let mut forwarded: BTreeMap<EventId, usize> = BTreeMap::new();
    for (meta, _) in house.events().await {
        *forwarded.entry(meta.id).or_default() += 1;
    }
    assert!(forwarded.values().all(|times| *times == 2), "{forwarded:?}");
    assert_eq!(forwarded.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_ends_at_its_limit_and_goes_on_behind_it() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let config = Config {
        batch_events_max: 5,
        outcomes_message_bytes_max: 1500,
        ..Config::default()
    };
    let bundle = ["x"; 7].join("\n");
    let bodies = ["a", "b", &bundle, "c", "d e f", "g"];
    house
        .append(2, bodies.map(|body| world.request(&[], body.to_owned())).to_vec())
        .await;
    house.start_finding(&world, config, find_lines);
    let rows = house.rows(14).await;
    house.stop().await.expect("a clean stop");
    let commits: Vec<(u64, u64)> = rows.iter().map(|row| (row.request_offset, row.commit)).collect();
    assert!(commits.is_sorted(), "batches are decided in order: {commits:?}");
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    for row in &rows {
        *sizes.entry(row.commit).or_default() += 1;
    }
    assert_eq!(sizes.into_values().collect::<Vec<_>>(), [2, 7, 5]);
}
