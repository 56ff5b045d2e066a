//! The `clickhouse` crate, with compression and without: what the audit does with it.

use clickhouse::{Client, Compression, Row};
use serde::{Deserialize, Serialize};
use tidegate_schemas::clickhouse::{self as migrations, MIGRATIONS, SCHEMA_MIGRATIONS};

use crate::started::Started;

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Entry {
    id: u64,
    name: String,
    tags: Vec<String>,
    size: Option<u32>,
}

const TABLE: &str = "CREATE TABLE entries (id UInt64, name LowCardinality(String), tags Array(String), size Nullable(UInt32)) ENGINE = MergeTree ORDER BY id";

#[tokio::test]
async fn the_clickhouse_crate_works_with_and_without_compression() {
    for compression in [Compression::None, Compression::Lz4] {
        let engine = Started::new().await;
        let client = Client::default()
            .with_url(&engine.endpoint.url)
            .with_user(&engine.endpoint.user)
            .with_password(engine.endpoint.password.reveal())
            .with_compression(compression);
        client.query(TABLE).execute().await.unwrap();
        let entry = |id| Entry {
            id,
            name: format!("name {}", id % 10),
            tags: vec!["it's".to_owned(), id.to_string()],
            size: (id % 2 == 0).then_some(7),
        };
        let mut insert = client.insert::<Entry>("entries").await.unwrap();
        for id in 0..50_000 {
            insert.write(&entry(id)).await.unwrap();
        }
        insert.end().await.unwrap();
        assert_eq!(
            client
                .query("SELECT count() FROM entries")
                .fetch_one::<u64>()
                .await
                .unwrap(),
            50_000
        );
        let found = client
            .query("SELECT ?fields FROM entries WHERE id >= ? ORDER BY id LIMIT 2")
            .bind(41)
            .fetch_all::<Entry>()
            .await
            .unwrap();
        assert_eq!(found, [entry(41), entry(42)]);
        let bound = client
            .query("SELECT {n: UInt64} + {m: UInt64}")
            .param("n", 40_u64)
            .param("m", 2_u64)
            .fetch_one::<u64>()
            .await
            .unwrap();
        assert_eq!(bound, 42);
        stream(&client).await;
        refusals(&client).await;
        migrate(&client).await;
        engine.engine.stop().await;
    }
}

async fn stream(client: &Client) {
    let mut cursor = client
        .query("SELECT number FROM numbers(2000000)")
        .fetch::<u64>()
        .unwrap();
    let mut next = 0;
    while let Some(number) = cursor.next().await.unwrap() {
        assert_eq!(number, next);
        next += 1;
    }
    assert_eq!(next, 2_000_000);
}

async fn refusals(client: &Client) {
    let missing = client
        .query("SELECT count() FROM missing")
        .fetch_one::<u64>()
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("UNKNOWN_TABLE"), "{missing}");
    let query =
        "SELECT number + throwIf(number = 1500000) FROM numbers(2000000) SETTINGS max_block_size = 10000";
    let mut cursor = client.query(query).fetch::<u64>().unwrap();
    let mut rows = 0;
    let error = loop {
        match cursor.next().await {
            Ok(Some(_)) => rows += 1,
            Ok(None) => panic!("the error in mid-stream is lost behind {rows} rows"),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        "behind {rows} rows: {error}"
    );
    assert!(rows > 0);
}

/// Every statement of the migrations, twice as they allow, and every table and view that they make, read.
async fn migrate(client: &Client) {
    client.query("CREATE DATABASE migrated").execute().await.unwrap();
    let client = client.clone().with_database("migrated");
    for _ in 0..2 {
        let first = migrations::statements(SCHEMA_MIGRATIONS);
        for statement in first.chain(MIGRATIONS.iter().flat_map(migrations::Migration::statements)) {
            let made = client.query(&statement.replace('?', "??")).execute().await;
            made.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
    let names = client
        .query("SELECT name FROM system.tables WHERE database = 'migrated' ORDER BY name")
        .fetch_all::<String>()
        .await
        .unwrap();
    assert!(names.len() >= 2 * MIGRATIONS.len() - 2, "{names:?}");
    for name in names {
        let rows = client
            .query(&format!("SELECT count() FROM (SELECT * FROM {name})"))
            .fetch_one::<u64>()
            .await;
        rows.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
