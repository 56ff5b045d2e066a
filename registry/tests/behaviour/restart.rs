//! Restarts, takeovers and followers: the journal alone holds the registry.

use std::io::ErrorKind;
use std::path::Path;

use tidegate_broker::journal::{ChangeError, Changes, Commit, Journal, JournalError, Tables};
use tidegate_registry::{
    ApiKey, Change, Config, Endpoint, Entity, EntityRef, Follower, Integration, Layout, OpenError, Write,
    WriteError, Writer,
};
use tidegate_schemas::Topic;

use super::opened::{
    NOW, Opened, broker, connection, endpoint, everything, follow, keyring, limits, open, open_with, stored,
};

/// Writes of every kind, one after the other.
async fn history(opened: &Opened) -> Vec<Vec<Write>> {
    let (environment, integration) = opened.base().await;
    let first = endpoint(environment, "first");
    let mut later = Integration::new(environment, "later", "any", NOW);
    later.cfg.insert("region".into(), "eu".into());
    let mut detailed = connection(integration, "detailed", "7");
    detailed
        .details
        .metadata
        .insert("plan".into(), serde_json::json!({"seats": 3}));
    detailed.details.secrets = vec![stored("of-the-connection")];
    let mut history = vec![
        vec![Write::put(Entity::Endpoint(first.clone()))],
        vec![Write::put(Entity::Integration(later.clone()))],
        vec![Write::put(Entity::Connection(detailed))],
    ];
    for number in 0..5 {
        let id = format!("c{number}");
        history.push(vec![
            Write::put(Entity::Connection(connection(integration, &id, &id))),
            Write::put(Entity::Connection(connection(later.id, &id, "shared"))),
        ]);
    }
    history.extend([
        vec![Write::put(Entity::ApiKey(ApiKey::generate(None, "admin", NOW).0))],
        vec![Write::delete(EntityRef::Connection(integration, "c2".into()))],
        vec![Write::delete(EntityRef::Integration(later.id))],
        vec![Write::delete(EntityRef::Endpoint(first.id))],
        vec![Write::put(Entity::Endpoint(Endpoint {
            ordered: true,
            ..endpoint(environment, "first")
        }))],
        vec![Write::delete(EntityRef::Environment(environment))],
    ]);
    history
}

/// The log's files as a killed process would leave them. A file that the log renames meanwhile begins it anew.
fn copy(from: &Path, to: &Path) {
    while let Err(error) = try_copy(from, to) {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        std::fs::remove_dir_all(to).expect("is ours");
    }
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_between_any_two_writes_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let history = history(&opened).await;
    let count = history.len();
    for (step, writes) in history.into_iter().enumerate() {
        opened
            .writer
            .write(writes, NOW)
            .await
            .unwrap_or_else(|error| panic!("step {step}: {error}"));
        let left = tempfile::tempdir().expect("a directory");
        copy(directory.path(), left.path());
        let reopened = open(left.path()).await;
        let (expected, found) = (
            everything(&opened.registry.read()),
            everything(&reopened.registry.read()),
        );
        assert!(
            found == expected,
            "step {step}: {found:#?} instead of {expected:#?}"
        );
        reopened.broker.close().await.expect("closes");
    }
    assert_eq!(count, 14);
}

#[tokio::test]
async fn a_clean_restart_brings_everything_back_from_a_trimmed_journal() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (_, integration) = opened.base().await;
    for number in 0..300 {
        let id = format!("c{}", number % 40);
        let current = opened
            .registry
            .read()
            .connection(&integration, &id)
            .map(|it| it.version());
        let mut changed = connection(integration, &id, &number.to_string());
        changed.version = current.unwrap_or_default();
        opened.put(Entity::Connection(changed)).await;
    }
    assert!(
        opened.broker.offsets(Topic::Registry, 0).start > 100,
        "old rounds are trimmed"
    );
    let before = everything(&opened.registry.read());
    let follower = follow(&opened.broker);
    follower.ready().await.expect("reads it");
    assert!(
        everything(&follower.read()) == before,
        "who follows from the middle has all of it"
    );
    opened.broker.close().await.expect("closes");
    let left = tempfile::tempdir().expect("a directory");
    copy(directory.path(), left.path());
    let reopened = open(left.path()).await;
    assert!(everything(&reopened.registry.read()) == before);
}

#[tokio::test]
async fn a_follower_reads_to_the_end_that_was_there_when_it_was_asked() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let follower = follow(&opened.broker);
    let (_, integration) = opened.base().await;
    for number in 0..50 {
        let account = number.to_string();
        opened
            .put(Entity::Connection(connection(
                integration,
                &format!("c{number}"),
                &account,
            )))
            .await;
        follower.read_to_end().await.expect("the follower runs");
        assert_eq!(
            follower
                .read()
                .connections_by(&integration, "account", &account)
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn who_cannot_read_to_the_end_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let impatient = Config {
        end_wait_ms: 1,
        ..limits()
    };
    let (registry, follower) = Follower::open(&opened.broker, keyring(&[1]), (&impatient, true));
    registry
        .read_to_end()
        .await
        .expect_err("its follower does not run");
    drop(follower);
    registry.ready().await.expect_err("its follower is gone");
    let (registry, follower) = Follower::open(&opened.broker, keyring(&[2]), (&limits(), true));
    opened.base().await;
    let stopped = follower.run().await.expect_err("another key");
    assert!(matches!(stopped, JournalError::Change { .. }), "{stopped}");
    registry
        .ready()
        .await
        .expect_err("it has stopped, and says so at once");
}

#[tokio::test]
async fn a_follower_without_details_finds_connections_but_holds_no_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (_, integration) = opened.base().await;
    let mut detailed = connection(integration, "acme", "1");
    detailed.awaits_secret = true;
    detailed.details.tags.insert("team".into(), "blue".into());
    opened.put(Entity::Connection(detailed)).await;
    let (registry, follower) = Follower::open(&opened.broker, keyring(&[1]), (&limits(), false));
    tokio::spawn(follower.run());
    registry.ready().await.expect("runs");
    let tables = registry.read();
    let found = tables
        .connections_by(&integration, "account", "1")
        .next()
        .expect("is there");
    assert!(found.id() == "acme" && found.awaits_secret() && found.details().is_err());
    assert_eq!(tables.connection_bytes().details, 0);
    assert!(opened.registry.read().connection_bytes().details > 0);
}

#[tokio::test]
async fn a_former_writer_is_refused_and_follows_the_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path()).await;
    let (environment, _) = first.base().await;
    let second = open_with(&first.broker, &[1]).await;
    let late = Write::put(Entity::Endpoint(endpoint(environment, "late")));
    let error = first
        .writer
        .write(vec![late], NOW)
        .await
        .expect_err("another has opened");
    assert!(
        matches!(error, WriteError::Journal(JournalError::Lost { .. })),
        "{error}"
    );
    second.put(Entity::Endpoint(endpoint(environment, "new"))).await;
    first.registry.read_to_end().await.expect("its follower runs on");
    let tables = first.registry.read();
    assert!(tables.endpoint_by_name(&environment, "new").is_some());
    assert!(tables.endpoint_by_name(&environment, "late").is_none());
}

/// Tables that hold nothing: for writing a journal by hand.
struct Nothing;

impl Tables for Nothing {
    fn apply(&mut self, _change: &[u8]) -> Result<(), ChangeError> {
        Ok(())
    }

    fn slice(&self, _after: Option<&[u8]>, _bytes_max: usize, _out: &mut Changes) -> Option<Vec<u8>> {
        None
    }
}

#[tokio::test]
async fn a_registry_made_for_other_partition_counts_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let (mut journal, _) = Journal::open(&broker, (Topic::Registry, 0), &mut Nothing, |_| ())
        .await
        .expect("opens");
    let layout = Layout {
        requests_partitions: 64,
        events_partitions: 32,
        writer_address: None,
    };
    let mut commit = Commit::default();
    commit.changes.push(&Change::put(Entity::Layout(layout)).encode());
    journal.commit(commit, &Nothing).await.expect("commits");
    let refused = Writer::open(&broker, keyring(&[1]), (&limits(), None)).await;
    let error = refused.err().expect("refused");
    assert!(
        matches!(
            error,
            OpenError::Partitions {
                expected: 64,
                found: 32,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_writer_says_where_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let follower = follow(&broker);
    let address = Some("10.0.0.7:9000".to_owned());
    let opened = Writer::open(&broker, keyring(&[1]), (&limits(), address.clone())).await;
    let (_writer, registry, running) = opened.unwrap_or_else(|error| panic!("{error}"));
    tokio::spawn(running.run());
    registry.ready().await.expect("runs");
    follower.ready().await.expect("runs");
    assert_eq!(registry.writer_address(), address);
    assert_eq!(follower.writer_address(), address);
}
