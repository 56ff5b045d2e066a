//! Finding requests, events and attempts: filters made into a question with bound parameters, newest first.
//! In: a [`Search`]. Out: a [`Question`]. Asks nothing itself, and puts no value into SQL.

use std::fmt::Write as _;

use tidegate_schemas::{EnvironmentId, UnixMillis};
use uuid::Uuid;

use super::reader::{Parameter, Question};

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `requests`.
    Requests,
    /// `events`.
    Events,
    /// `attempts`.
    Attempts,
}

/// Filters; those that are set must all hold. A filter that a subject has no column for finds nothing there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// The environment.
    pub environment: Option<EnvironmentId>,
    /// The integration's key.
    pub integration: Option<String>,
    /// The connection's id.
    pub connection: Option<String>,
    /// The type of event (events and attempts).
    pub event_type: Option<String>,
    /// The outcome of an event, the status of a delivery, the kind of a request.
    pub outcome: Option<String>,
    /// Received at or after this.
    pub since: Option<UnixMillis>,
    /// Received before this.
    pub until: Option<UnixMillis>,
    /// The id of a request, event, delivery or attempt.
    pub id: Option<Uuid>,
    /// A text in the body, the payload's key, a detail or an answer, in any case of letters.
    pub text: Option<String>,
    /// How many rows at most; 0 for 100.
    pub limit: u32,
    /// Of requests also the headers, the query and the body.
    pub whole: bool,
}

const LIMIT_DEFAULT: u32 = 100;
/// How far the time in an id may be from the time a row is filed under, in milliseconds.
const ID_TIME_MARGIN_MS: u64 = 60_000;

impl Subject {
    const fn view(self) -> &'static str {
        match self {
            Subject::Requests => "requests",
            Subject::Events => "events",
            Subject::Attempts => "attempts",
        }
    }

    /// The columns shown: all that fit a line; bodies and headers are asked for by id.
    const fn columns(self) -> &'static str {
        match self {
            Subject::Requests => {
                "received_at, request_id, environment, integration, provider, kind, method, path, status, refusal, \
                 detail, connection, remote, body_bytes, request_partition, request_offset"
            }
            Subject::Events => {
                "received_at, event_id, request_id, position, environment, integration, provider, connection, \
                 event_type, object_key, delivery_key, outcome, reason, detail, verified, endpoints, decided_at, \
                 replay_of, request_partition, request_offset"
            }
            Subject::Attempts => {
                "received_at, attempted_at, attempt_id, delivery_id, event_id, environment, integration, provider, \
                 connection, event_type, endpoint, endpoint_id, url, number, status, reason, http_status, error, \
                 duration_micros, response, next_at, event_partition, event_offset"
            }
        }
    }

    /// What `whole` adds to them.
    const fn further_columns(self) -> &'static str {
        match self {
            Subject::Requests => ", query, headers, body",
            Subject::Events | Subject::Attempts => "",
        }
    }

    const fn ids(self) -> &'static [&'static str] {
        match self {
            Subject::Requests => &["request_id"],
            Subject::Events => &["event_id", "request_id"],
            Subject::Attempts => &["attempt_id", "delivery_id", "event_id", "request_id"],
        }
    }

    const fn outcome(self) -> &'static str {
        match self {
            Subject::Requests => "kind",
            Subject::Events => "outcome",
            Subject::Attempts => "status",
        }
    }

    const fn texts(self) -> &'static [&'static str] {
        match self {
            Subject::Requests => &["body", "path", "query", "detail"],
            Subject::Events => &["object_key", "delivery_key", "event_type", "detail"],
            Subject::Attempts => &["url", "error", "response"],
        }
    }
}

/// A `WHERE` being written, with its parameters.
struct Conditions {
    sql: String,
    question: Question,
}

impl Conditions {
    /// Adds `sql` with its one parameter.
    fn add(&mut self, sql: &str, name: &str, value: Parameter) {
        let word = if self.sql.is_empty() { " WHERE" } else { " AND" };
        write!(self.sql, "{word} {sql}").expect("a text takes more text");
        self.question.parameters.push((name.to_owned(), value));
    }

    fn text(&mut self, column: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.add(
                &format!("{column} = {{{column}:String}}"),
                column,
                Parameter::Text(value.clone()),
            );
        }
    }
}

impl Search {
    /// The question that finds it.
    #[must_use]
    pub fn question(&self, subject: Subject) -> Question {
        let mut conditions = Conditions {
            sql: String::new(),
            question: Question::default(),
        };
        if let Some(environment) = self.environment {
            let id = Parameter::Id(environment.0);
            conditions.add("environment = {environment:UUID}", "environment", id);
        }
        conditions.text("integration", self.integration.as_ref());
        conditions.text("connection", self.connection.as_ref());
        if subject != Subject::Requests {
            conditions.text("event_type", self.event_type.as_ref());
        } else if let Some(event_type) = &self.event_type {
            conditions.add(
                "{event_type:String} = ''",
                "event_type",
                Parameter::Text(event_type.clone()),
            );
        }
        conditions.text(subject.outcome(), self.outcome.as_ref());
        if let Some(since) = self.since {
            conditions.add(
                "received_at >= {since:DateTime64(3, 'UTC')}",
                "since",
                Parameter::Time(since),
            );
        }
        if let Some(until) = self.until {
            conditions.add(
                "received_at < {until:DateTime64(3, 'UTC')}",
                "until",
                Parameter::Time(until),
            );
        }
        self.by_id(subject, &mut conditions);
        if let Some(text) = &self.text {
            let places = subject
                .texts()
                .iter()
                .map(|column| format!("positionCaseInsensitiveUTF8({column}, {{text:String}}) > 0"));
            let anywhere = format!("({})", places.collect::<Vec<_>>().join(" OR "));
            conditions.add(&anywhere, "text", Parameter::Text(text.clone()));
        }
        let limit = if self.limit == 0 {
            LIMIT_DEFAULT
        } else {
            self.limit
        };
        let (columns, view, order) = (subject.columns(), subject.view(), order(subject));
        let further = if self.whole { subject.further_columns() } else { "" };
        conditions.question.sql = format!(
            "SELECT {columns}{further} FROM {view}{} ORDER BY {order} LIMIT {limit}",
            conditions.sql
        );
        conditions.question
    }

    /// Ids of requests, events and deliveries begin with the time of the request: only that day is read. An attempt's
    /// begins with the time of the try, so all days before it are.
    fn by_id(&self, subject: Subject, conditions: &mut Conditions) {
        let Some(id) = self.id else {
            return;
        };
        let columns = subject
            .ids()
            .iter()
            .map(|column| format!("{column} = {{id:UUID}}"));
        let any = format!("({})", columns.collect::<Vec<_>>().join(" OR "));
        conditions.add(&any, "id", Parameter::Id(id));
        let at = u64::try_from(id.as_u128() >> 80).expect("48 bits");
        let latest = Parameter::Time(UnixMillis(at.saturating_add(ID_TIME_MARGIN_MS)).min(UnixMillis::MAX));
        conditions.add(
            "received_at <= {id_latest:DateTime64(3, 'UTC')}",
            "id_latest",
            latest,
        );
        if subject != Subject::Attempts {
            let earliest = Parameter::Time(UnixMillis(at.saturating_sub(ID_TIME_MARGIN_MS)));
            conditions.add(
                "received_at >= {id_earliest:DateTime64(3, 'UTC')}",
                "id_earliest",
                earliest,
            );
        }
    }
}

fn order(subject: Subject) -> &'static str {
    match subject {
        Subject::Requests => "received_at DESC, request_id",
        Subject::Events => "received_at DESC, event_id",
        Subject::Attempts => "attempted_at DESC, attempt_id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_stands_in_the_sql() {
        let hostile = "'; DROP TABLE requests --".to_owned();
        let search = Search {
            integration: Some(hostile.clone()),
            connection: Some(hostile.clone()),
            event_type: Some(hostile.clone()),
            outcome: Some(hostile.clone()),
            text: Some(hostile.clone()),
            ..Search::default()
        };
        for subject in [Subject::Requests, Subject::Events, Subject::Attempts] {
            let question = search.question(subject);
            assert!(!question.sql.contains("DROP"), "{}", question.sql);
            assert_eq!(question.parameters.len(), 5, "{}", question.sql);
        }
    }
}
