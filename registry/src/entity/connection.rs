//! A connection as a whole: what is written, and what a full read gives back.
//! In memory the registry keeps connections encoded (see `tables`); nothing here is on the hot path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_schemas::{ConnectionId, IntegrationId, UnixMillis};

use super::{FloodSettings, StoredSecret};

/// One end user's account at a provider, inside an integration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The integration it belongs to.
    pub integration: IntegrationId,
    /// The user's own text; unique in the integration.
    pub id: ConnectionId,
    /// Raised by one with every write; 0 before the first.
    pub version: u64,
    /// When it was first written.
    pub created_at: UnixMillis,
    /// When it was last written.
    pub updated_at: UnixMillis,
    /// What events are matched by: property name → its values. An empty value matches nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Vec<String>>,
    /// Whether a handshake may store a secret here; taken back once one has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_secret: bool,
    /// What is kept beside it.
    #[serde(flatten)]
    pub details: ConnectionDetails,
}

/// What no event is matched by: kept encoded, and not at all by processes that need none of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionDetails {
    /// The user's own JSON.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// The user's own labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Secrets of this connection alone, where the provider has one per account or webhook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<StoredSecret>,
    /// How its floods are controlled, where not as its integration's.
    #[serde(default, skip_serializing_if = "FloodSettings::is_empty")]
    pub flood: FloodSettings,
}

impl ConnectionDetails {
    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.tags.is_empty() && self.secrets.is_empty() && self.flood.is_empty()
    }
}

impl Connection {
    /// A new connection without properties.
    #[must_use]
    pub fn new(integration: IntegrationId, id: impl Into<ConnectionId>, now: UnixMillis) -> Self {
        Self {
            integration,
            id: id.into(),
            version: 0,
            created_at: now,
            updated_at: now,
            properties: BTreeMap::new(),
            awaits_secret: false,
            details: ConnectionDetails::default(),
        }
    }

    /// Leaves out what no event can be matched by: empty values, repeated ones, properties without any.
    pub(crate) fn normalise(&mut self) {
        for values in self.properties.values_mut() {
            let mut kept: Vec<String> = Vec::with_capacity(values.len());
            for value in values.drain(..) {
                if !value.is_empty() && !kept.contains(&value) {
                    kept.push(value);
                }
            }
            *values = kept;
        }
        self.properties.retain(|_, values| !values.is_empty());
    }

    /// The same with `value` among the values of `property`.
    #[must_use]
    pub fn with_property(mut self, property: &str, value: &str) -> Self {
        self.properties
            .entry(property.to_owned())
            .or_default()
            .push(value.to_owned());
        self
    }
}
