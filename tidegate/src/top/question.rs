//! What is asked of ClickHouse, and its answer. In: by what events are counted, over how long, sorted how. Out: SQL, and
//! rows of its answer. Asks nothing itself.

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer};

/// By what events are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum View {
    /// By integration
    #[default]
    Integrations,
    /// By integration and connection
    Connections,
    /// By integration, connection and object
    Objects,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Sort {
    /// Whoever has most events
    #[default]
    Events,
    /// Whoever has most events handed on to endpoints
    Routed,
    /// Whoever has most events absorbed: debounced, duplicate, stale or unchanged
    Absorbed,
    /// Whoever has most events refused or failed
    Refused,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// By what events are counted.
    pub view: View,
    /// What comes first.
    pub sort: Sort,
    /// Events received within this time count.
    pub last: Duration,
    /// How many rows.
    pub rows_max: u32,
}

/// The events of one integration, connection or object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Row {
    /// The integration's key.
    pub integration: String,
    /// The connection, where it is counted by; empty: none.
    pub connection: String,
    /// The object, where it is counted by.
    pub object_key: String,
    /// All events.
    #[serde(deserialize_with = "number")]
    pub events: u64,
    /// Given to endpoints.
    #[serde(deserialize_with = "number")]
    pub routed: u64,
    /// Absorbed by windows.
    #[serde(deserialize_with = "number")]
    pub debounced: u64,
    /// Windows that they were in.
    #[serde(deserialize_with = "number")]
    pub windows: u64,
    /// Of a delivery id that was seen.
    #[serde(deserialize_with = "number")]
    pub duplicate: u64,
    /// Older than the newest of their object.
    #[serde(deserialize_with = "number")]
    pub stale: u64,
    /// Of an object that has not changed.
    #[serde(deserialize_with = "number")]
    pub unchanged: u64,
    /// Wanted by no endpoint, or filtered.
    #[serde(deserialize_with = "number")]
    pub unwanted: u64,
    /// Rejected, malformed or failed.
    #[serde(deserialize_with = "number")]
    pub refused: u64,
}

impl View {
    /// The columns that name a row.
    #[must_use]
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            View::Integrations => &["integration"],
            View::Connections => &["integration", "connection"],
            View::Objects => &["integration", "connection", "object_key"],
        }
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            View::Integrations => View::Connections,
            View::Connections => View::Objects,
            View::Objects => View::Integrations,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            View::Integrations => "integrations",
            View::Connections => "connections",
            View::Objects => "objects",
        }
    }
}

impl Sort {
    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Sort::Events => Sort::Routed,
            Sort::Routed => Sort::Absorbed,
            Sort::Absorbed => Sort::Refused,
            Sort::Refused => Sort::Events,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Sort::Events => "events",
            Sort::Routed => "routed",
            Sort::Absorbed => "absorbed",
            Sort::Refused => "refused",
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Sort::Events => "events",
            Sort::Routed => "routed",
            Sort::Absorbed => "debounced + duplicate + stale + unchanged",
            Sort::Refused => "refused",
        }
    }
}

impl Question {
    /// As SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        let names = self.view.columns().join(", ");
        let about = match self.view {
            View::Integrations => "",
            View::Connections => " AND connection != ''",
            View::Objects => " AND object_key != ''",
        };
        format!(
            "SELECT {names}, count() AS events, countIf(outcome = 'routed') AS routed, \
             countIf(outcome = 'debounced') AS debounced, \
             uniqExactIf(window, window IS NOT NULL) AS windows, \
             countIf(outcome = 'duplicate') AS duplicate, countIf(outcome = 'stale') AS stale, \
             countIf(outcome = 'unchanged') AS unchanged, \
             countIf(outcome IN ('no_endpoint', 'filtered')) AS unwanted, \
             countIf(outcome IN ('rejected', 'malformed', 'failed')) AS refused \
             FROM events WHERE received_at >= now64(3, 'UTC') - toIntervalMillisecond({}){about} \
             GROUP BY {names} ORDER BY {} DESC, events DESC, {names} LIMIT {}",
            self.last.as_millis(),
            self.sort.sql(),
            self.rows_max
        )
    }
}

/// Reads the answer, as JSON lines.
///
/// # Errors
/// A line is no such row.
pub fn read(answer: &str) -> anyhow::Result<Vec<Row>> {
    let lines = answer.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("ClickHouse's answer is no row: {line}"))
        })
        .collect()
}

/// A whole number, which ClickHouse may put into quotes.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Plain(u64),
        Quoted(String),
    }
    match Number::deserialize(from)? {
        Number::Plain(number) => Ok(number),
        Number::Quoted(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_and_without_quotes() {
        let rows = read("{\"integration\":\"crm\",\"events\":\"12\",\"routed\":3}\n\n").expect("a row");
        let expected = Row {
            integration: "crm".to_owned(),
            events: 12,
            routed: 3,
            ..Row::default()
        };
        assert_eq!(rows, [expected]);
        assert!(read("{\"events\":\"many\"}").is_err());
    }
}
