//! `/healthz` (the process is alive), `/readyz` (it takes requests; with what stands behind it) and `/metrics`.
//! A dead ClickHouse does not make a server unready: rows wait in the log. It is told, though.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;
use tidegate_broker::Broker;
use tidegate_broker::kafka::SpillStanding;

use super::{Stage, State};

/// What `/readyz` says.
#[derive(Debug, Serialize)]
pub struct Readiness {
    ready: bool,
    stage: &'static str,
    /// How the audit stands with ClickHouse.
    clickhouse: String,
    /// What waits in this process's spill for Kafka, while anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    spill: Option<String>,
    /// That the registry is this process's last copy, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<&'static str>,
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
        spill: parts.and_then(|parts| spill(&parts.broker)),
        registry: parts
            .is_some_and(|parts| parts.registry.runs_on_copy())
            .then_some("this process's last copy"),
        engine: parts.and_then(|parts| Some(parts.engine.as_ref()?.borrow().to_string())),
    }
}

/// What waits for Kafka, in words.
fn spill(broker: &Broker) -> Option<String> {
    let SpillStanding {
        spills_for,
        spilled,
        used_bytes,
    } = broker.spill()?;
    let spills_for = spills_for?;
    let full = if broker.has_space() { "" } else { "; it is full" };
    Some(format!(
        "Kafka is away: requests have gone into the spill for {} s; {} of {} bytes lie there, {used_bytes} bytes on the disk{full}",
        spills_for.as_secs(),
        spilled.requests,
        spilled.bytes
    ))
}

/// `GET /metrics`
pub async fn metrics(Shared(state): Shared<Arc<State>>) -> String {
    state.metrics.page()
}
