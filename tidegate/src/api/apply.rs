//! `POST /api/v1/apply`: a declarative file is read, compared with the registry and, unless only the plan is asked
//! for, written. What a provider demands of an integration comes from its definition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use tidegate_registry::manifest::{Manifest, Planning};
use tidegate_registry::{EntityRef, StoredSecret, WriteError};
use tidegate_schemas::UnixMillis;

use super::facts::facts;
use super::status::{Webhook, webhooks};
use super::{Problem, State};

/// A file to be applied.
#[derive(Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Its name in errors.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The values of the variables that it names.
    pub variables: BTreeMap<String, String>,
    /// Whether to delete what it does not name.
    pub prune: bool,
    /// Whether to write, rather than to plan alone.
    pub write: bool,
}

/// What was, or would be, done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Applied {
    /// The plan, as printed.
    pub plan: String,
    /// Whether there is anything to do.
    pub changes: bool,
    /// Secrets that were generated: shown now and never again.
    pub generated: Vec<String>,
    /// Every integration with its URL, as it is now.
    pub integrations: Vec<Webhook>,
}

/// The route.
pub async fn apply(
    Shared(state): Shared<Arc<State>>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Applied>, Problem> {
    let parts = state.parts()?;
    // What another process has just written is part of the plan.
    parts.registry.read_to_end().await.map_err(Problem::unavailable)?;
    let lookup = |name: &str| wanted.variables.get(name).cloned();
    let manifest = Manifest::parse(&wanted.file, &wanted.text, lookup).map_err(Problem::invalid)?;
    let now = UnixMillis::from(SystemTime::now());
    let providers = facts(&parts.catalogue);
    let planning = Planning {
        file: &wanted.file,
        providers: &providers,
        prune: wanted.prune,
        now,
    };
    let plan = manifest
        .plan(&parts.registry.read(), &planning)
        .map_err(Problem::invalid)?;
    let printed = plan.to_string();
    let changes = !plan.is_empty();
    let mut generated = Vec::new();
    if wanted.write && changes {
        let written = parts.desk.write(plan.writes).await.map_err(refused)?;
        let shown = |(entity, stored): &(EntityRef, StoredSecret)| {
            format!("{entity}: {}", String::from_utf8_lossy(stored.secret().expose()))
        };
        generated = written.generated.iter().map(shown).collect();
    }
    let integrations = webhooks(&parts.registry.read(), parts);
    Ok(Json(Applied {
        plan: printed,
        changes,
        generated,
        integrations,
    }))
}

/// A write that was refused, or has failed.
pub(super) fn refused(error: WriteError) -> Problem {
    if error.is_conflict() {
        Problem::conflict(error)
    } else if error.is_retryable() {
        Problem::unavailable(error)
    } else {
        Problem::invalid(error)
    }
}
