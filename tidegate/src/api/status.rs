//! `GET /api/v1/status`: where a server listens, how it is, and the URLs to register at providers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use tidegate_registry::{Environment, Integration, Tables};

use super::{Parts, Problem, State};

/// What a server says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Where ingest listens; empty when this process has not that role.
    pub ingest: String,
    /// Whether ClickHouse has its tables, and takes rows.
    pub audit: bool,
    /// Every integration with its URL.
    pub integrations: Vec<Webhook>,
}

/// An integration's URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// The environment's name.
    pub environment: String,
    /// The integration's key.
    pub integration: String,
    /// Its provider.
    pub provider: String,
    /// What to register at the provider.
    pub url: String,
}

/// The route.
pub async fn status(Shared(state): Shared<Arc<State>>) -> Result<Json<Status>, Problem> {
    let parts = state.parts()?;
    let standing = parts.audit.as_ref().map(tidegate_sinks::audit::Status::standing);
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ingest: parts
            .ingest
            .map_or_else(String::new, |address| format!("http://{address}")),
        audit: standing.is_some_and(|standing| standing.migrated && standing.reachable),
        integrations: webhooks(&parts.registry.read(), parts),
    }))
}

/// Every integration's URL, in order.
pub fn webhooks(tables: &Tables, parts: &Parts) -> Vec<Webhook> {
    let mut all: Vec<_> = tables
        .environments()
        .flat_map(|environment| {
            tables
                .integrations_of(&environment.id)
                .map(|integration| Webhook {
                    environment: environment.name.clone(),
                    integration: integration.key.clone(),
                    provider: integration.provider.clone(),
                    url: url_of(parts, environment, integration),
                })
        })
        .collect();
    all.sort_by(|a, b| (&a.environment, &a.integration).cmp(&(&b.environment, &b.integration)));
    all
}

/// What to register at the provider.
pub(super) fn url_of(parts: &Parts, environment: &Environment, integration: &Integration) -> String {
    let own = || {
        format!(
            "{}/webhook/{}/{}",
            parts.public_url, environment.id, integration.key
        )
    };
    integration.public_url.clone().unwrap_or_else(own)
}
