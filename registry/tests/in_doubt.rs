//! A write of the registry whose answer never comes: a real Kafka stands still while the writer waits for it. The
//! journal is opened again, tells what became of the write, and takes the next one.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Broker, kafka};
use tidegate_registry::{
    Config, Endpoint, Entity, Environment, Follower, KEY_BYTES, Keyring, Write, WriteError, Writer,
};
use tidegate_schemas::{Secret, UnixMillis};
use tidegate_testkit::kafka::{Kafka, unique_prefix};
use tidegate_testkit::server::Signal;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// How long Kafka stands still: longer than an append may take.
const STILL: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_doubt_is_found_out_and_the_journal_opened_again() {
    let node = Kafka::start(1).await;
    let on_kafka = kafka::Config {
        bootstrap: node.bootstrap(),
        prefix: unique_prefix("doubt"),
        append_timeout_ms: 1_500,
        question_timeout_ms: 60_000,
        ..kafka::Config::default()
    };
    let broker = Broker::connect(&on_kafka).await.expect("the node answers");
    let config = Config {
        end_wait_ms: 60_000,
        ..Config::default()
    };
    let keyring = Keyring::new(&[Secret::new([1; KEY_BYTES])]).expect("a key of 32 bytes");
    let keyring = Arc::new(keyring);
    let (registry, follower) = Follower::open(&broker, keyring.clone(), (&config, true));
    tokio::spawn(follower.run());
    let writer = Writer::take_over((&broker, &registry), keyring, (&config, None)).await;
    let writer = writer.unwrap_or_else(|error| panic!("{error}"));
    let environment = Environment::new("default", NOW);
    let put = |entity| vec![Write::put(entity)];
    let written = writer
        .write(put(Entity::Environment(environment.clone())), NOW)
        .await;
    written.unwrap_or_else(|error| panic!("{error}"));
    for round in 0..3 {
        let name = format!("main-{round}");
        let endpoint = Endpoint::new(environment.id, &name, "https://example.com/hook", NOW);
        node.signal(0, Signal::STOP);
        let writing = {
            let (writer, writes) = (writer.clone(), put(Entity::Endpoint(endpoint.clone())));
            tokio::spawn(async move { writer.write(writes, NOW).await })
        };
        tokio::time::sleep(STILL).await;
        assert!(
            !writing.is_finished(),
            "round {round}: it is not known yet what became of it"
        );
        node.signal(0, Signal::CONT);
        let written = writing.await.expect("no panic");
        let written = written.unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(written.versions, [1], "round {round}: written once");
        let again = writer.write(put(Entity::Endpoint(endpoint.clone())), NOW).await;
        let again = again.expect_err("it is there");
        assert!(
            matches!(again, WriteError::Conflict { found: 1, .. }),
            "round {round}: {again}"
        );
        let next = Endpoint {
            version: 1,
            ordered: true,
            ..endpoint
        };
        let next = writer.write(put(Entity::Endpoint(next)), NOW).await;
        assert_eq!(next.unwrap_or_else(|error| panic!("{error}")).versions, [2]);
    }
    assert_eq!(registry.read().endpoints_of(&environment.id).len(), 3);
    broker.close().await.expect("closes");
}
