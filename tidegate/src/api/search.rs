//! `POST /api/v1/search`: requests, events and attempts by filters, newest first, as JSON lines or a table.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidegate_schemas::UnixMillis;
use tidegate_sinks::audit::{Search, Subject};

use super::question::answer;
use super::{Problem, State};

/// What to find.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// `requests`, `events` or `attempts`.
    pub subject: String,
    /// The environment's name or id.
    pub environment: Option<String>,
    /// The integration's key.
    pub integration: Option<String>,
    /// The connection's id.
    pub connection: Option<String>,
    /// The type of event.
    pub event_type: Option<String>,
    /// The outcome, status or kind.
    pub outcome: Option<String>,
    /// The id of a request, event, delivery or attempt.
    pub id: Option<String>,
    /// Any text in it.
    pub text: Option<String>,
    /// Received at or after.
    pub since: Option<UnixMillis>,
    /// Received before.
    pub until: Option<UnixMillis>,
    /// At most so many; 0 for 100.
    pub limit: u32,
    /// Of requests also the headers, the query and the body.
    pub whole: bool,
    /// A ClickHouse output format.
    pub format: String,
}

/// The route.
pub async fn search(
    Shared(state): Shared<Arc<State>>,
    Json(filters): Json<Filters>,
) -> Result<Response, Problem> {
    let parts = state.parts()?;
    let subject = match filters.subject.as_str() {
        "requests" => Subject::Requests,
        "events" => Subject::Events,
        "attempts" => Subject::Attempts,
        other => {
            return Err(Problem::invalid(format!(
                "`{other}` cannot be searched: requests, events or attempts can"
            )));
        }
    };
    let environment = match &filters.environment {
        None => None,
        Some(name) => {
            let tables = parts.registry.read();
            let known = tables.environment_by_name(name).map(|environment| environment.id);
            let id = known.or_else(|| name.parse().ok());
            Some(id.ok_or_else(|| Problem::invalid(format!("there is no environment `{name}`")))?)
        }
    };
    let id = filters.id.as_deref().map(str::parse).transpose();
    let search = Search {
        environment,
        integration: filters.integration,
        connection: filters.connection,
        event_type: filters.event_type,
        outcome: filters.outcome,
        since: filters.since,
        until: filters.until,
        id: id.map_err(|_| Problem::invalid("the id is no UUID"))?,
        text: filters.text,
        limit: filters.limit,
        whole: filters.whole,
    };
    answer(parts.reader()?, &search.question(subject), &filters.format).await
}
