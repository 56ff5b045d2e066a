//! A process's last copy on disk: a start without reading the journal whole, and never an older truth.

use std::path::Path;

use tidegate_broker::Broker;
use tidegate_registry::{CopyError, Entity, Follower, Registry};
use tidegate_schemas::Topic;

use super::opened::{connection, everything, keyring, limits, open};

fn from_copy(broker: &Broker, path: &Path, key: u8) -> Result<(Registry, Follower), CopyError> {
    Follower::open_copy(broker, keyring(&[key]), (&limits(), true, path))
}

#[tokio::test]
async fn a_start_from_the_copy_goes_on_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let path = directory.path().join("registry.copy");
    let (registry, _follower) = from_copy(&opened.broker, &path, 1).expect("no copy yet is no error");
    assert!(!registry.runs_on_copy());
    let (_, integration) = opened.base().await;
    opened
        .put(Entity::Connection(connection(integration, "copied", "1")))
        .await;
    opened.registry.save_copy(&path).expect("writes");
    let copied = everything(&opened.registry.read());
    let (registry, follower) = from_copy(&opened.broker, &path, 1).expect("reads");
    assert!(
        registry.runs_on_copy() && everything(&registry.read()) == copied,
        "before anything is read"
    );
    let running = tokio::spawn(follower.run());
    registry.read_to_end().await.expect("runs");
    assert!(!registry.runs_on_copy(), "the journal's end has been read");
    opened
        .put(Entity::Connection(connection(integration, "later", "1")))
        .await;
    registry.read_to_end().await.expect("runs");
    assert!(everything(&registry.read()) == everything(&opened.registry.read()));
    running.abort();
}

#[tokio::test]
async fn a_copy_older_than_the_journal_is_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let path = directory.path().join("registry.copy");
    let (_, integration) = opened.base().await;
    opened
        .put(Entity::Connection(connection(integration, "gone", "1")))
        .await;
    opened.registry.save_copy(&path).expect("writes");
    let next = opened.broker.offsets(Topic::Registry, 0).end;
    let reference = tidegate_registry::EntityRef::Connection(integration, "gone".into());
    opened
        .writer
        .write(
            vec![tidegate_registry::Write::delete(reference)],
            super::opened::NOW,
        )
        .await
        .expect("is there");
    while opened.broker.offsets(Topic::Registry, 0).start <= next {
        let id = format!("c{}", opened.registry.read().connections_count());
        opened
            .put(Entity::Connection(connection(integration, &id, "1")))
            .await;
    }
    let (registry, follower) = from_copy(&opened.broker, &path, 1).expect("is left out");
    assert!(!registry.runs_on_copy());
    tokio::spawn(follower.run());
    registry.ready().await.expect("runs");
    assert!(
        everything(&registry.read()) == everything(&opened.registry.read()),
        "what was deleted stays so"
    );
}

#[tokio::test]
async fn a_damaged_copy_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    opened.base().await;
    let path = directory.path().join("registry.copy");
    opened.registry.save_copy(&path).expect("writes");
    let good = std::fs::read(&path).expect("reads");
    assert!(
        !String::from_utf8_lossy(&good).contains("plaintext"),
        "secrets stay sealed"
    );
    let error = from_copy(&opened.broker, &path, 2).err().expect("another key");
    assert!(
        error.to_string().contains("not among the configured keys"),
        "{error}"
    );
    for at in (0..good.len()).step_by(7) {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).expect("writes");
        let error = from_copy(&opened.broker, &path, 1).err().expect("a flipped bit");
        assert!(matches!(error, CopyError::Unusable { .. }) && error.to_string().contains("registry.copy"));
        std::fs::write(&path, &good[..at]).expect("writes");
        assert!(from_copy(&opened.broker, &path, 1).is_err(), "cut at {at}");
    }
}
