//! What the writer takes and what it refuses.

use tidegate_registry::{
    ApiKey, Connection, Endpoint, EndpointState, Entity, EntityRef, Environment, Integration, Write,
    WriteError,
};
use tidegate_schemas::{EndpointId, EnvironmentId, Secret, UnixMillis};

use super::opened::{NOW, Opened, connection, endpoint, open, stored};

/// Makes an integration another one.
type Alteration = fn(&mut Integration);

async fn refused(opened: &Opened, writes: Vec<Write>) -> WriteError {
    let before = super::opened::everything(&opened.registry.read());
    let error = opened.writer.write(writes, NOW).await.expect_err("refused");
    assert!(
        super::opened::everything(&opened.registry.read()) == before,
        "a refused write changes nothing: {error}"
    );
    error
}

fn put_all(entities: impl IntoIterator<Item = Entity>) -> Vec<Write> {
    entities.into_iter().map(Write::put).collect()
}

/// The versions that a conflict names: the write's, and the entity's.
fn conflict(error: &WriteError) -> Option<(u64, u64)> {
    match error {
        WriteError::Conflict { expected, found, .. } => Some((*expected, *found)),
        _ => None,
    }
}

#[tokio::test]
async fn an_old_version_is_a_conflict() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, _) = opened.base().await;
    let first = endpoint(environment, "main");
    assert_eq!(opened.put(Entity::Endpoint(first.clone())).await, 1);
    let read = Endpoint::clone(opened.registry.read().endpoint(&first.id).expect("written"));
    let changed = Endpoint {
        ordered: true,
        ..read.clone()
    };
    let later = UnixMillis(NOW.0 + 5);
    let written = opened
        .writer
        .write(put_all([Entity::Endpoint(changed)]), later)
        .await;
    assert_eq!(written.expect("current").versions, [2]);
    let stale = refused(&opened, put_all([Entity::Endpoint(read)])).await;
    assert_eq!(conflict(&stale), Some((1, 2)), "{stale}");
    let again = refused(&opened, put_all([Entity::Endpoint(first.clone())])).await;
    assert_eq!(conflict(&again), Some((0, 2)), "{again}");
    let now = Endpoint::clone(opened.registry.read().endpoint(&first.id).expect("written"));
    assert!(now.ordered && now.created_at == NOW && now.updated_at == later);
}

#[tokio::test]
async fn deleting_an_old_version_is_a_conflict_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, _) = opened.base().await;
    let main = endpoint(environment, "main");
    opened.put(Entity::Endpoint(main.clone())).await;
    let delete = |version| Write::Delete {
        entity: EntityRef::Endpoint(main.id),
        version,
    };
    let error = refused(&opened, vec![delete(Some(7))]).await;
    assert_eq!(conflict(&error), Some((7, 1)), "{error}");
    opened
        .writer
        .write(vec![delete(Some(1))], NOW)
        .await
        .expect("current");
    for version in [Some(1), None] {
        assert!(matches!(
            refused(&opened, vec![delete(version)]).await,
            WriteError::NotFound { .. }
        ));
    }
}

#[tokio::test]
async fn of_many_writers_of_one_version_one_wins() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, _) = opened.base().await;
    let first = endpoint(environment, "main");
    opened.put(Entity::Endpoint(first.clone())).await;
    let read = Endpoint::clone(opened.registry.read().endpoint(&first.id).expect("written"));
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let (writer, mut entity) = (opened.writer.clone(), read.clone());
            entity.types = vec![format!("t{number}")];
            tokio::spawn(async move { writer.write(put_all([Entity::Endpoint(entity)]), NOW).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, WriteError::Conflict { .. }), "{error}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn names_are_unique_where_they_must_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, integration) = opened.base().await;
    let other = Environment::new("other", NOW);
    let key = |environment| Entity::ApiKey(ApiKey::generate(environment, "ci", NOW).0);
    opened.put(Entity::Environment(other.clone())).await;
    opened.put(Entity::Endpoint(endpoint(environment, "main"))).await;
    opened.put(key(None)).await;
    opened
        .put(Entity::Connection(connection(integration, "acme", "1")))
        .await;
    let taken = [
        Entity::Environment(Environment::new("default", NOW)),
        Entity::Integration(Integration::new(environment, "crm", "any", NOW)),
        Entity::Endpoint(endpoint(environment, "main")),
        key(None),
    ];
    for entity in taken {
        let reference = entity.reference();
        let error = refused(&opened, put_all([entity])).await;
        assert!(matches!(error, WriteError::Taken { .. }), "{reference}: {error}");
    }
    let again = refused(
        &opened,
        put_all([Entity::Connection(connection(integration, "acme", "2"))]),
    )
    .await;
    assert!(
        matches!(
            again,
            WriteError::Conflict {
                expected: 0,
                found: 1,
                ..
            }
        ),
        "{again}"
    );
    // The same names are free in another environment, and no value of a property need be unique.
    opened
        .put(Entity::Integration(Integration::new(other.id, "crm", "any", NOW)))
        .await;
    opened.put(Entity::Endpoint(endpoint(other.id, "main"))).await;
    opened.put(key(Some(other.id))).await;
    opened
        .put(Entity::Connection(connection(integration, "twin", "1")))
        .await;
    let tables = opened.registry.read();
    assert_eq!(tables.connections_by(&integration, "account", "1").count(), 2);
}

#[tokio::test]
async fn a_write_is_checked_against_its_own_earlier_steps() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, integration) = opened.base().await;
    let main = endpoint(environment, "main");
    opened.put(Entity::Endpoint(main.clone())).await;
    let twice = put_all([
        Entity::Endpoint(endpoint(environment, "a")),
        Entity::Endpoint(endpoint(environment, "a")),
    ]);
    assert!(matches!(refused(&opened, twice).await, WriteError::Taken { .. }));
    let gone = vec![
        Write::delete(EntityRef::Environment(environment)),
        Write::put(Entity::Connection(connection(integration, "late", "1"))),
    ];
    assert!(matches!(
        refused(&opened, gone).await,
        WriteError::NotFound { .. }
    ));
    let orphan = Endpoint::new(EnvironmentId::new(NOW), "x", "https://example.com", NOW);
    assert!(matches!(
        refused(&opened, put_all([Entity::Endpoint(orphan)])).await,
        WriteError::NotFound { .. }
    ));
    // A name that the same write frees can be taken.
    let successor = endpoint(environment, "main");
    let moved = vec![
        Write::delete(EntityRef::Endpoint(main.id)),
        Write::put(Entity::Endpoint(successor.clone())),
    ];
    opened.writer.write(moved, NOW).await.expect("the name is free");
    let tables = opened.registry.read();
    assert_eq!(
        tables.endpoint_by_name(&environment, "main").map(|it| it.id),
        Some(successor.id)
    );
}

#[tokio::test]
async fn deleting_takes_along_what_is_inside() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, integration) = opened.base().await;
    let mine = endpoint(environment, "main");
    let (key, text) = ApiKey::generate(Some(environment), "ci", NOW);
    let text = String::from_utf8(text.expose().to_vec()).expect("text");
    let entities = [
        Entity::Connection(connection(integration, "acme", "1")),
        Entity::Endpoint(mine.clone()),
        Entity::ApiKey(key),
    ];
    opened
        .writer
        .write(put_all(entities), NOW)
        .await
        .expect("all new");
    assert!(opened.registry.read().api_key_by_text(&text, NOW).is_some());
    opened
        .writer
        .write(vec![Write::delete(EntityRef::Environment(environment))], NOW)
        .await
        .expect("is there");
    let tables = opened.registry.read();
    assert!(tables.environment(&environment).is_none() && tables.integration(&environment, "crm").is_none());
    assert!(tables.integration_by_id(&integration).is_none() && tables.endpoint(&mine.id).is_none());
    assert!(tables.api_key_by_text(&text, NOW).is_none());
    assert_eq!(tables.connections_count(), 0);
    assert_eq!(tables.connections_by(&integration, "account", "1").count(), 0);
}

#[tokio::test]
async fn what_is_fixed_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (environment, id) = opened.base().await;
    let current = Integration::clone(opened.registry.read().integration_by_id(&id).expect("written"));
    assert_eq!(current.partitions.len(), 1);
    let cases: [(&str, Alteration); 3] = [
        ("key", |it| it.key = "new".into()),
        ("provider", |it| it.provider = "new".into()),
        ("spread", |it| it.spread = 4),
    ];
    for (expected, change) in cases {
        let mut changed = current.clone();
        change(&mut changed);
        let error = refused(&opened, put_all([Entity::Integration(changed)])).await;
        assert!(
            matches!(&error, WriteError::Invalid { field, .. } if field == expected),
            "{error}"
        );
    }
    let mut elsewhere = current.clone();
    elsewhere.partitions = vec![31];
    opened.put(Entity::Integration(elsewhere)).await;
    let after = Integration::clone(opened.registry.read().integration_by_id(&id).expect("written"));
    assert_eq!(
        after.partitions, current.partitions,
        "partitions are the writer's choice"
    );
    let mut wide = Integration::new(environment, "wide", "any", NOW);
    wide.spread = 33;
    assert!(matches!(
        refused(&opened, put_all([Entity::Integration(wide)])).await,
        WriteError::Invalid { .. }
    ));
}

#[tokio::test]
async fn new_integrations_get_the_least_loaded_partitions() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let environment = Environment::new("default", NOW);
    let mut entities = vec![Entity::Environment(environment.clone())];
    let integrations =
        (0..64).map(|number| Integration::new(environment.id, &format!("i{number}"), "any", NOW));
    entities.extend(integrations.map(Entity::Integration));
    opened
        .writer
        .write(put_all(entities), NOW)
        .await
        .expect("all new");
    let mut counts = [0; 32];
    for integration in opened.registry.read().integrations() {
        counts[integration.partitions[0] as usize] += 1;
    }
    assert_eq!(counts, [2; 32]);
}

#[tokio::test]
async fn too_large_a_write_is_refused_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (_, integration) = opened.base().await;
    let large = |id: &str, bytes: usize| {
        let mut large = connection(integration, id, "1");
        large.details.tags.insert("note".into(), "x".repeat(bytes));
        Entity::Connection(large)
    };
    let error = refused(&opened, put_all([large("a", 300_000)])).await;
    assert!(matches!(error, WriteError::Invalid { .. }), "{error}");
    let many = (0..6).map(|number| large(&format!("c{number}"), 100_000));
    let error = refused(&opened, put_all(many)).await;
    assert!(
        matches!(error, WriteError::TooLarge { limit: 524_288, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_handshake_stores_a_secret_only_while_one_is_awaited() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (_, integration) = opened.base().await;
    let awaiting = Connection {
        awaits_secret: true,
        ..connection(integration, "acme", "1")
    };
    opened.put(Entity::Connection(awaiting)).await;
    let at = EntityRef::Connection(integration, "acme".into());
    let store =
        async |at: &EntityRef, text: &str| opened.writer.store_secret(at, Secret::new(text), NOW).await;
    store(&at, "delivered").await.expect("is awaited");
    store(&at, "delivered")
        .await
        .expect("the same again, as when the reply was lost");
    let second = store(&at, "another").await.expect_err("nobody waits any more");
    assert!(matches!(second, WriteError::NotAwaited { .. }), "{second}");
    let at_integration = store(&EntityRef::Integration(integration), "x")
        .await
        .expect_err("never awaited");
    assert!(matches!(at_integration, WriteError::NotAwaited { .. }));
    let nowhere = store(&EntityRef::Connection(integration, "nobody".into()), "x")
        .await
        .expect_err("unknown");
    assert!(matches!(nowhere, WriteError::NotFound { .. }));
    let at_endpoint = store(&EntityRef::Endpoint(EndpointId::new(NOW)), "x")
        .await
        .expect_err("unknown");
    assert!(matches!(at_endpoint, WriteError::NotFound { .. }));
    let tables = opened.registry.read();
    let connection = tables.connection(&integration, "acme").expect("written");
    assert!(!connection.awaits_secret());
    let secrets = connection.secrets().expect("open");
    assert_eq!(secrets, [stored("delivered")]);
}

#[tokio::test]
async fn secrets_are_generated_where_none_is_given_and_told_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let environment = Environment::new("default", NOW);
    let main = endpoint(environment.id, "main");
    let entities = [
        Entity::Environment(environment.clone()),
        Entity::Endpoint(main.clone()),
    ];
    let written = opened.writer.write(put_all(entities), NOW).await.expect("new");
    let told: Vec<&EntityRef> = written.generated.iter().map(|(of, _)| of).collect();
    assert_eq!(
        told,
        [
            &EntityRef::Environment(environment.id),
            &EntityRef::Endpoint(main.id)
        ]
    );
    let (key, whsec) = (&written.generated[0].1, &written.generated[1].1);
    assert_eq!(key.secret().expose().len(), 64);
    assert!(whsec.secret().expose().starts_with(b"whsec_"));
    let current = Endpoint::clone(opened.registry.read().endpoint(&main.id).expect("written"));
    assert_eq!(&current.secrets, std::slice::from_ref(whsec));
    let off = Endpoint {
        state: EndpointState::DisabledByUser,
        ..current
    };
    let written = opened
        .writer
        .write(put_all([Entity::Endpoint(off)]), NOW)
        .await
        .expect("current");
    assert!(written.generated.is_empty(), "an update generates nothing");
}
