//! `/api/v1/environments/{environment}/integrations/{key}/connections`: connections created, read and patched one by one, with
//! the fields of the file of `tidegate apply` and by the same checks. In: JSON. Out: a connection as it is, its flood
//! control in the end too; secrets by their hints.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidegate_registry::manifest::{connection_fields, effective_flood, plan_connection, secret_hints};
use tidegate_registry::{Connection, Integration, Tables};

use super::integrations::{
    environment_of, expect_version, fields, integration_of, named, up_to_date, with_planning, write,
};
use super::{Parts, Problem, State};

/// Environment, integration and connection, as a path names them.
type Place = (String, String, String);

/// `POST …/connections`: a new one, under its `id`.
pub async fn create(
    Shared(state): Shared<Arc<State>>,
    Path((environment, key)): Path<(String, String)>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let parts = up_to_date(&state).await?;
    let mut given = fields(&body)?;
    let place = (environment, key, named(&mut given, "id")?);
    let plan = {
        let tables = parts.registry.read();
        let (integration, current) = find(&tables, &place)?;
        if current.is_some() {
            return Err(Problem::conflict(format!(
                "connection `{}` exists already: PATCH it, or choose another id",
                place.2
            )));
        }
        with_planning(parts, |planning| {
            plan_connection((&tables, planning), (&integration, &place.2, None), given)
        })?
    };
    write(parts, plan).await?;
    Ok((StatusCode::CREATED, Json(read(parts, &place)?)))
}

/// `GET …/connections/{id}`
pub async fn show(
    Shared(state): Shared<Arc<State>>,
    Path(place): Path<Place>,
) -> Result<Json<Value>, Problem> {
    let parts = up_to_date(&state).await?;
    Ok(Json(read(parts, &place)?))
}

/// `PATCH …/connections/{id}`: what is named changes, `null` puts it back to its default, the rest stays.
pub async fn patch(
    Shared(state): Shared<Arc<State>>,
    Path(place): Path<Place>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let parts = up_to_date(&state).await?;
    let mut given = fields(&body)?;
    let plan = {
        let tables = parts.registry.read();
        let (integration, current) = find(&tables, &place)?;
        let current = current.ok_or_else(|| missing(&place))?;
        expect_version(&mut given, current.version)?;
        let at = (&*integration, &*place.2, Some(&current));
        with_planning(parts, |planning| plan_connection((&tables, planning), at, given))?
    };
    write(parts, plan).await?;
    Ok(Json(read(parts, &place)?))
}

fn read(parts: &Parts, place: &Place) -> Result<Value, Problem> {
    let tables = parts.registry.read();
    let (integration, connection) = find(&tables, place)?;
    let connection = connection.ok_or_else(|| missing(place))?;
    let details = &connection.details;
    let settings = [&integration.flood, &details.flood];
    let mut shown = json!({
        "environment": environment_of(&tables, &place.0)?.name,
        "integration": integration.key,
        "id": connection.id,
        "version": connection.version,
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
        "secrets": secret_hints(&details.secrets),
        "effective_flood": effective_flood(&settings, &parts.flood),
    });
    if let Value::Object(shown) = &mut shown {
        shown.extend(connection_fields(&connection));
    }
    Ok(shown)
}

/// The integration, and the connection if it is there.
fn find(
    tables: &Tables,
    (environment, key, id): &Place,
) -> Result<(Arc<Integration>, Option<Connection>), Problem> {
    let environment = environment_of(tables, environment)?;
    let integration = integration_of(tables, &environment, key)?;
    let connection = tables.connection(&integration.id, id);
    let connection = connection
        .map(|connection| connection.to_connection())
        .transpose();
    Ok((integration, connection.map_err(Problem::unavailable)?))
}

fn missing((_, key, id): &Place) -> Problem {
    Problem::missing(format!("there is no connection `{id}` in integration `{key}`"))
}
