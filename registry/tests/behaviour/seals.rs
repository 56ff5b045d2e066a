//! Secrets at rest: the journal holds no plaintext, a wrong key opens nothing, and keys rotate.

use tidegate_registry::{Entity, OpenError, Write, Writer};
use tidegate_schemas::Topic;

use super::opened::{NOW, broker, connection, endpoint, everything, keyring, limits, open_with, stored};

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
    let range = opened.broker.offsets(Topic::Registry, 0);
    let mut reader = opened.broker.reader(Topic::Registry, 0, range.start);
    let mut bytes = Vec::new();
    while reader.position() < range.end {
        for message in reader.next(100, 1 << 20).await.expect("reads") {
            bytes.extend_from_slice(&message.value);
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("acme") && text.contains("authorization"),
        "the entities are there"
    );
    assert!(!text.contains("plaintext"));
}

#[tokio::test]
async fn a_wrong_key_opens_no_registry_and_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    open_with(&broker, &[1]).await.base().await;
    let refused = Writer::open(&broker, keyring(&[2]), (&limits(), None)).await;
    let error = refused.err().expect("refused");
    assert!(
        matches!(error, OpenError::Journal(_)) && error.to_string().contains("not among the configured keys")
    );
    open_with(&broker, &[1]).await;
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
