//! Errors of the API as RFC 9457 problems: a title, what exactly is wrong and how to mend it, a status.
//! In: an error of a room. Out: a response. Logs nothing.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer that something did not work.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The kind of problem, a word.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind, in words.
    title: &'static str,
    /// The HTTP status again.
    status: u16,
    /// What exactly, which, and how to mend it.
    detail: String,
}

impl Problem {
    fn new(kind: &'static str, title: &'static str, (status, detail): (StatusCode, String)) -> Self {
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail,
        }
    }

    /// What was sent cannot be used.
    pub fn invalid(detail: impl ToString) -> Self {
        Self::new(
            "invalid",
            "the request cannot be used",
            (StatusCode::UNPROCESSABLE_ENTITY, detail.to_string()),
        )
    }

    /// There is no such thing.
    pub fn missing(detail: impl ToString) -> Self {
        Self::new(
            "not_found",
            "there is no such thing",
            (StatusCode::NOT_FOUND, detail.to_string()),
        )
    }

    /// Somebody else was faster.
    pub fn conflict(detail: impl ToString) -> Self {
        Self::new(
            "conflict",
            "it was changed meanwhile",
            (StatusCode::CONFLICT, detail.to_string()),
        )
    }

    /// Whoever asks may not.
    pub fn forbidden(detail: impl ToString) -> Self {
        Self::new(
            "forbidden",
            "the caller is not known",
            (StatusCode::FORBIDDEN, detail.to_string()),
        )
    }

    /// Not now.
    pub fn unavailable(detail: impl ToString) -> Self {
        Self::new(
            "unavailable",
            "not available just now",
            (StatusCode::SERVICE_UNAVAILABLE, detail.to_string()),
        )
    }

    /// ClickHouse refuses the question or does not answer.
    pub fn clickhouse(detail: impl ToString) -> Self {
        Self::new(
            "clickhouse",
            "ClickHouse",
            (StatusCode::BAD_GATEWAY, detail.to_string()),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has only text keys");
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}
