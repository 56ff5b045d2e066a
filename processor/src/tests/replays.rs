//! A `replay` command decides again: the same id replaces its outcome, a new one names the old.

use bytes::Bytes;
use tidegate_schemas::{EventId, Outcome, Pointer, Reason, ReplayOf, RequestKind, RequestMeta};

use super::lines::find_lines;
use super::{House, World};
use crate::Config;

fn command(world: &World, pointer: Pointer, position: Option<u32>) -> (RequestMeta, Bytes) {
    let (mut meta, _) = world.request(&[], "");
    meta.kind = RequestKind::Replay;
    meta.replay = Some(ReplayOf { pointer, position });
    (meta, Bytes::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_replaces_the_outcome_of_the_one_event_it_names() {
    let world = World::new("lines").without_endpoints();
    let mut house = House::new().await;
    let request = world.request(&[], "a\nb");
    let id = request.0.id;
    let pointer = house.append(0, vec![request]).await.remove(0);
    house.start_finding(&world, Config::default(), find_lines);
    let before = house.outcomes(2).await;
    assert!(
        before.values().all(|row| row.outcome == Outcome::NoEndpoint),
        "{before:?}"
    );
    house.stop().await.expect("a clean stop");
    // Now there is an endpoint, and the second event is asked for again.
    let mut mended = World::new("lines");
    mended.integration = world.integration.clone();
    mended.integration.environment = world.environment;
    mended.entities.clear();
    mended.environment = world.environment;
    mended.entities.extend(world.entities.clone());
    let endpoint = tidegate_registry::Endpoint::new(
        world.environment,
        "new",
        "https://example.com",
        super::RECEIVED_AT,
    );
    mended
        .entities
        .push(tidegate_registry::Entity::Endpoint(endpoint));
    house.append(0, vec![command(&mended, pointer, Some(1))]).await;
    house.start_finding(&mended, Config::default(), find_lines);
    let rows = house.rows(3).await;
    let again = rows.last().expect("three rows");
    assert_eq!(again.event_id, EventId::derive(id, 1, Some("b")));
    assert_eq!(
        (again.outcome, again.request_offset),
        (Outcome::Routed, pointer.offset)
    );
    assert_eq!(again.replay_of, Some(EventId::derive(id, 1, None)));
    let outcomes = house.outcomes(2).await;
    let ends: Vec<_> = outcomes.values().map(|row| (row.position, row.outcome)).collect();
    assert!(
        ends.contains(&(0, Outcome::NoEndpoint)) && ends.contains(&(1, Outcome::Routed)),
        "{ends:?}"
    );
    house.stop().await.expect("a clean stop");
    let events = house.events().await;
    assert_eq!(
        events.iter().map(|(meta, _)| meta.position).collect::<Vec<_>>(),
        [1]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_what_is_gone_or_was_never_there_fails() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let (mut refused, body) = world.request(&[], "a");
    refused.kind = RequestKind::Refused;
    let refused = house.append(0, vec![(refused, body)]).await.remove(0);
    let gone = Pointer {
        offset: 900,
        ..refused
    };
    let elsewhere = Pointer {
        partition: 1,
        ..refused
    };
    let commands = [gone, refused, elsewhere].map(|pointer| command(&world, pointer, None));
    house.append(0, commands.to_vec()).await;
    house.start_finding(&world, Config::default(), find_lines);
    let rows = house.rows(3).await;
    let reasons: Vec<_> = rows.iter().map(|row| (row.outcome, row.reason)).collect();
    let failed = |reason| (Outcome::Failed, reason);
    let expected = [
        failed(Reason::RequestGone),
        failed(Reason::Undecodable),
        failed(Reason::Undecodable),
    ];
    assert_eq!(reasons, expected);
    house.stop().await.expect("a clean stop");
}
