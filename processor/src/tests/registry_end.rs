//! A verdict that a write to the registry could turn waits for the registry's end: here for a follower that begins to
//! read only after the request was taken.

use std::sync::Arc;

use tidegate_registry::{Entity, Follower, KEY_BYTES, Keyring, Write, Writer};
use tidegate_schemas::{Outcome, Secret};

use super::lines::find_lines;
use super::{House, RECEIVED_AT, World};
use crate::Config;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_the_request_counts_for_it() {
    let world = World::new("lines");
    let mut house = House::new().await;
    let keyring = Arc::new(Keyring::new(&[Secret::new([3u8; KEY_BYTES])]).expect("a key of the right size"));
    let config = tidegate_registry::Config {
        end_wait_ms: 60_000,
        ..tidegate_registry::Config::default()
    };
    let opened = Writer::open(&house.broker, keyring.clone(), (&config, None)).await;
    let (writer, _, writers_follower) = opened.expect("an empty registry");
    tokio::spawn(writers_follower.run());
    let mut entities = world.entities.clone();
    entities.insert(1, Entity::Integration(world.integration.clone()));
    for entity in entities {
        writer
            .write(vec![Write::put(entity)], RECEIVED_AT)
            .await
            .expect("a valid write");
    }
    let (registry, follower) = Follower::open(&house.broker, keyring, (&config, true));
    house.append(0, vec![world.request(&[], "a")]).await;
    house.start_reading(registry, Config::default(), find_lines);
    tokio::spawn(follower.run());
    let row = house.rows(1).await.remove(0);
    assert_eq!(row.outcome, Outcome::Routed, "{}", row.detail);
    house.stop().await.expect("a clean stop");
}
