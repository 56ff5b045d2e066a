//! Several processes on one registry: writes handed in where nobody writes, races, and takeovers. In: processes that
//! share one log in this one, and pass sealed bytes to one another by a table of addresses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate_broker::Broker;
use tidegate_registry::{
    Config, Desk, Endpoint, Entity, EntityRef, Environment, Follower, Integration, Pass, PassError, Registry,
    Write, WriteError, Writer,
};
use tidegate_schemas::Secret;

use super::opened::{NOW, broker, endpoint, everything, keyring, limits};

/// Who is reached at which address.
type Reached = Arc<Mutex<HashMap<String, Desk>>>;

/// What runs in one process.
struct Process {
    desk: Desk,
    registry: Registry,
    name: &'static str,
}

struct Town {
    broker: Broker,
    reached: Reached,
    config: Config,
}

impl Town {
    fn new(broker: &Broker, config: Config) -> Self {
        Self {
            broker: broker.clone(),
            reached: Reached::default(),
            config,
        }
    }

    /// A process with the keys that begin with `key`.
    async fn process(&self, name: &'static str, key: u8) -> Process {
        let ring = keyring(&[key]);
        let (registry, follower) = Follower::open(&self.broker, ring.clone(), (&self.config, true));
        tokio::spawn(follower.run());
        registry.ready().await.expect("the follower runs");
        let reached = self.reached.clone();
        let pass: Pass = Arc::new(move |address, sealed| {
            let there = reached
                .lock()
                .expect("no test panics with it")
                .get(&address)
                .cloned();
            Box::pin(async move {
                let there = there.ok_or_else(|| PassError::Unreached("nobody is there".to_owned()))?;
                let answer = there.answer(&sealed).await;
                answer.map_err(|error| PassError::Refused(error.to_string()))
            })
        });
        let desk = Desk::new(registry.clone(), ring, (&self.config, Some(pass)));
        let known = self.reached.lock();
        known
            .expect("no test panics with it")
            .insert(name.to_owned(), desk.clone());
        Process { desk, registry, name }
    }

    /// The process writes the registry from now on.
    async fn appoint(&self, process: &Process) -> Writer {
        let writer = Writer::take_over(
            (&self.broker, &process.registry),
            keyring(&[1]),
            (&self.config, Some(process.name.to_owned())),
        );
        let writer = writer.await.unwrap_or_else(|error| panic!("{error}"));
        process.desk.appoint(writer.clone());
        writer
    }
}

fn put(entity: Entity) -> Vec<Write> {
    vec![Write::put(entity)]
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_that_race_one_wins_and_the_other_has_a_conflict() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let town = Town::new(&broker, limits());
    let (one, two, api) = (
        town.process("one", 1).await,
        town.process("two", 1).await,
        town.process("api", 1).await,
    );
    town.appoint(&api).await;
    let environment = Environment::new("default", NOW);
    let written = one
        .desk
        .write(put(Entity::Environment(environment.clone())))
        .await;
    let written = written.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(written.generated.len(), 1, "the signing key is shown this once");
    let shown = written.generated[0].1.secret().expose().to_vec();
    let kept = two.registry.read_to_end().await.map(|()| {
        let tables = two.registry.read();
        let kept = tables.environment(&environment.id).expect("read to the end");
        kept.signing_keys[0].secret().expose().to_vec()
    });
    assert_eq!(kept, Ok(shown), "and it is the one that counts everywhere");
    for round in 0..20 {
        let name = format!("main-{round}");
        // The same name, by two entities.
        let named = [endpoint(environment.id, &name), endpoint(environment.id, &name)];
        let ended = race([&one, &two], named.clone()).await;
        assert_eq!(ended, ["taken", "won"], "round {round}, the name");
        // The same entity, at the same version.
        one.registry.read_to_end().await.expect("the follower runs");
        let current = named
            .iter()
            .find_map(|it| one.registry.read().endpoint(&it.id).cloned())
            .expect("one of them won");
        let changed = ["a", "b"].map(|kind| Endpoint {
            types: vec![kind.to_owned()],
            ..Endpoint::clone(&current)
        });
        let ended = race([&one, &two], changed).await;
        assert_eq!(ended, ["conflict", "won"], "round {round}, the entity");
    }
}

/// Both write at once; how each ended, sorted.
async fn race(processes: [&Process; 2], endpoints: [Endpoint; 2]) -> Vec<&'static str> {
    let writes: Vec<_> = processes
        .iter()
        .zip(endpoints)
        .map(|(process, endpoint)| {
            let desk = process.desk.clone();
            tokio::spawn(async move { desk.write(put(Entity::Endpoint(endpoint))).await })
        })
        .collect();
    let mut ended = Vec::new();
    for write in writes {
        ended.push(match write.await.expect("no panic") {
            Ok(_) => "won",
            Err(error) => {
                assert!(error.is_conflict(), "{error}");
                error.label()
            }
        });
    }
    ended.sort_unstable();
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_takeover_and_a_former_writer_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let town = Town::new(&broker, limits());
    let (ingest, first, second) = (
        town.process("ingest", 1).await,
        town.process("first", 1).await,
        town.process("second", 1).await,
    );
    let former = town.appoint(&first).await;
    let environment = Environment::new("default", NOW);
    let mut integration = Integration::new(environment.id, "crm", "any", NOW);
    integration.awaits_secret = true;
    let at = EntityRef::Integration(integration.id);
    let writes = vec![
        Write::put(Entity::Environment(environment.clone())),
        Write::put(Entity::Integration(integration.clone())),
    ];
    ingest
        .desk
        .write(writes)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    // It is gone, and nobody is at its address.
    town.reached.lock().expect("no panic").remove("first");
    let (desk, stored) = (ingest.desk.clone(), at.clone());
    let waiting = tokio::spawn(async move {
        desk.store_secret(&stored, &Secret::new("delivered-by-a-handshake"))
            .await
    });
    town.appoint(&second).await;
    waiting
        .await
        .expect("no panic")
        .unwrap_or_else(|error| panic!("{error}"));
    let tables = everything(&ingest.registry.read());
    let Some(Entity::Integration(kept)) = tables.get(&at) else {
        panic!("the integration is gone")
    };
    assert_eq!(kept.secrets[0].secret().expose(), b"delivered-by-a-handshake");
    assert!(!kept.awaits_secret, "and shown where it was handed in");
    // The former writer wakes up.
    former.overtaken().await;
    let late = former
        .write(put(Entity::Endpoint(endpoint(environment.id, "late"))), NOW)
        .await;
    assert!(late.is_err(), "a former writer has written: {late:?}");
    // Its own process hears of it and hands the same in, and it goes to the new one.
    first.desk.dismiss();
    let again = first
        .desk
        .write(put(Entity::Endpoint(endpoint(environment.id, "late"))));
    again.await.unwrap_or_else(|error| panic!("{error}"));
    second.registry.read_to_end().await.expect("the follower runs");
    let endpoints = second.registry.read().endpoints_of(&environment.id).len();
    assert_eq!(endpoints, 1, "exactly one of the two is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_writer_the_wait_is_bounded_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let impatient = Config {
        write_wait_ms: 300,
        ..limits()
    };
    let town = Town::new(&broker, impatient);
    let alone = town.process("alone", 1).await;
    let began = Instant::now();
    let refused = alone
        .desk
        .write(put(Entity::Environment(Environment::new("x", NOW))))
        .await;
    let error = refused.expect_err("nobody writes");
    assert!(
        matches!(error, WriteError::NoWriter { .. }) && error.is_retryable(),
        "{error}"
    );
    assert!(error.to_string().contains("role api"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_not_the_key_writes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let town = Town::new(&broker, limits());
    let stranger = town.process("stranger", 9).await;
    let api = town.process("api", 1).await;
    town.appoint(&api).await;
    stranger
        .registry
        .read_to_end()
        .await
        .expect("there is nothing sealed yet");
    let refused = stranger
        .desk
        .write(put(Entity::Environment(Environment::new("x", NOW))))
        .await;
    let error = refused.expect_err("its key is another");
    assert!(error.to_string().contains("key file"), "{error}");
    api.registry.read_to_end().await.expect("the follower runs");
    assert_eq!(api.registry.read().environments().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_hangs_is_not_waited_for_once_another_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = broker(directory.path()).await;
    let town = Town::new(&broker, limits());
    let (first, second) = (town.process("first", 1).await, town.process("second", 1).await);
    town.appoint(&first).await;
    let environment = Environment::new("default", NOW);
    let written = second
        .desk
        .write(put(Entity::Environment(environment.clone())))
        .await;
    written.unwrap_or_else(|error| panic!("{error}"));
    let ring = keyring(&[1]);
    let (asked, mut told) = tokio::sync::mpsc::channel(1);
    let hangs: Pass = Arc::new(move |_, _| {
        let asked = asked.clone();
        Box::pin(async move {
            // Who asks later asks the new writer, which this table does not know: it is told once.
            asked.send(()).await.expect("the test listens");
            std::future::pending().await
        })
    });
    let desk = Desk::new(second.registry.clone(), ring, (&town.config, Some(hangs)));
    let entity = Entity::Endpoint(endpoint(environment.id, "main"));
    let (handing, write) = (desk.clone(), put(entity));
    let waiting = tokio::spawn(async move { handing.write(write).await });
    told.recv().await.expect("it was passed on");
    desk.appoint(town.appoint(&second).await);
    let written = waiting.await.expect("no panic");
    assert_eq!(written.unwrap_or_else(|error| panic!("{error}")).versions, [1]);
}
