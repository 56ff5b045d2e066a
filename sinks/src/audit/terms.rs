//! The terms after which ClickHouse drops rows and bodies, kept as configured: read back from the tables, and changed
//! where they differ, for what is there already too. In: days. Out: what was changed, in words.

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::client::{execute, within};
use super::config::Config;
use super::error::Error;

/// The columns with a term of their own: table, column, type.
const BODIES: [(&str, &str); 3] = [
    ("webhook_requests", "body"),
    ("webhook_events", "text"),
    ("delivery_attempts", "response"),
];

#[derive(Row, Deserialize)]
struct Created {
    name: String,
    create_table_query: String,
}

/// Sets the terms that differ.
pub(crate) async fn set(client: &Client, config: &Config) -> Result<Vec<String>, Error> {
    let timeout = config.insert_timeout();
    let query = client.query_raw(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() \
         AND name IN ('webhook_requests', 'webhook_events', 'delivery_attempts') ORDER BY name",
    );
    let tables = within(timeout, query.fetch_all::<Created>()).await?;
    let mut changed = Vec::new();
    for (table, column) in BODIES {
        let Some(created) = tables.iter().find(|created| created.name == table) else {
            continue;
        };
        let (rows, body) = (config.rows_ttl_days, config.body_ttl_days);
        if row_days(&created.create_table_query) != Some(rows) {
            let term = format!("MODIFY TTL toDateTime(received_at) + INTERVAL {rows} DAY");
            execute(client, &format!("ALTER TABLE {table} {term}"), timeout).await?;
            changed.push(format!("{table}: rows are kept {rows} days"));
        }
        if column_days(&created.create_table_query, column) != Some(body) {
            let term = format!("TTL toDateTime(received_at) + INTERVAL {body} DAY");
            let alter = format!("ALTER TABLE {table} MODIFY COLUMN {column} {term}");
            execute(client, &alter, timeout).await?;
            changed.push(format!("{table}.{column} is kept {body} days"));
        }
    }
    Ok(changed)
}

/// The days in the table's own `TTL` of a `CREATE TABLE`; it stands behind the `ORDER BY`.
fn row_days(create: &str) -> Option<u32> {
    days(create.rsplit_once(" ORDER BY ")?.1)
}

/// The days in the `TTL` of a column of a `CREATE TABLE`.
fn column_days(create: &str, column: &str) -> Option<u32> {
    let from_column = create.split_once(&format!("`{column}` String"))?.1;
    let definition = from_column
        .split_once(", `")
        .map_or(from_column, |(definition, _)| definition);
    days(definition)
}

fn days(text: &str) -> Option<u32> {
    let number = text.split_once("toIntervalDay(")?.1.split_once(')')?.0;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_found_in_what_clickhouse_shows() {
        let create = "CREATE TABLE d.t (`a` String, `body` String CODEC(ZSTD(1)) TTL toDateTime(received_at) + \
                      toIntervalDay(14), `b` UInt8, INDEX i b TYPE minmax) ENGINE = ReplacingMergeTree(b) PARTITION BY \
                      toDate(received_at) ORDER BY (a, b) TTL toDateTime(received_at) + toIntervalDay(90) SETTINGS x = 1";
        assert_eq!(
            (row_days(create), column_days(create, "body")),
            (Some(90), Some(14))
        );
        assert_eq!(column_days(create, "a"), None, "a column without a term");
    }
}
