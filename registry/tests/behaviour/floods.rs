//! What a connection may set of flood control hangs on what its integration sets, written before or with it.

use tidegate_registry::manifest::Manifest;
use tidegate_registry::{Connection, Entity, Integration, Write, WriteError};

use super::opened::{NOW, Opened, connection, open};

async fn put(opened: &Opened, entities: impl IntoIterator<Item = Entity>) -> Result<(), WriteError> {
    let writes = entities.into_iter().map(Write::put).collect();
    opened.writer.write(writes, NOW).await.map(|_| ())
}

#[tokio::test]
async fn a_connections_quiet_is_held_against_its_integrations_max_wait() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let (_, id) = opened.base().await;
    let quiet = |millis: u64| {
        let mut connection: Connection = connection(id, &format!("waits {millis}"), "1");
        connection.details.flood.debounce.quiet_ms = Some(millis);
        Entity::Connection(connection)
    };
    let problem = |result: Result<(), WriteError>| match result {
        Err(WriteError::Invalid { field, problem, .. }) => (field, problem),
        other => panic!("{other:?}"),
    };
    let (field, said) = problem(put(&opened, [quiet(45_000)]).await);
    assert_eq!(field, "flood.debounce.quiet");
    assert!(said.contains("30000 ms"), "{said}");
    let written = opened.registry.read().integration_by_id(&id).cloned();
    let mut longer = Integration::clone(&written.expect("written"));
    longer.flood.debounce.max_wait_ms = Some(60_000);
    let both = [Entity::Integration(longer), quiet(45_000)];
    put(&opened, both).await.expect("in the same write");
    put(&opened, [quiet(50_000)]).await.expect("behind it");
    let (_, said) = problem(put(&opened, [quiet(60_001)]).await);
    assert!(said.contains("60000 ms"), "{said}");
}

#[test]
fn in_a_file_too() {
    let file = |quiet: &str| {
        let text = format!(
            "environments:\n  tests:\n    integrations:\n      crm:\n        provider: any\n        flood: {{debounce: \
             {{max_wait: 60s}}}}\n        connections:\n          acme: {{flood: {{debounce: {{quiet: {quiet}}}}}}}\n"
        );
        Manifest::parse("floods.yaml", &text, |_| None).map_err(|error| error.to_string())
    };
    file("45s").expect("less than the integration's");
    let error = file("61s").expect_err("more");
    assert!(
        error.starts_with("floods.yaml:8: `flood.debounce.quiet`"),
        "{error}"
    );
    assert!(error.contains("60000 ms"), "{error}");
}
