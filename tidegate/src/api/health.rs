//! `/healthz` (the process is alive), `/readyz` (it takes requests; with what stands behind it) and `/metrics`.
//! A dead ClickHouse does not make a server unready: rows wait in the log. It is told, though.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;

use super::{Stage, State};

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    stage: &'static str,
    /// How the audit stands with ClickHouse.
    clickhouse: String,
    /// How the embedded engine is, when it is the ClickHouse.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
}

/// `GET /healthz`
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`
pub async fn ready(Shared(state): Shared<Arc<State>>) -> (StatusCode, Json<Readiness>) {
    let readiness = readiness(&state);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// How a server is.
pub fn readiness(state: &State) -> Readiness {
    let stage = state.stage();
    let parts = state.parts.get();
    let clickhouse = parts.and_then(|parts| parts.audit.as_ref()).map_or_else(
        || "not asked yet".to_owned(),
        |audit| {
            let standing = audit.standing();
            match standing.last_error {
                Some(error) => format!("rows wait in the log: {error}"),
                None if standing.migrated => "ok".to_owned(),
                None => "not migrated yet".to_owned(),
            }
        },
    );
    Readiness {
        ready: stage == Stage::Ready,
        stage: match stage {
            Stage::Starting => "starting",
            Stage::Ready => "ready",
            Stage::Draining => "draining",
        },
        clickhouse,
        engine: parts.and_then(|parts| Some(parts.engine.as_ref()?.borrow().to_string())),
    }
}

/// `GET /metrics`
pub async fn metrics(Shared(state): Shared<Arc<State>>) -> String {
    state.metrics.page()
}
