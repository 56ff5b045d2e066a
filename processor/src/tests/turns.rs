//! An event that reaches several connections while one of them waits its turn: what becomes of it then is its own affair,
//! and the others, which have their outcomes already, get no second one.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::{Value, json};
use tidegate_registry::{Entity, Integration};
use tidegate_schemas::{EventRow, Outcome, Reason, RequestId};

use super::lines::find_lines;
use super::waiting::{KeyServer, impatient};
use super::{House, World};
use crate::Config;
use crate::event::Finding;
use crate::examine::Context;
use crate::request::Request;

const TOKEN: &str = "a-token";

/// Two connections, of which the first goes at this rate.
fn world(provider: &str, rate: &Value) -> World {
    let account = [("account", "1")];
    let mut world = World::new(provider)
        .secret(TOKEN)
        .connection("slow", &account, &[])
        .connection("free", &account, &[]);
    for entity in &mut world.entities {
        if let Entity::Connection(connection) = entity
            && connection.id == "slow"
        {
            let settings = json!({ "rate": rate });
            connection.details.flood = serde_json::from_value(settings).expect("settings");
        }
    }
    world
}

/// Each event's request, by its number, with its connection and its outcome.
fn told(rows: &[EventRow]) -> Vec<(u64, &str, Outcome)> {
    let mut told: Vec<_> = rows
        .iter()
        .map(|row| (row.request_offset, row.connection.as_str(), row.outcome))
        .collect();
    told.sort_unstable();
    told
}

/// Finds what the lines behind the first say, and from the second time on only when the key of the first is there.
fn find_with_a_key_that_expires(
    request: &Request,
    integration: &Integration,
    context: &Context<'_>,
) -> Finding {
    static SEEN: Mutex<Option<HashSet<RequestId>>> = Mutex::new(None);
    let text = std::str::from_utf8(&request.body).expect("a test's body is text");
    let (key, lines) = text.split_once('\n').expect("a key stands before the lines");
    let of = |text: &str| Request {
        body: text.to_owned().into(),
        ..request.clone()
    };
    let mut seen = SEEN.lock().expect("nobody panics with it");
    if !seen.get_or_insert_default().insert(request.meta.id) {
        let finding = find_lines(&of(key), integration, context);
        if matches!(finding, Finding::Undecided(_)) {
            return finding;
        }
    }
    find_lines(&of(lines), integration, context)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_when_a_turn_comes_decides_nothing_again_for_others() {
    let world = world("lines", &json!({"per_second": 5, "burst": 1}));
    let server = KeyServer::start(&[(200, "{\"secret\":\"s\"}")]).await;
    let mut house = House::new().await;
    let body = format!("{}\nslow free", server.body());
    let requests = (0..2).map(|_| world.request(&[], body.clone())).collect();
    house.append(0, requests).await;
    house.start_finding(&world, impatient(), find_with_a_key_that_expires);
    // The second request's event waits for its turn, and then for the key.
    assert_eq!(house.rows(3).await.len(), 3);
    server.asked_for().await;
    // Where it stands survives a restart.
    house.stop().await.expect("a clean stop");
    let mut house = house.reopened().await;
    server.open.send_replace(true);
    house.start_finding(&world, impatient(), find_with_a_key_that_expires);
    let rows = house.rows(4).await;
    house.stop().await.expect("a clean stop");
    use Outcome::Routed;
    assert_eq!(
        told(&rows),
        [
            (0, "free", Routed),
            (0, "slow", Routed),
            (1, "free", Routed),
            (1, "slow", Routed)
        ]
    );
    assert_eq!(house.rows(4).await.len(), 4, "one outcome for each event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_gone_when_its_turn_comes_takes_nothing_from_others() {
    let with = world("acme", &json!({"per_second": 1, "burst": 1}));
    let mut house = House::new().await;
    // So many that some still wait when the processor has been started again, however slow that is.
    let events: Vec<Value> = (0..60)
        .map(|n| json!({"type": "changed", "id": n.to_string(), "account": "1"}))
        .collect();
    let body = json!({ "events": events }).to_string();
    house
        .append(0, vec![with.request(&[("x-token", TOKEN)], body)])
        .await;
    house.start(&with, Config::default());
    house.rows(61).await;
    house.stop().await.expect("a clean stop");
    house = house.reopened().await;
    let mut without = world("acme", &json!({"per_second": 1, "burst": 1}));
    (without.environment, without.integration) = (with.environment, with.integration.clone());
    without.entities = with.entities.clone();
    without
        .entities
        .retain(|entity| !matches!(entity, Entity::Connection(connection) if connection.id == "slow"));
    // Nor does it wait for a connection that may still be created.
    let config = Config {
        unattributed_wait_ms: 600_000,
        ..Config::default()
    };
    house.start(&without, config);
    let rows = house.rows(120).await;
    house.stop().await.expect("a clean stop");
    assert_eq!(rows.len(), 120);
    let of = |connection: &'static str| rows.iter().filter(move |row| row.connection == connection);
    assert_eq!(
        (of("free").count(), of("slow").count()),
        (60, 60),
        "{:?}",
        told(&rows)
    );
    assert!(of("free").all(|row| row.outcome == Outcome::Routed));
    let gone: Vec<_> = of("slow").filter(|row| row.outcome == Outcome::Failed).collect();
    assert!(!gone.is_empty(), "{:?}", told(&rows));
    assert!(
        gone.iter()
            .all(|row| row.reason == Reason::RequestGone && row.detail.contains("deleted"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_to_wait_passes_and_says_so() {
    let world = world("acme", &json!({"per_second": 1, "burst": 1}));
    let mut house = House::new().await;
    let events: Vec<Value> = (0..5)
        .map(|n| json!({"type": "changed", "id": n.to_string(), "account": "1"}))
        .collect();
    let body = json!({ "events": events }).to_string();
    house
        .append(0, vec![world.request(&[("x-token", TOKEN)], body)])
        .await;
    let config = Config {
        set_aside_bytes_max: 1,
        ..Config::default()
    };
    house.start(&world, config);
    let rows = house.rows(10).await;
    house.stop().await.expect("a clean stop");
    let says_so = |row: &&EventRow| row.detail.contains("set_aside_bytes_max");
    assert!(rows.iter().all(|row| row.outcome == Outcome::Routed));
    assert_eq!(rows.iter().filter(says_so).count(), 4, "{rows:#?}");
    assert!(rows.iter().filter(says_so).all(|row| row.connection == "slow"));
}
