//! The entities: what a user configures. Each is written whole, with the version it was read at.
//! In and out: plain structs, JSON in the journal. Checks nothing: the writer does.

mod api_key;
mod connection;
mod endpoint;
mod environment;
mod flood;
mod integration;
mod secret;

use serde::{Deserialize, Serialize};
use tidegate_schemas::{ConnectionId, EndpointId, EnvironmentId, IntegrationId, UnixMillis};

pub use api_key::{ApiKey, ApiKeyId};
pub use connection::{Connection, ConnectionDetails};
pub use endpoint::{Endpoint, EndpointState, Mode, StaticHeader};
pub use environment::Environment;
pub use flood::{
    Debounce, DebounceSettings, Edge, FloodPolicy, FloodSettings, Keep, LIST_BYTES_MAX, MAX_WAIT_MAX,
};
pub use integration::{Integration, IntegrationFlags, RateLimit};
pub use secret::{StoredSecret, active_at};

/// What was fixed when the registry was first opened, and who writes it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// How many partitions `requests` and `state` have.
    pub requests_partitions: u32,
    /// How many partitions `events` and `retries` have.
    pub events_partitions: u32,
    /// Where the writer can be reached by other processes. The journal's `open` says it too, but is trimmed with the
    /// rounds before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_address: Option<String>,
}

/// Any entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// The registry's own facts.
    Layout(Layout),
    /// A tenant boundary.
    Environment(Environment),
    /// A provider's app as configured.
    Integration(Integration),
    /// An end user's account.
    Connection(Connection),
    /// A customer's URL.
    Endpoint(Endpoint),
    /// A key of the API.
    ApiKey(ApiKey),
}

/// Which entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityRef {
    /// The registry's own facts; there is one of these.
    Layout,
    /// By its id.
    Environment(EnvironmentId),
    /// By its id.
    Integration(IntegrationId),
    /// By its integration and its id in it.
    Connection(IntegrationId, ConnectionId),
    /// By its id.
    Endpoint(EndpointId),
    /// By its id.
    ApiKey(ApiKeyId),
}

impl EntityRef {
    /// What kind of entity it is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            EntityRef::Layout => "layout",
            EntityRef::Environment(_) => "environment",
            EntityRef::Integration(_) => "integration",
            EntityRef::Connection(..) => "connection",
            EntityRef::Endpoint(_) => "endpoint",
            EntityRef::ApiKey(_) => "API key",
        }
    }
}

impl std::fmt::Display for EntityRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind();
        match self {
            EntityRef::Layout => f.write_str(kind),
            EntityRef::Environment(id) => write!(f, "{kind} {id}"),
            EntityRef::Integration(id) => write!(f, "{kind} {id}"),
            EntityRef::Connection(integration, id) => write!(f, "{kind} `{id}` of integration {integration}"),
            EntityRef::Endpoint(id) => write!(f, "{kind} {id}"),
            EntityRef::ApiKey(id) => write!(f, "{kind} {id}"),
        }
    }
}

impl Entity {
    /// Which entity it is.
    #[must_use]
    pub fn reference(&self) -> EntityRef {
        match self {
            Entity::Layout(_) => EntityRef::Layout,
            Entity::Environment(entity) => EntityRef::Environment(entity.id),
            Entity::Integration(entity) => EntityRef::Integration(entity.id),
            Entity::Connection(entity) => EntityRef::Connection(entity.integration, entity.id.clone()),
            Entity::Endpoint(entity) => EntityRef::Endpoint(entity.id),
            Entity::ApiKey(entity) => EntityRef::ApiKey(entity.id),
        }
    }

    /// The version it was read at; 0 when it is new.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Entity::Layout(_) => 0,
            Entity::Environment(entity) => entity.version,
            Entity::Integration(entity) => entity.version,
            Entity::Connection(entity) => entity.version,
            Entity::Endpoint(entity) => entity.version,
            Entity::ApiKey(entity) => entity.version,
        }
    }

    /// When it was first written.
    pub(crate) fn created_at(&self) -> Option<UnixMillis> {
        match self {
            Entity::Layout(_) => None,
            Entity::Environment(entity) => Some(entity.created_at),
            Entity::Integration(entity) => Some(entity.created_at),
            Entity::Connection(entity) => Some(entity.created_at),
            Entity::Endpoint(entity) => Some(entity.created_at),
            Entity::ApiKey(entity) => Some(entity.created_at),
        }
    }

    /// Stamps what the writer alone decides: the next version and the times.
    pub(crate) fn stamp(&mut self, version: u64, created_at: Option<UnixMillis>, now: UnixMillis) {
        let (version_field, created, updated) = match self {
            Entity::Layout(_) => return,
            Entity::Environment(e) => (&mut e.version, &mut e.created_at, &mut e.updated_at),
            Entity::Integration(e) => (&mut e.version, &mut e.created_at, &mut e.updated_at),
            Entity::Connection(e) => (&mut e.version, &mut e.created_at, &mut e.updated_at),
            Entity::Endpoint(e) => (&mut e.version, &mut e.created_at, &mut e.updated_at),
            Entity::ApiKey(e) => (&mut e.version, &mut e.created_at, &mut e.updated_at),
        };
        *version_field = version;
        *created = created_at.unwrap_or(now);
        *updated = now;
    }

    /// Every secret in it, with the word that says what it is for; the word is bound into the ciphertext.
    pub(crate) fn secrets_mut(&mut self) -> Vec<(String, &mut StoredSecret)> {
        match self {
            Entity::Layout(_) | Entity::ApiKey(_) => Vec::new(),
            Entity::Environment(e) => labelled("signing_key", &mut e.signing_keys),
            Entity::Integration(e) => {
                let mut secrets = labelled("secret", &mut e.secrets);
                let constants = e.secret_cfg.iter_mut();
                secrets.extend(constants.map(|(name, secret)| (format!("cfg:{name}"), secret)));
                secrets
            }
            Entity::Connection(e) => labelled("secret", &mut e.details.secrets),
            Entity::Endpoint(e) => {
                let mut secrets = labelled("secret", &mut e.secrets);
                let headers = e.headers.iter_mut();
                secrets.extend(headers.map(|header| (format!("header:{}", header.name), &mut header.value)));
                secrets
            }
        }
    }
}

fn labelled<'a>(purpose: &str, secrets: &'a mut [StoredSecret]) -> Vec<(String, &'a mut StoredSecret)> {
    secrets
        .iter_mut()
        .map(|secret| {
            let label = secret.label.as_deref().unwrap_or_default();
            (format!("{purpose}:{label}"), secret)
        })
        .collect()
}
