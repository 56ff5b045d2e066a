//! Asking ClickHouse: any SQL with bound parameters, its answer streamed as bytes in a format of ClickHouse's.
//! In: SQL. Out: bytes, as they come. Changes nothing: every question is sent read-only.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::Client;
use clickhouse::query::BytesCursor;
use tidegate_schemas::UnixMillis;
use uuid::Uuid;

use super::client::connect;
use super::config::Config;
use super::error::Error;

/// Asks ClickHouse; clones share its connections.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    timeout: Duration,
}

/// A value bound to a `{name:Type}` of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// For `String`.
    Text(String),
    /// For whole numbers.
    Number(u64),
    /// For `DateTime64(3, 'UTC')`.
    Time(UnixMillis),
    /// For `UUID`.
    Id(Uuid),
}

/// A question: SQL with the values of its parameters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Question {
    /// The SQL, without `FORMAT`.
    pub sql: String,
    /// The values by name.
    pub parameters: Vec<(String, Parameter)>,
}

impl Question {
    /// A question without parameters.
    #[must_use]
    pub fn new(sql: impl Into<String>) -> Question {
        Question {
            sql: sql.into(),
            parameters: Vec::new(),
        }
    }

    /// Binds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: Parameter) -> Question {
        self.parameters.push((name.to_owned(), value));
        self
    }
}

/// An answer that is being read.
pub struct Answer {
    cursor: BytesCursor,
    timeout: Duration,
}

impl Answer {
    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], also for an error in the middle of the answer, and when nothing comes for the configured
    /// time.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = tokio::time::timeout(self.timeout, self.cursor.next()).await;
        Ok(next.unwrap_or(Err(clickhouse::error::Error::TimedOut))?)
    }

    /// The whole rest, which must be small.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn collect(mut self) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

impl Reader {
    /// Sets a reader up; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] when no address is configured.
    pub fn new(config: &Config) -> Result<Reader, Error> {
        let client = connect(config)?.with_setting("readonly", "2");
        Ok(Reader {
            client,
            timeout: config.query_timeout(),
        })
    }

    /// Asks, and returns at once: errors show when the answer is read. `format` is one of ClickHouse's, such as
    /// `JSONEachRow` or `PrettyCompact`.
    ///
    /// # Errors
    /// [`Error::ClickHouse`] when the question cannot be sent.
    pub fn query(&self, question: &Question, format: &str) -> Result<Answer, Error> {
        let mut query = self.client.query_raw(&question.sql);
        for (name, value) in &question.parameters {
            query = match value {
                Parameter::Text(text) => query.param(name, text),
                Parameter::Number(number) => query.param(name, number),
                Parameter::Time(time) => query.param(name, seconds(*time)),
                Parameter::Id(id) => query.param(name, id.to_string()),
            };
        }
        Ok(Answer {
            cursor: query.fetch_bytes(format)?,
            timeout: self.timeout,
        })
    }
}

/// Seconds with milliseconds, as ClickHouse reads a `DateTime64(3)`.
fn seconds(time: UnixMillis) -> String {
    format!("{}.{:03}", time.0 / 1000, time.0 % 1000)
}
