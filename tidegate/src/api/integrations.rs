//! `/api/v1/environments/{environment}/integrations`: integrations created, read and patched one by one, with the fields of
//! the file of `tidegate apply` and by the same checks. In: JSON. Out: an integration as it is, its flood control in the end
//! too; secrets by their hints.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tidegate_registry::manifest::{
    Plan, Planning, effective_flood, integration_fields, plan_integration, secret_hints,
};
use tidegate_registry::{Environment, Integration, Tables};
use tidegate_schemas::UnixMillis;

use super::apply::refused;
use super::facts::facts;
use super::status::url_of;
use super::{Parts, Problem, State};

/// `GET …/integrations`: all of an environment.
pub async fn list(
    Shared(state): Shared<Arc<State>>,
    Path(environment): Path<String>,
) -> Result<Json<Value>, Problem> {
    let parts = up_to_date(&state).await?;
    let tables = parts.registry.read();
    let environment = environment_of(&tables, &environment)?;
    let mut integrations: Vec<_> = tables.integrations_of(&environment.id).collect();
    integrations.sort_by(|a, b| a.key.cmp(&b.key));
    let integrations = integrations
        .into_iter()
        .map(|integration| shown(parts, &environment, integration));
    Ok(Json(json!({ "integrations": integrations.collect::<Vec<_>>() })))
}

/// `POST …/integrations`: a new one, under its `key`.
pub async fn create(
    Shared(state): Shared<Arc<State>>,
    Path(environment): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let parts = up_to_date(&state).await?;
    let mut given = fields(&body)?;
    let key = named(&mut given, "key")?;
    let plan = {
        let tables = parts.registry.read();
        let environment = environment_of(&tables, &environment)?;
        if tables.integration(&environment.id, &key).is_some() {
            return Err(Problem::conflict(format!(
                "integration `{key}` exists already: PATCH it, or choose another key"
            )));
        }
        plan(parts, (&tables, &environment, &key), given)?
    };
    write(parts, plan).await?;
    Ok((StatusCode::CREATED, Json(read(parts, (&environment, &key))?)))
}

/// `GET …/integrations/{key}`
pub async fn show(
    Shared(state): Shared<Arc<State>>,
    Path((environment, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let parts = up_to_date(&state).await?;
    Ok(Json(read(parts, (&environment, &key))?))
}

/// `PATCH …/integrations/{key}`: what is named changes, `null` puts it back to its default, the rest stays.
pub async fn patch(
    Shared(state): Shared<Arc<State>>,
    Path((environment, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let parts = up_to_date(&state).await?;
    let mut given = fields(&body)?;
    let plan = {
        let tables = parts.registry.read();
        let environment = environment_of(&tables, &environment)?;
        let current = integration_of(&tables, &environment, &key)?;
        expect_version(&mut given, current.version)?;
        plan(parts, (&tables, &environment, &key), given)?
    };
    write(parts, plan).await?;
    Ok(Json(read(parts, (&environment, &key))?))
}

fn plan(
    parts: &Parts,
    (tables, environment, key): (&Tables, &Environment, &str),
    given: Map<String, Value>,
) -> Result<Plan, Problem> {
    with_planning(parts, |planning| {
        plan_integration((tables, planning), (environment, key), given)
    })
}

fn read(parts: &Parts, (environment, key): (&str, &str)) -> Result<Value, Problem> {
    let tables = parts.registry.read();
    let environment = environment_of(&tables, environment)?;
    let integration = integration_of(&tables, &environment, key)?;
    Ok(shown(parts, &environment, &integration))
}

fn shown(parts: &Parts, environment: &Environment, integration: &Integration) -> Value {
    let mut shown = json!({
        "environment": environment.name,
        "key": integration.key,
        "version": integration.version,
        "created_at": integration.created_at,
        "updated_at": integration.updated_at,
        "url": url_of(parts, environment, integration),
        "secrets": secret_hints(&integration.secrets),
        "effective_flood": effective_flood(&[&integration.flood], &parts.flood),
    });
    if let Value::Object(shown) = &mut shown {
        shown.extend(integration_fields(integration));
    }
    shown
}

/// The parts of a server whose registry shows what any process has written by now.
pub(super) async fn up_to_date(state: &State) -> Result<&Parts, Problem> {
    let parts = state.parts()?;
    parts.registry.read_to_end().await.map_err(Problem::unavailable)?;
    Ok(parts)
}

/// A body's fields.
pub(super) fn fields(body: &Bytes) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is no JSON object: {error}")))
}

/// Takes the text out of the fields by which what is made will be known.
pub(super) fn named(given: &mut Map<String, Value>, field: &str) -> Result<String, Problem> {
    match given.remove(field) {
        Some(Value::String(name)) => Ok(name),
        _ => Err(Problem::invalid(format!("`{field}` is missing: give a text"))),
    }
}

/// Takes the version out of the fields that a patch was made for, if it says so.
pub(super) fn expect_version(given: &mut Map<String, Value>, found: u64) -> Result<(), Problem> {
    match given.remove("version") {
        Some(expected) if expected.as_u64() != Some(found) => Err(Problem::conflict(format!(
            "it is at version {found}, the patch names version {expected}: read it again and repeat the change"
        ))),
        _ => Ok(()),
    }
}

/// Plans with what the providers demand.
pub(super) fn with_planning(
    parts: &Parts,
    plan: impl FnOnce(&Planning<'_>) -> Result<Plan, tidegate_registry::manifest::ManifestError>,
) -> Result<Plan, Problem> {
    let providers = facts(&parts.catalogue);
    let planning = Planning {
        file: "",
        providers: &providers,
        prune: false,
        now: UnixMillis::from(SystemTime::now()),
    };
    plan(&planning).map_err(|error| Problem::invalid(error.problems()))
}

/// Writes what a plan comes to, which may be nothing.
pub(super) async fn write(parts: &Parts, plan: Plan) -> Result<(), Problem> {
    if !plan.is_empty() {
        parts.desk.write(plan.writes).await.map_err(refused)?;
    }
    Ok(())
}

/// The environment with this name or id.
pub(super) fn environment_of(tables: &Tables, name: &str) -> Result<Arc<Environment>, Problem> {
    let by_id = || tables.environment(&name.parse().ok()?);
    let found = tables.environment_by_name(name).or_else(by_id);
    found.cloned().ok_or_else(|| {
        Problem::missing(format!(
            "there is no environment `{name}`: `tidegate apply` makes one"
        ))
    })
}

/// The integration with this key.
pub(super) fn integration_of(
    tables: &Tables,
    environment: &Environment,
    key: &str,
) -> Result<Arc<Integration>, Problem> {
    let found = tables.integration(&environment.id, key).cloned();
    found.ok_or_else(|| {
        Problem::missing(format!(
            "there is no integration `{key}` in environment `{}`",
            environment.name
        ))
    })
}
