//! The tables as changes, piece by piece: what the journal's slices are made of.
//! In: a cursor. Out: the entities behind it, sealed, environments before what is in them. Bounds nothing and
//! encodes nothing: whoever walks stops when it has enough.

use std::ops::Bound::{self, Excluded, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_schemas::{EndpointId, EnvironmentId, IntegrationId};

use super::{ConnectionRef, Tables};
use crate::entity::{ApiKeyId, Entity};

/// Behind which entity a walk goes on. Connections are walked by slot, which no connection changes while the tables
/// live; a new one in a slot already passed stands in the journal as a change of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cursor {
    Start,
    Layout,
    Environment(EnvironmentId),
    Integration(IntegrationId),
    Endpoint(EndpointId),
    ApiKey(ApiKeyId),
    Connection(u32),
}

impl Tables {
    /// Every entity behind `cursor`, each with the cursor that goes on behind it.
    pub(crate) fn walk(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let layout = self.layout.clone().filter(|_| cursor == Cursor::Start);
        let layout = layout.map(|layout| (Cursor::Layout, Entity::Layout(layout)));
        let small = layout
            .into_iter()
            .chain(self.walk_environments(cursor))
            .chain(self.walk_integrations(cursor))
            .chain(self.walk_endpoints(cursor))
            .chain(self.walk_api_keys(cursor));
        small.chain(self.walk_connections(cursor))
    }

    fn walk_environments(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let from = match cursor {
            Cursor::Start | Cursor::Layout => Some(Unbounded),
            Cursor::Environment(id) => Some(Excluded(id)),
            _ => None,
        };
        let tenants = behind(from, |bounds| self.environments.range(bounds));
        tenants.filter_map(|(id, tenant)| {
            let environment = tenant.environment.as_ref()?;
            Some((
                Cursor::Environment(*id),
                Entity::Environment(Arc::unwrap_or_clone(environment.clone())),
            ))
        })
    }

    fn walk_integrations(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let from = match cursor {
            Cursor::Start | Cursor::Layout | Cursor::Environment(_) => Some(Unbounded),
            Cursor::Integration(id) => Some(Excluded(id)),
            _ => None,
        };
        let integrations = behind(from, |bounds| self.integrations.range(bounds));
        integrations.map(|(id, it)| {
            (
                Cursor::Integration(*id),
                Entity::Integration(Arc::unwrap_or_clone(it.clone())),
            )
        })
    }

    fn walk_endpoints(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let from = match cursor {
            Cursor::Start | Cursor::Layout | Cursor::Environment(_) | Cursor::Integration(_) => {
                Some(Unbounded)
            }
            Cursor::Endpoint(id) => Some(Excluded(id)),
            _ => None,
        };
        let endpoints = behind(from, |bounds| self.endpoints.range(bounds));
        endpoints.map(|(id, it)| {
            (
                Cursor::Endpoint(*id),
                Entity::Endpoint(Arc::unwrap_or_clone(it.clone())),
            )
        })
    }

    fn walk_api_keys(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let from = match cursor {
            Cursor::Connection(_) => None,
            Cursor::ApiKey(id) => Some(Excluded(id)),
            _ => Some(Unbounded),
        };
        let keys = behind(from, |bounds| self.api_keys.range(bounds));
        keys.map(|(id, it)| {
            (
                Cursor::ApiKey(*id),
                Entity::ApiKey(Arc::unwrap_or_clone(it.clone())),
            )
        })
    }

    fn walk_connections(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entity)> {
        let from = match cursor {
            Cursor::Connection(slot) => slot + 1,
            _ => 0,
        };
        let slots = (from..self.connections.slots()).filter(|slot| self.connections.is_taken(*slot));
        slots.map(|slot| {
            let connection = ConnectionRef { tables: self, slot }.to_sealed();
            (Cursor::Connection(slot), Entity::Connection(connection))
        })
    }
}

/// The entries of a map behind a bound, or none without one.
fn behind<K, I: Iterator>(
    from: Option<Bound<K>>,
    range: impl Fn((Bound<K>, Bound<K>)) -> I,
) -> impl Iterator<Item = I::Item> {
    from.into_iter().flat_map(move |from| range((from, Unbounded)))
}
