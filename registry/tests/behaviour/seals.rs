//! Secrets at rest: the journal holds no plaintext, a wrong key opens nothing, and keys rotate.

use tidegate_registry::{Entity, OpenError, Write, Writer};
use tidegate_schemas::Topic;

use super::opened::{
    NOW, Opened, broker, connection, endpoint, everything, journal_text, keyring, limits, open_with, stored,
};

#[tokio::test]
async fn nothing_in_the_journal_is_plaintext() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open_with(&broker(directory.path()).await, &[1]).await;
    let (environment, integration) = opened.base().await;
    let mut acme = connection(integration, "acme", "1");
    acme.details.secrets = vec![stored("plaintext-of-the-connection")];
    opened.put(Entity::Connection(acme)).await;
    let mut main = endpoint(environment, "main");
    main.headers = vec![tidegate_registry::StaticHeader {
        name: "authorization".into(),
        value: stored("Bearer plaintext-of-the-header"),
    }];
    opened.put(Entity::Endpoint(main)).await;
    let text = journal_text(&opened).await;
    assert!(
        text.contains("acme") && text.contains("authorization"),
        "the entities are there"
    );
    assert!(!text.contains("plaintext"));
}

#[tokio::test]
async fn a_wrong_key_opens_no_registry_and_unseats_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = open_with(&broker(directory.path()).await, &[1]).await;
    let (environment, _) = running.base().await;
    refused_with_key_2(&running).await;
    let endpoint = endpoint(environment, "after");
    running.put(Entity::Endpoint(endpoint)).await;
}

/// With on-demand secrets alone the tables could be filled, but nothing could ever be verified.
#[tokio::test]
async fn a_key_that_opens_no_connection_is_wrong_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = open_with(&broker(directory.path()).await, &[1]).await;
    let (_, integration) = running.base().await;
    let bare = running.registry.read().integration_by_id(&integration).cloned();
    let mut bare = bare.expect("was just written").as_ref().clone();
    bare.secrets.clear();
    running.put(Entity::Integration(bare)).await;
    let mut acme = connection(integration, "acme", "1");
    acme.details.secrets = vec![stored("of-the-connection")];
    running.put(Entity::Connection(acme)).await;
    refused_with_key_2(&running).await;
    running
        .put(Entity::Connection(connection(integration, "after", "2")))
        .await;
}

async fn refused_with_key_2(running: &Opened) {
    let end = running.broker.offsets(Topic::Registry, 0).end;
    let refused = Writer::open(&running.broker, keyring(&[2]), (&limits(), None)).await;
    let error = refused.err().expect("refused");
    assert!(
        matches!(error, OpenError::Journal(_)) && error.to_string().contains("not among the configured keys"),
        "{error}"
    );
    assert_eq!(
        running.broker.offsets(Topic::Registry, 0).end,
        end,
        "nothing was appended"
    );
}

#[tokio::test]
async fn after_resealing_the_old_key_is_needed_no_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let first = open_with(&broker, &[1]).await;
    let (_, integration) = first.base().await;
    for hundred in 0..6 {
        let writes = (0..100).map(|number| {
            let mut it = connection(integration, &format!("c{hundred}-{number}"), "1");
            it.details.secrets = vec![stored(&format!("secret-{number}"))];
            Write::put(Entity::Connection(it))
        });
        first.writer.write(writes.collect(), NOW).await.expect("all new");
    }
    let rotated = open_with(&broker, &[2, 1]).await;
    assert_eq!(rotated.writer.reseal(NOW).await.expect("reseals"), 602);
    assert_eq!(rotated.writer.reseal(NOW).await.expect("nothing left"), 0);
    let before = everything(&rotated.registry.read());
    let new = open_with(&broker, &[2]).await;
    assert!(everything(&new.registry.read()) == before);
}
