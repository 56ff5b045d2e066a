//! Flood control in the whole processor: what is dropped, what is held and handed on, across batches, restarts and with
//! nothing held in memory. Windows are short; nothing here waits for a time, only for rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidegate_registry::{Entity, FloodSettings};
use tidegate_schemas::{EventId, EventMeta, EventRow, Outcome, RequestKind};

use super::{House, World};
use crate::Config;

pub(super) const TOKEN: &str = "a-token";

pub(super) fn world(settings: &Value) -> World {
    let mut world = World::new("acme-objects").secret(TOKEN);
    world.integration.flood = serde_json::from_value(settings.clone()).expect("settings");
    let world = world.connection("c1", &[("account", "1")], &[]);
    world.connection("c2", &[("account", "2")], &[])
}

/// An event of account 1 about an object.
pub(super) fn event(id: &str, object: &str, version: u64) -> Value {
    json!({"type": "changed", "id": id, "account": 1, "object": object, "version": version,
        "content": {"name": object, "seen_at": version}})
}

pub(super) async fn append(house: &House, world: &World, requests: &[Vec<Value>]) {
    let requests = requests.iter().map(|events| {
        let body = json!({ "events": events }).to_string();
        world.request(&[("x-token", TOKEN)], body)
    });
    let requests: Vec<_> = requests.collect();
    if !requests.is_empty() {
        house.append(0, requests).await;
    }
}

/// The true rows, by provider's delivery id, once every event has an outcome other than `debounced` as far as `settled`
/// demands.
pub(super) async fn outcomes(
    house: &House,
    events: usize,
    settled: impl Fn(&[EventRow]) -> bool,
) -> Vec<EventRow> {
    let mut wanted = events;
    loop {
        let rows = house.rows(wanted).await;
        wanted = rows.len() + 1;
        let mut latest: BTreeMap<EventId, EventRow> = BTreeMap::new();
        for row in rows {
            let other = latest.get(&row.event_id);
            if let Some(other) = other {
                assert_ne!(other.commit, row.commit, "two rows of one commit for {row:?}");
            }
            if other.is_none_or(|other| other.commit < row.commit) {
                latest.insert(row.event_id, row);
            }
        }
        let mut latest: Vec<EventRow> = latest.into_values().collect();
        latest.sort_by_key(|row| (row.request_offset, row.position));
        if latest.len() >= events && settled(&latest) {
            return latest;
        }
    }
}

pub(super) fn count(rows: &[EventRow], outcome: Outcome) -> usize {
    rows.iter().filter(|row| row.outcome == outcome).count()
}

async fn decide(settings: &Value, requests: &[Vec<Value>], routed: usize) -> Vec<(Outcome, String)> {
    let world = world(settings);
    let mut house = House::new().await;
    append(&house, &world, requests).await;
    house.start(&world, Config::default());
    let events = requests.iter().map(Vec::len).sum();
    let rows = outcomes(&house, events, |rows| count(rows, Outcome::Routed) >= routed).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(house.events().await.len(), count(&rows, Outcome::Routed));
    rows.into_iter().map(|row| (row.outcome, row.detail)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_drop_what_was_seen_is_older_or_has_not_changed() {
    let all = json!({"order": true, "detect_changes": true});
    let moved = |id: &str, version: u64, name: &str| {
        let mut event = event(id, "a", version);
        event["content"]["name"] = json!(name);
        event
    };
    let deleted = json!({"type": "deleted", "id": "g", "account": 1, "object": "a", "version": 6});
    let found = decide(
        &all,
        &[
            vec![moved("a", 3, "x"), moved("a", 4, "y")],
            vec![moved("a", 5, "z"), moved("b", 2, "older")],
            vec![moved("c", 4, "x"), moved("d", 5, "y"), moved("e", 5, "y")],
            vec![deleted, moved("h", 7, "y"), event("i", "b", 1)],
        ],
        5,
    )
    .await;
    let outcomes: Vec<Outcome> = found.iter().map(|(outcome, _)| *outcome).collect();
    use Outcome::{Duplicate, Routed, Stale, Unchanged};
    assert_eq!(
        outcomes,
        [
            Routed, Duplicate, Duplicate, Stale, Unchanged, Routed, Unchanged, Routed, Routed, Routed
        ]
    );
    assert!(found[3].1.contains("rank 3"), "{found:?}");
    assert!(found[4].1.contains("hash"), "{found:?}");
}

/// A burst on `objects` objects: `each` events on each, in requests of ten, out of order.
fn burst(objects: usize, each: usize) -> Vec<Vec<Value>> {
    let mut events = Vec::new();
    for n in 0..each {
        for object in 0..objects {
            let version = (n * 7 + object) % each;
            events.push(event(
                &format!("{n}-{object}"),
                &format!("o{object}"),
                version as u64,
            ));
        }
    }
    events.chunks(10).map(<[Value]>::to_vec).collect()
}

/// Checks that a burst came to one event for each object: the latest, standing for all.
fn check_burst(rows: &[EventRow], events: &[EventMeta], (objects, each): (usize, usize)) {
    assert_eq!(count(rows, Outcome::Routed), objects);
    assert_eq!(count(rows, Outcome::Debounced), objects * (each - 1));
    assert!(
        rows.iter().all(|row| row.window.is_some()),
        "every row names its window"
    );
    let newest = (each - 1).to_string();
    let routed = rows.iter().filter(|row| row.outcome == Outcome::Routed);
    assert!(
        routed.clone().all(|row| row.object_version == newest),
        "the latest is handed on"
    );
    let mut ids: BTreeMap<EventId, &EventMeta> = BTreeMap::new();
    for event in events {
        ids.insert(event.id, event);
    }
    assert_eq!(ids.len(), objects, "the same ids whenever it was fired");
    for row in routed {
        let coalesced = ids[&row.event_id]
            .coalesced
            .as_ref()
            .expect("it stands for others");
        assert_eq!(Some(coalesced.window), row.window);
        assert_eq!(coalesced.count, each as u64);
        assert_eq!(coalesced.ids.len(), each.min(100));
        let of_window = |id: &EventId| {
            rows.iter()
                .any(|other| other.event_id == *id && other.window == row.window)
        };
        assert!(
            coalesced.ids.iter().all(of_window),
            "its ids are those of its window"
        );
    }
}

async fn burst_comes_to_one_each(config: Config, restarts: usize) {
    let world = world(&json!({"debounce": {"quiet_ms": 600, "max_wait_ms": 60_000}}));
    let mut house = House::new().await;
    let (objects, each) = (23, 12);
    let requests = burst(objects, each);
    // Without restarts all of it is there from the start, so that no machine is too slow for the windows.
    let half = if restarts == 0 {
        requests.len()
    } else {
        requests.len() / 2
    };
    append(&house, &world, &requests[..half]).await;
    house.start(&world, config.clone());
    for _ in 0..restarts {
        house.rows(50).await;
        house.stop().await.expect("a clean stop");
        house = house.reopened().await;
        house.start(&world, config.clone());
    }
    append(&house, &world, &requests[half..]).await;
    let events = objects * each;
    let rows = outcomes(&house, events, |rows| count(rows, Outcome::Routed) >= objects).await;
    house.stop().await.expect("a clean stop");
    let metas: Vec<EventMeta> = house.events().await.into_iter().map(|(meta, _)| meta).collect();
    if restarts == 0 {
        check_burst(&rows, &metas, (objects, each));
    } else {
        // A restart may take longer than the windows are quiet: then an object has two of them.
        let handed: u64 = metas
            .iter()
            .filter_map(|meta| meta.coalesced.as_ref())
            .map(|all| all.count)
            .sum();
        assert_eq!(handed as usize, events, "each event is in one window");
        assert_eq!(
            count(&rows, Outcome::Routed) + count(&rows, Outcome::Debounced),
            events
        );
        assert_eq!(count(&rows, Outcome::Routed), metas.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_on_one_object_come_to_one_event() {
    burst_comes_to_one_each(Config::default(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_the_same_with_nothing_held_in_memory() {
    let mut config = Config::default();
    config.flood.held_bytes_max = 0;
    burst_comes_to_one_each(config, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_survive_restarts_while_windows_are_open() {
    burst_comes_to_one_each(Config::default(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_with_a_deletion_which_passes_behind_what_was_held() {
    for held_bytes_max in [0, 1 << 20] {
        let world = world(&json!({"debounce": {"quiet_ms": 60_000, "max_wait_ms": 3_600_000}}));
        let mut house = House::new().await;
        let mut config = Config::default();
        config.flood.held_bytes_max = held_bytes_max;
        append(&house, &world, &[vec![event("a", "o", 1), event("b", "o", 3)]]).await;
        house.start(&world, config);
        house.rows(2).await;
        let deleted = json!({"type": "deleted", "id": "d", "account": 1, "object": "o", "version": 4});
        append(&house, &world, &[vec![event("c", "o", 2), deleted]]).await;
        let rows = outcomes(&house, 4, |rows| count(rows, Outcome::Routed) >= 2).await;
        house.stop().await.expect("a clean stop");
        let routed: Vec<(&str, bool)> = rows
            .iter()
            .filter(|row| row.outcome == Outcome::Routed)
            .map(|row| (&*row.delivery_key, row.window.is_some()))
            .collect();
        assert_eq!(routed, [("b", true), ("d", false)]);
        let types: Vec<String> = house
            .events()
            .await
            .into_iter()
            .map(|(meta, _)| meta.event_type)
            .collect();
        assert_eq!(types, ["changed", "deleted"], "in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_kept_whole_are_handed_over_as_a_list() {
    let settings =
        json!({"debounce": {"quiet_ms": 60_000, "max_wait_ms": 60_000, "keep": "all", "max_events": 5}});
    let world = world(&settings);
    let mut house = House::new().await;
    let requests: Vec<Vec<Value>> = (0..5).map(|n| vec![event(&n.to_string(), "o", n)]).collect();
    append(&house, &world, &requests[..2]).await;
    house.start(&world, Config::default());
    house.rows(2).await;
    append(&house, &world, &requests[2..]).await;
    let rows = outcomes(&house, 5, |rows| count(rows, Outcome::Routed) >= 1).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(count(&rows, Outcome::Debounced), 4);
    let events = house.events().await;
    let [(meta, message)] = events.as_slice() else {
        panic!("one event is handed on: {events:?}");
    };
    let list: Vec<Value> = serde_json::from_slice(&message.value).expect("a JSON list");
    assert_eq!(list, requests.concat());
    assert_eq!(meta.id, rows[4].event_id, "under the last one's id");
    assert_eq!(meta.coalesced.as_ref().expect("a list").ids.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_a_connection_follow_its_own_settings() {
    let mut world = world(&json!({"dedupe": false}));
    let own: FloodSettings = serde_json::from_value(json!({"dedupe": true})).expect("settings");
    for entity in &mut world.entities {
        if let Entity::Connection(connection) = entity
            && connection.id == "c1"
        {
            connection.details.flood = own.clone();
        }
    }
    let mut house = House::new().await;
    let mut other = event("a", "o", 1);
    other["account"] = json!(2);
    append(
        &house,
        &world,
        &[vec![event("a", "o", 1), event("a", "o", 1), other.clone(), other]],
    )
    .await;
    house.start(&world, Config::default());
    let rows = outcomes(&house, 4, |_| true).await;
    house.stop().await.expect("a clean stop");
    let found: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
    use Outcome::{Duplicate, Routed};
    assert_eq!(found, [Routed, Duplicate, Routed, Routed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_appended_twice_has_its_outcomes_once_and_a_replay_is_decided_again() {
    let world = world(&json!({}));
    let mut house = House::new().await;
    let body = json!({ "events": [event("a", "o", 1)] }).to_string();
    let (meta, body) = world.request(&[("x-token", TOKEN)], body);
    let pointers = house
        .append(0, vec![(meta.clone(), body.clone()), (meta.clone(), body)])
        .await;
    house.start(&world, Config::default());
    house.rows(1).await;
    let mut replay = world.request(&[], "").0;
    replay.kind = RequestKind::Replay;
    replay.replay = Some(tidegate_schemas::ReplayOf {
        pointer: pointers[0],
        position: None,
    });
    house.append(0, vec![(replay, bytes::Bytes::new())]).await;
    let rows = house.rows(2).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert!(rows.iter().all(|row| row.outcome == Outcome::Routed));
    assert_eq!(rows[0].event_id, rows[1].event_id);
    assert!(rows[1].commit > rows[0].commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_beyond_a_rate_wait_their_turn_and_hold_up_nobody() {
    let world = world(&json!({"rate": {"per_second": 20, "burst": 5}}));
    let mut house = House::new().await;
    let mut quiet = event("quiet", "q", 1);
    quiet["account"] = json!(2);
    let mut requests: Vec<Vec<Value>> = (0..3)
        .map(|n| {
            (0..10)
                .map(|m| event(&format!("{n}-{m}"), "o", n * 10 + m))
                .collect()
        })
        .collect();
    requests.push(vec![quiet]);
    append(&house, &world, &requests).await;
    house.start(&world, Config::default());
    house.rows(8).await;
    // What waits is in the journal.
    house.stop().await.expect("a clean stop");
    house = house.reopened().await;
    house.start(&world, Config::default());
    let mut rows = outcomes(&house, 31, |_| true).await;
    house.stop().await.expect("a clean stop");
    assert_eq!((rows.len(), count(&rows, Outcome::Routed)), (31, 31));
    let quiet = rows.pop().expect("the last one sent");
    let commits: Vec<u64> = rows.iter().map(|row| row.commit).collect();
    assert!(commits.is_sorted(), "a connection keeps its order: {commits:?}");
    assert!(
        commits.iter().filter(|commit| **commit > quiet.commit).count() >= 20,
        "{commits:?} {quiet:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_whose_connection_is_gone_end_under_their_own_ids() {
    let with = world(&json!({"debounce": {"quiet_ms": 6_000, "max_wait_ms": 60_000}}));
    let mut house = House::new().await;
    let mut config = Config::default();
    config.flood.held_bytes_max = 0;
    append(
        &house,
        &with,
        &[vec![event("a", "o", 1)], vec![event("b", "o", 2)]],
    )
    .await;
    house.start(&with, config.clone());
    let held = house.rows(2).await;
    house.stop().await.expect("a clean stop");
    house = house.reopened().await;
    let mut without = World {
        entities: with.entities.clone(),
        ..world(&json!({}))
    };
    without.environment = with.environment;
    without.integration = with.integration.clone();
    without
        .entities
        .retain(|entity| !matches!(entity, Entity::Connection(connection) if connection.id == "c1"));
    house.start(&without, config);
    let rows = outcomes(&house, 2, |rows| count(rows, Outcome::Failed) >= 1).await;
    house.stop().await.expect("a clean stop");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.event_id, row.outcome, row.window))
        .collect();
    let ids: Vec<EventId> = held.iter().map(|row| row.event_id).collect();
    assert!(
        rows.iter().all(|row| ids.contains(&row.event_id)),
        "{found:?} {ids:?}"
    );
    assert_eq!((found[0].1, found[1].1), (Outcome::Debounced, Outcome::Failed));
    assert_eq!(found[0].2, found[1].2);
}
