//! Brings ClickHouse to the tables of this build: applies the numbered migrations that it lacks, and sets the terms
//! that rows and bodies are kept. In: where ClickHouse is. Out: a [`Report`] of what was done.
//!
//! Two processes may do this at once: every statement can run twice. A migration that was applied is never applied
//! again, and stops everything when its text has changed since. One of a newer build is left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use clickhouse::{Client, Row};
use serde::Deserialize;
use tidegate_schemas::clickhouse::{MIGRATIONS, Migration, SCHEMA_MIGRATIONS, statements};

use super::client::{connect, execute, within};
use super::config::Config;
use super::error::Error;
use super::terms;

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The files that were applied now, in order.
    pub applied: Vec<&'static str>,
    /// How many had been applied before.
    pub present: usize,
    /// Files of a newer build, which this one leaves alone.
    pub newer: Vec<String>,
    /// The terms that were changed, in words.
    pub terms: Vec<String>,
}

#[derive(Row, Deserialize)]
struct Applied {
    number: u32,
    file: String,
    checksum: String,
}

/// Applies what is missing.
///
/// # Errors
/// [`Error::MigrationChanged`] when an applied file says something else now, [`Error::Migration`] when ClickHouse
/// refuses a statement, naming file and statement, [`Error::ClickHouse`] when it cannot be reached.
pub async fn migrate(config: &Config) -> Result<Report, Error> {
    let client = connect(config)?;
    let timeout = config.insert_timeout();
    let create = format!("CREATE DATABASE IF NOT EXISTS {}", config.database);
    execute(&client.clone().with_database("default"), &create, timeout).await?;
    for statement in statements(SCHEMA_MIGRATIONS) {
        execute(&client, statement, timeout).await?;
    }
    let mut report = apply(&client, MIGRATIONS, timeout).await?;
    report.terms = terms::set(&client, config).await?;
    Ok(report)
}

/// Applies those of `migrations` that the database lacks.
pub(crate) async fn apply(
    client: &Client,
    migrations: &[Migration],
    timeout: Duration,
) -> Result<Report, Error> {
    let mut applied = applied(client, timeout).await?;
    let mut report = Report::default();
    for migration in migrations {
        match applied.remove(&migration.number) {
            Some(was) if was.checksum == migration.checksum() => report.present += 1,
            Some(was) => {
                return Err(Error::MigrationChanged {
                    file: migration.file,
                    applied: was.checksum,
                    found: migration.checksum(),
                });
            }
            None => {
                run(client, migration, timeout).await?;
                report.applied.push(migration.file);
            }
        }
    }
    report.newer = applied.into_values().map(|migration| migration.file).collect();
    Ok(report)
}

async fn applied(client: &Client, timeout: Duration) -> Result<BTreeMap<u32, Applied>, Error> {
    let query =
        client.query_raw("SELECT number, file, checksum FROM schema_migrations FINAL ORDER BY number");
    let rows = within(timeout, query.fetch_all::<Applied>()).await?;
    Ok(rows.into_iter().map(|row| (row.number, row)).collect())
}

async fn run(client: &Client, migration: &Migration, timeout: Duration) -> Result<(), Error> {
    let refused = |statement| {
        move |source| Error::Migration {
            file: migration.file,
            statement,
            source,
        }
    };
    let mut count = 0;
    for statement in migration.statements() {
        count += 1;
        execute(client, statement, timeout)
            .await
            .map_err(refused(count))?;
    }
    let Migration { number, file, .. } = migration;
    let checksum = migration.checksum();
    let note = format!(
        "INSERT INTO schema_migrations (number, file, checksum) VALUES ({number}, '{file}', '{checksum}')"
    );
    execute(client, &note, timeout).await.map_err(refused(count + 1))
}
