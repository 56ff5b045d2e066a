//! Whose an object is: of each connection and of each integration by itself; and what an object is after it was deleted,
//! and under another policy. Through the whole processor; nothing waits for a time, only for rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tidegate_registry::{Entity, Integration};
use tidegate_schemas::{EventMeta, EventRow, Outcome};

use super::floods::{TOKEN, append, count, event, outcomes, world};
use super::{House, RECEIVED_AT, World, stored};
use crate::Config;

/// Windows that only end by their number, however slow the machine.
fn windows_of(events: u32) -> Value {
    json!({"debounce": {"quiet_ms": 3_600_000, "max_wait_ms": 3_600_000, "max_events": events}})
}

async fn handed_on(house: &House) -> Vec<EventMeta> {
    house.events().await.into_iter().map(|(meta, _)| meta).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_several_connections_has_a_window_of_each() {
    let world = world(&windows_of(3)).connection("c3", &[("account", "1")], &[]);
    let mut house = House::new().await;
    let requests: Vec<Vec<Value>> = (0..3).map(|n| vec![event(&n.to_string(), "o", n)]).collect();
    append(&house, &world, &requests).await;
    house.start(&world, Config::default());
    // Each event is one of either connection.
    let rows = outcomes(&house, 6, |rows| count(rows, Outcome::Routed) >= 2).await;
    house.stop().await.expect("a clean stop");
    let mut by_connection: BTreeMap<&str, Vec<&EventRow>> = BTreeMap::new();
    for row in &rows {
        by_connection.entry(&row.connection).or_default().push(row);
    }
    assert_eq!(by_connection.keys().copied().collect::<Vec<_>>(), ["c1", "c3"]);
    for (connection, rows) in &by_connection {
        let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
        use Outcome::{Debounced, Routed};
        assert_eq!(outcomes, [Debounced, Debounced, Routed], "{connection}");
        let windows: BTreeSet<_> = rows.iter().map(|row| row.window).collect();
        assert_eq!(windows, BTreeSet::from([Some(rows[0].event_id)]), "{connection}");
    }
    let events = handed_on(&house).await;
    let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!((events.len(), ids.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_several_integrations_has_a_window_and_delivery_ids_of_each() {
    let mut world = world(&windows_of(2));
    let mut other = Integration::new(world.environment, "other", "acme-objects", RECEIVED_AT);
    other.flood = world.integration.flood.clone();
    other.secrets.push(stored(TOKEN));
    let connections: Vec<Entity> = world
        .entities
        .iter()
        .filter_map(|entity| match entity {
            Entity::Connection(connection) => Some(Entity::Connection(tidegate_registry::Connection {
                integration: other.id,
                ..connection.clone()
            })),
            _ => None,
        })
        .collect();
    world.entities.push(Entity::Integration(other));
    world.entities.extend(connections);
    let mut house = House::new().await;
    let request = |id: &str, version: u64, key: &str| {
        let body = json!({ "events": [event(id, "o", version)] }).to_string();
        let (mut meta, body) = world.request(&[("x-token", TOKEN)], body);
        key.clone_into(&mut meta.integration);
        (meta, body)
    };
    // The same deliveries of the same object of connections of the same name.
    let requests = [
        ("a", 1, "main"),
        ("a", 1, "other"),
        ("b", 2, "main"),
        ("b", 2, "other"),
    ];
    let requests = requests
        .map(|(id, version, key)| request(id, version, key))
        .to_vec();
    house.append(0, requests).await;
    house.start(&world, Config::default());
    let rows = outcomes(&house, 4, |rows| count(rows, Outcome::Routed) >= 2).await;
    house.stop().await.expect("a clean stop");
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.integration.as_str(), row.outcome))
        .collect();
    use Outcome::{Debounced, Routed};
    assert_eq!(
        told,
        [
            ("main", Debounced),
            ("other", Debounced),
            ("main", Routed),
            ("other", Routed)
        ]
    );
    assert_eq!((rows[0].window, rows[1].window), (rows[2].window, rows[3].window));
    assert_ne!(rows[0].window, rows[1].window);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_deleted_and_made_again_begins_anew_behind_its_newest_version() {
    let mut settings = windows_of(2);
    settings["order"] = json!(true);
    settings["detect_changes"] = json!(true);
    let world = world(&settings);
    let mut house = House::new().await;
    let of = |id: &str, version: u64| {
        let mut event = event(id, "o", version);
        event["content"]["name"] = json!("the same");
        event
    };
    let deleted = json!({"type": "deleted", "id": "d", "account": 1, "object": "o", "version": 4});
    let requests = [
        vec![of("a", 1), of("b", 2)],
        // A window is open when it is deleted: what that kept has not changed.
        vec![of("c", 3), deleted],
        // An older one comes late; then the object is there again, with the content it had.
        vec![of("e", 3), of("f", 5), of("g", 6)],
    ];
    append(&house, &world, &requests).await;
    house.start(&world, Config::default());
    let rows = outcomes(&house, 7, |rows| count(rows, Outcome::Routed) >= 3).await;
    house.stop().await.expect("a clean stop");
    let told: Vec<_> = rows.iter().map(|row| (&*row.delivery_key, row.outcome)).collect();
    use Outcome::{Debounced, Routed, Stale, Unchanged};
    assert_eq!(
        told,
        [
            ("a", Debounced),
            ("b", Routed),
            ("c", Unchanged),
            ("d", Routed),
            ("e", Stale),
            ("f", Debounced),
            ("g", Routed),
        ]
    );
    assert_ne!(rows[5].window, rows[2].window, "it has a new window");
    let types: Vec<String> = handed_on(&house)
        .await
        .into_iter()
        .map(|meta| meta.event_type)
        .collect();
    assert_eq!(types, ["changed", "deleted", "changed"]);
}

/// The same world under other settings.
fn turned(world: &World, settings: &Value) -> World {
    let mut integration = world.integration.clone();
    integration.flood = serde_json::from_value(settings.clone()).expect("settings");
    World {
        environment: world.environment,
        integration,
        entities: world.entities.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_window_keeps_how_it_was_opened_when_the_policy_changes() {
    let first = json!({"debounce": {"quiet_ms": 4_000, "max_wait_ms": 4_000, "keep": "first"}});
    let world = world(&first);
    let mut house = House::new().await;
    append(&house, &world, &[vec![event("a", "o", 1), event("b", "o", 2)]]).await;
    house.start(&world, Config::default());
    house.rows(2).await;
    house.stop().await.expect("a clean stop");
    house = house.reopened().await;
    // By now another event would be kept, and the window would never end.
    let then = json!({"debounce": {"quiet_ms": 3_600_000, "max_wait_ms": 3_600_000, "keep": "latest"}});
    let turned = turned(&world, &then);
    append(&house, &turned, &[vec![event("c", "o", 3)]]).await;
    house.start(&turned, Config::default());
    let rows = outcomes(&house, 3, |rows| count(rows, Outcome::Routed) >= 1).await;
    house.stop().await.expect("a clean stop");
    use Outcome::{Debounced, Routed};
    let told: Vec<_> = rows.iter().map(|row| (&*row.delivery_key, row.outcome)).collect();
    assert_eq!(
        told,
        [("a", Routed), ("b", Debounced), ("c", Debounced)],
        "the first is kept"
    );
    assert_eq!(rows[0].window, rows[1].window);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_more_objects_are_known_events_pass_and_their_rows_say_so() {
    let world = world(&json!({"order": true, "detect_changes": true}));
    let mut house = House::new().await;
    let mut config = Config::default();
    config.flood.objects_bytes_max = 0;
    // An older version follows each; the least that a table has room for holds a few of them all the same.
    let objects = 1_000;
    let requests: Vec<Vec<Value>> = (0..objects)
        .map(|n| {
            let object = format!("o{n}");
            vec![
                event(&format!("{n}-new"), &object, 9),
                event(&format!("{n}-old"), &object, 8),
            ]
        })
        .collect();
    append(&house, &world, &requests).await;
    house.start(&world, config);
    let rows = outcomes(&house, 2 * objects, |_| true).await;
    house.stop().await.expect("a clean stop");
    let note = "not compared: processor.flood.objects_bytes_max is reached";
    let uncompared: Vec<&EventRow> = rows.iter().filter(|row| row.detail == note).collect();
    assert!(uncompared.len() > objects, "{} say so", uncompared.len());
    assert!(uncompared.iter().all(|row| row.outcome == Outcome::Routed));
    let late = uncompared.iter().filter(|row| row.object_version == "8").count();
    assert_eq!(
        late + count(&rows, Outcome::Stale),
        objects,
        "each older one is stale, or its row says why not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_more_windows_may_be_open_events_pass_and_their_rows_say_so() {
    let world = world(&windows_of(1_000));
    let mut house = House::new().await;
    let mut config = Config::default();
    config.flood.windows_bytes_max = 0;
    let requests: Vec<Vec<Value>> = (0..3).map(|n| vec![event(&n.to_string(), "o", n)]).collect();
    append(&house, &world, &requests).await;
    house.start(&world, config);
    let rows = outcomes(&house, 3, |_| true).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(count(&rows, Outcome::Routed), 3);
    let says_so =
        |row: &EventRow| row.detail == "not held back: processor.flood.windows_bytes_max is reached";
    assert!(rows.iter().all(says_so), "{rows:#?}");
}
