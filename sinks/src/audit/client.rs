//! The one way to ClickHouse: the official client, set up from the configuration.
//! In: a [`Config`]. Out: clients, and statements run within a time. Knows no tables.

use std::time::Duration;

use clickhouse::Client;
use clickhouse::error::{Error as ClickHouseError, Result};

use super::config::Config;
use super::error::Error;

/// A client that speaks to the configured database; its requests are LZ4 blocks.
pub(crate) fn connect(config: &Config) -> Result<Client, Error> {
    if config.url.is_empty() {
        let problem = "is empty: name ClickHouse's HTTP address, such as http://localhost:8123".to_owned();
        return Err(Error::Config { key: "url", problem });
    }
    let Ok(password) = std::str::from_utf8(config.password.expose()) else {
        return Err(Error::Config {
            key: "password",
            problem: "is no text: use UTF-8".to_owned(),
        });
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if config.database.is_empty() || !config.database.bytes().all(plain) {
        let problem = format!("is `{}`: use letters, digits and `_`", config.database);
        return Err(Error::Config {
            key: "database",
            problem,
        });
    }
    Ok(Client::default()
        .with_url(&config.url)
        .with_user(&config.user)
        .with_password(password)
        .with_database(&config.database)
        .with_validation(false))
}

/// Runs a statement whose result nobody reads.
pub(crate) async fn execute(client: &Client, sql: &str, timeout: Duration) -> Result<()> {
    within(timeout, client.query_raw(sql).execute()).await
}

/// Waits for an answer of ClickHouse's, but not longer.
pub(crate) async fn within<T>(timeout: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or(Err(ClickHouseError::TimedOut))
}
