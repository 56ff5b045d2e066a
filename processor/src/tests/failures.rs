//! What cannot be decided ends as `failed` with its reason and holds up nobody; only a newer version stops the reader.

use bytes::Bytes;
use tidegate_broker::Record;
use tidegate_schemas::{Outcome, Reason, Topic};

use super::lines::find_lines;
use super::{House, World};
use crate::{Config, Error};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_request_and_blocks_nobody() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let bodies = ["first", "panic", "last"];
    house
        .append(1, bodies.map(|body| world.request(&[], body)).to_vec())
        .await;
    house.start_finding(&world, Config::default(), find_lines);
    let rows = house.rows(3).await;
    let ends: Vec<_> = rows
        .iter()
        .map(|row| (row.request_offset, row.outcome, row.reason))
        .collect();
    let expected = [
        (0, Outcome::Routed, Reason::Ok),
        (1, Outcome::Failed, Reason::Panicked),
        (2, Outcome::Routed, Reason::Ok),
    ];
    assert_eq!(ends, expected);
    assert_eq!(
        rows.get(1).map(|row| row.detail.as_str()),
        Some("the body says panic")
    );
    house.stop().await.expect("a panic is nobody else's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_another_thread_fails_its_request_alone() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let config = Config {
        chunk_requests: 2,
        ..Config::default()
    };
    let body = |at: usize| if at % 7 == 3 { "panic" } else { "fine" };
    house
        .append(0, (0..50).map(|at| world.request(&[], body(at))).collect())
        .await;
    house.start_finding(&world, config, find_lines);
    let rows = house.rows(50).await;
    for (at, row) in rows.iter().enumerate() {
        let expected = if body(at) == "panic" {
            Reason::Panicked
        } else {
            Reason::Ok
        };
        assert_eq!((row.request_offset, row.reason), (at as u64, expected));
    }
    house.stop().await.expect("a clean stop");
}

fn record(meta: &str) -> Record {
    Record {
        topic: Topic::Requests,
        partition: 0,
        key: Bytes::new(),
        meta: Bytes::copy_from_slice(meta.as_bytes()),
        value: Bytes::from_static(b"body"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_fails_and_blocks_nobody() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let known = format!(
        r#"{{"v":1,"kind":"received","environment":"{}","integration":"main"}}"#,
        world.environment
    );
    house
        .append_records(vec![record("nonsense"), record(&known)])
        .await;
    house.append(0, vec![world.request(&[], "fine")]).await;
    house.start_finding(&world, Config::default(), find_lines);
    let rows = house.rows(3).await;
    let ends: Vec<_> = rows
        .iter()
        .map(|row| (row.outcome, row.reason, row.integration.as_str()))
        .collect();
    let expected = [
        (Outcome::Failed, Reason::Undecodable, ""),
        (Outcome::Failed, Reason::Undecodable, "main"),
        (Outcome::Routed, Reason::Ok, "main"),
    ];
    assert_eq!(ends, expected);
    assert_eq!(rows.get(1).map(|row| row.environment), Some(world.environment));
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_stops_the_processor_and_says_so() {
    let world = World::new("lines");
    let mut house = House::new().await;
    house.append(0, vec![world.request(&[], "fine")]).await;
    house.append_records(vec![record(r#"{"v":2}"#)]).await;
    house.start_finding(&world, Config::default(), find_lines);
    let error = house
        .ended()
        .await
        .expect_err("a newer version cannot be passed over");
    assert!(
        matches!(
            error,
            Error::Newer {
                partition: 0,
                offset: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_what_is_not_configured_fails() {
    let world = World::new("lines");
    let other = World::new("lines");
    let mut house = House::new().await;
    house
        .append(0, vec![other.request(&[], "fine"), world.request(&[], "fine")])
        .await;
    house.start(&world, Config::default());
    let rows = house.rows(2).await;
    let reasons: Vec<_> = rows.iter().map(|row| (row.outcome, row.reason)).collect();
    let expected = [
        (Outcome::Failed, Reason::IntegrationGone),
        (Outcome::Failed, Reason::DefinitionMissing),
    ];
    assert_eq!(reasons, expected);
    house.stop().await.expect("a clean stop");
}
