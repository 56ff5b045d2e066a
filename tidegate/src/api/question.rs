//! `POST /api/v1/query`: a statement for ClickHouse, answered as ClickHouse answers it, as it comes. Read-only.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tidegate_sinks::audit;

use super::{Problem, State};

/// A statement and the format of its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The statement.
    pub sql: String,
    /// A ClickHouse output format.
    pub format: String,
}

/// The route.
pub async fn query(
    Shared(state): Shared<Arc<State>>,
    Json(question): Json<Question>,
) -> Result<Response, Problem> {
    let parts = state.parts()?;
    let sql = question.sql.trim().trim_end_matches(';').to_owned();
    answer(parts.reader()?, &audit::Question::new(sql), &question.format).await
}

/// Asks, and streams the answer; an error before its first bytes is a problem, a later one breaks the answer off.
pub async fn answer(
    reader: &audit::Reader,
    question: &audit::Question,
    format: &str,
) -> Result<Response, Problem> {
    let mut answer = reader.query(question, format).map_err(Problem::clickhouse)?;
    let first = answer.next().await.map_err(Problem::clickhouse)?;
    let rest = stream::try_unfold(answer, |mut answer| async move {
        Ok::<_, audit::Error>(answer.next().await?.map(|bytes| (bytes, answer)))
    });
    let whole = stream::iter(first.map(Ok::<Bytes, audit::Error>)).chain(rest);
    Ok(Response::new(Body::from_stream(
        whole.map_err(std::io::Error::other),
    )))
}
