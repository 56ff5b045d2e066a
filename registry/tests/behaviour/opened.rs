//! A registry on an embedded log in a temporary directory, for the tests beside.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tidegate_broker::{Broker, embedded};
use tidegate_registry::{
    Config, Connection, Endpoint, Entity, EntityRef, Environment, Follower, Integration, KEY_BYTES, Keyring,
    Registry, StoredSecret, Tables, Write, Writer,
};
use tidegate_schemas::{EnvironmentId, IntegrationId, Secret, Topic, UnixMillis};

pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// A writer whose follower runs.
pub struct Opened {
    pub broker: Broker,
    pub writer: Writer,
    pub registry: Registry,
}

pub fn keyring(keys: &[u8]) -> Arc<Keyring> {
    let keys: Vec<Secret> = keys.iter().map(|byte| Secret::new([*byte; KEY_BYTES])).collect();
    Arc::new(Keyring::new(&keys).expect("keys of 32 bytes"))
}

pub fn small_log() -> embedded::Config {
    let mib = 1024 * 1024;
    embedded::Config {
        segment_bytes: 4 * mib,
        body_message_bytes_max: 1024 * 1024,
        rows_message_bytes_max: 1024 * 1024,
        tail_bytes_max: 4 * 1024 * 1024,
        disk_bytes_max: 256 * mib,
        ..embedded::Config::default()
    }
}

pub fn limits() -> Config {
    Config {
        // Nothing here waits for that long unless it must fail.
        end_wait_ms: 30_000,
        write_bytes_max: 512 * 1024,
        ..Config::default()
    }
}

pub async fn broker(directory: &Path) -> Broker {
    Broker::open(&small_log(), directory).await.expect("opens")
}

/// Opens a registry for writing with the first of `keys` and lets its follower run.
pub async fn open_with(broker: &Broker, keys: &[u8]) -> Opened {
    let opened = Writer::open(broker, keyring(keys), (&limits(), None)).await;
    let (writer, registry, follower) = opened.unwrap_or_else(|error| panic!("{error}"));
    tokio::spawn(follower.run());
    registry.ready().await.expect("the follower runs");
    Opened {
        broker: broker.clone(),
        writer,
        registry,
    }
}

pub async fn open(directory: &Path) -> Opened {
    let broker = broker(directory).await;
    open_with(&broker, &[1]).await
}

/// Another process's view of the same log.
pub fn follow(broker: &Broker) -> Registry {
    let (registry, follower) = Follower::open(broker, keyring(&[1]), (&limits(), true));
    tokio::spawn(follower.run());
    registry
}

impl Opened {
    pub async fn put(&self, entity: Entity) -> u64 {
        let written = self.writer.write(vec![Write::put(entity)], NOW).await;
        written.unwrap_or_else(|error| panic!("{error}")).versions[0]
    }

    /// An environment and an integration in it.
    pub async fn base(&self) -> (EnvironmentId, IntegrationId) {
        let environment = Environment::new("default", NOW);
        let mut integration = Integration::new(environment.id, "crm", "any", NOW);
        integration.secrets = vec![stored("a-very-long-plaintext")];
        let ids = (environment.id, integration.id);
        let writes = vec![
            Write::put(Entity::Environment(environment)),
            Write::put(Entity::Integration(integration)),
        ];
        self.writer
            .write(writes, NOW)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        ids
    }
}

pub fn stored(text: &str) -> StoredSecret {
    StoredSecret::new(Secret::new(text))
}

pub fn connection(integration: IntegrationId, id: &str, account: &str) -> Connection {
    Connection::new(integration, id, NOW).with_property("account", account)
}

pub fn endpoint(environment: EnvironmentId, name: &str) -> Endpoint {
    Endpoint::new(environment, name, "https://example.com/hook", NOW)
}

/// Everything there is, secrets open.
pub fn everything(tables: &Tables) -> BTreeMap<EntityRef, Entity> {
    let mut references: Vec<EntityRef> = vec![EntityRef::Layout];
    for environment in tables.environments() {
        references.push(EntityRef::Environment(environment.id));
        references.extend(
            tables
                .endpoints_of(&environment.id)
                .iter()
                .map(|it| EntityRef::Endpoint(it.id)),
        );
    }
    for integration in tables.integrations() {
        references.push(EntityRef::Integration(integration.id));
        let connections = tables.connections_of(integration.id);
        references.extend(connections.map(|it| EntityRef::Connection(it.integration(), it.id().to_owned())));
    }
    references.extend(tables.api_keys().map(|it| EntityRef::ApiKey(it.id)));
    let entities = references.into_iter().map(|reference| {
        let entity = tables
            .entity(&reference)
            .expect("its secrets open")
            .expect("was just listed");
        (reference, entity)
    });
    entities.collect()
}

/// Every byte of the registry's journal, as text.
pub async fn journal_text(opened: &Opened) -> String {
    let range = opened.broker.offsets(Topic::Registry, 0);
    let mut reader = opened.broker.reader(Topic::Registry, 0, range.start);
    let mut bytes = Vec::new();
    while reader.position() < range.end {
        for message in reader.next(100, 1 << 20).await.expect("reads") {
            bytes.extend_from_slice(&message.value);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
