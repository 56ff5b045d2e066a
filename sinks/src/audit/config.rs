//! What the audit may use and where ClickHouse is. In: plain values. Reads neither files nor the environment.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tidegate_schemas::Secret;

/// Where ClickHouse is, how blocks are cut, and how long rows are kept.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// ClickHouse's HTTP address, such as `http://clickhouse:8123` or `https://clickhouse:8443`; empty for the embedded
    /// engine, whose address is then put here by whoever starts it.
    pub url: String,
    /// Further root certificates (PEM) for an `https://` address, beside the public ones that are built in.
    pub roots_pem: String,
    /// The database; created when missing.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password; empty when there is none.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// How long rows gather for one block, in milliseconds: one insert a table in this time.
    pub block_wait_ms: u64,
    /// The most rows of a block.
    pub block_rows_max: usize,
    /// The most bytes of messages read for a block; one larger message is a block of its own.
    pub block_bytes_max: usize,
    /// How long one insert or statement may take, in milliseconds.
    pub insert_timeout_ms: u64,
    /// How long a question may go without any answer, in milliseconds.
    pub query_timeout_ms: u64,
    /// The first wait after a failure, in milliseconds; it doubles with every further one.
    pub retry_wait_ms: u64,
    /// The longest wait after a failure, in milliseconds.
    pub retry_wait_max_ms: u64,
    /// How often an error that Tidegate does not know is tried again before the block is searched for the row that
    /// causes it.
    pub unknown_errors_max: u32,
    /// How long rows are kept, in days.
    pub rows_ttl_days: u32,
    /// How long raw bodies, payloads and answers are kept, in days.
    pub body_ttl_days: u32,
    /// How long no row of a minute may come before the minute is summed up, in seconds; longer than an insert takes.
    pub rollup_wait_s: u64,
    /// How often minutes are looked for that are to be summed up, in seconds.
    pub rollup_interval_s: u64,
    /// The most minutes summed up by one statement.
    pub rollup_minutes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: String::new(),
            roots_pem: String::new(),
            database: "tidegate".to_owned(),
            user: "default".to_owned(),
            password: Secret::new(Vec::new()),
            block_wait_ms: 1_000,
            block_rows_max: 50_000,
            block_bytes_max: 32 << 20,
            insert_timeout_ms: 30_000,
            query_timeout_ms: 300_000,
            retry_wait_ms: 200,
            retry_wait_max_ms: 30_000,
            unknown_errors_max: 8,
            rows_ttl_days: 90,
            body_ttl_days: 14,
            rollup_wait_s: 30,
            rollup_interval_s: 10,
            rollup_minutes_max: 60,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Config")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn block_wait(&self) -> Duration {
        Duration::from_millis(self.block_wait_ms)
    }

    pub(crate) fn insert_timeout(&self) -> Duration {
        Duration::from_millis(self.insert_timeout_ms)
    }

    pub(crate) fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms)
    }

    pub(crate) fn rollup_interval(&self) -> Duration {
        Duration::from_secs(self.rollup_interval_s)
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
