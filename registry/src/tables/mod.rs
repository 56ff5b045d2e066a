//! The whole registry in memory. In: changes, in the order of the journal. Out: entities by id, by name, and
//! connections by the values that events name.
//!
//! Applying is total: a change may name an environment or integration that comes later (a journal is read from the
//! middle of a round of slices), and applying a change twice is harmless. What is allowed is the writer's to check.

mod connection_ref;
mod connections;
mod numbers;
mod postings;
mod record;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_schemas::{EndpointId, EnvironmentId, IntegrationId, UnixMillis};

use crate::change::{Change, DecodeError};
use crate::entity::{
    ApiKey, ApiKeyId, Connection, Endpoint, Entity, EntityRef, Environment, Integration, Layout,
};
use crate::keyring::{Keyring, SealError};
pub use connection_ref::ConnectionRef;
use connections::Connections;
pub(crate) use walk::Cursor;

/// A change that cannot be applied: the reader must stop.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// One of its secrets does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A connection's details that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This process keeps no details.
    #[error(
        "this process keeps no metadata, tags or secrets of connections: ask a process with another role"
    )]
    DetailsNotLoaded,
    /// A secret does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// All entities.
pub struct Tables {
    keyring: Arc<Keyring>,
    keeps_details: bool,
    layout: Option<Layout>,
    environments: BTreeMap<EnvironmentId, Tenant>,
    integrations: BTreeMap<IntegrationId, Arc<Integration>>,
    endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    api_keys: BTreeMap<ApiKeyId, Arc<ApiKey>>,
    connections: Connections,
}

/// What belongs to one environment. Its entity may come later than what is in it.
#[derive(Default)]
struct Tenant {
    environment: Option<Arc<Environment>>,
    integrations: BTreeMap<String, Arc<Integration>>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// Heap bytes of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionBytes {
    /// Ids, properties and the indexes.
    pub matched: usize,
    /// Metadata, tags and secrets, encoded.
    pub details: usize,
}

impl Tables {
    /// Empty tables, whose secrets open under `keyring`. Without details (metadata, tags and secrets of connections)
    /// they are smaller, and a connection can be found but not read whole.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, keeps_details: bool) -> Self {
        Self {
            keyring,
            keeps_details,
            layout: None,
            environments: BTreeMap::new(),
            integrations: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            connections: Connections::default(),
        }
    }

    /// What was fixed when the registry was first opened, and who writes it.
    #[must_use]
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// An environment by its id.
    #[must_use]
    pub fn environment(&self, id: &EnvironmentId) -> Option<&Arc<Environment>> {
        self.environments.get(id)?.environment.as_ref()
    }

    /// Every environment, by id.
    pub fn environments(&self) -> impl Iterator<Item = &Arc<Environment>> {
        self.environments
            .values()
            .filter_map(|tenant| tenant.environment.as_ref())
    }

    /// An environment by its name.
    #[must_use]
    pub fn environment_by_name(&self, name: &str) -> Option<&Arc<Environment>> {
        self.environments().find(|environment| environment.name == name)
    }

    /// The integration that `key` names in an environment.
    #[must_use]
    pub fn integration(&self, environment: &EnvironmentId, key: &str) -> Option<&Arc<Integration>> {
        self.environments.get(environment)?.integrations.get(key)
    }

    /// An integration by its id.
    #[must_use]
    pub fn integration_by_id(&self, id: &IntegrationId) -> Option<&Arc<Integration>> {
        self.integrations.get(id)
    }

    /// The integrations of an environment, by key.
    pub fn integrations_of(&self, environment: &EnvironmentId) -> impl Iterator<Item = &Arc<Integration>> {
        let tenant = self.environments.get(environment);
        tenant.into_iter().flat_map(|tenant| tenant.integrations.values())
    }

    /// Every integration, by id.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<Integration>> {
        self.integrations.values()
    }

    /// An endpoint by its id.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(id)
    }

    /// The endpoints of an environment, by id.
    #[must_use]
    pub fn endpoints_of(&self, environment: &EnvironmentId) -> &[Arc<Endpoint>] {
        self.environments
            .get(environment)
            .map_or(&[], |tenant| &tenant.endpoints)
    }

    /// The endpoint that `name` names in an environment.
    #[must_use]
    pub fn endpoint_by_name(&self, environment: &EnvironmentId, name: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints_of(environment)
            .iter()
            .find(|endpoint| endpoint.name == name)
    }

    /// An API key by its id.
    #[must_use]
    pub fn api_key(&self, id: &ApiKeyId) -> Option<&Arc<ApiKey>> {
        self.api_keys.get(id)
    }

    /// The key whose text this is, if it has not ended at `now`.
    #[must_use]
    pub fn api_key_by_text(&self, text: &str, now: UnixMillis) -> Option<&Arc<ApiKey>> {
        let hash = ApiKey::hash_of(text);
        let mut keys = self.api_keys.values();
        keys.find(|key| key.hash == hash && key.not_after.is_none_or(|end| now < end))
    }

    /// Every API key, by id.
    pub fn api_keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.api_keys.values()
    }

    /// A connection by its id.
    #[must_use]
    pub fn connection(&self, integration: &IntegrationId, id: &str) -> Option<ConnectionRef<'_>> {
        let slot = self.connections.find(integration, id)?;
        Some(ConnectionRef { tables: self, slot })
    }

    /// The connections of an integration that have `value` among the values of `property`. An empty value matches
    /// none.
    pub fn connections_by(
        &self,
        integration: &IntegrationId,
        property: &str,
        value: &str,
    ) -> impl Iterator<Item = ConnectionRef<'_>> + Clone {
        let slots = self.connections.by_value(integration, property, value);
        slots.map(|slot| ConnectionRef { tables: self, slot })
    }

    /// The connections of an integration, in no order that lasts. Passes over all connections there are.
    pub fn connections_of(&self, integration: IntegrationId) -> impl Iterator<Item = ConnectionRef<'_>> {
        let slots = (0..self.connections.slots()).filter(|slot| self.connections.is_taken(*slot));
        slots
            .map(|slot| ConnectionRef { tables: self, slot })
            .filter(move |connection| connection.integration() == integration)
    }

    /// Any entity whole, its secrets open.
    ///
    /// # Errors
    /// [`ReadError`] for a connection, as [`ConnectionRef::to_connection`].
    pub fn entity(&self, reference: &EntityRef) -> Result<Option<Entity>, ReadError> {
        Ok(match reference {
            EntityRef::Layout => self.layout.clone().map(Entity::Layout),
            EntityRef::Environment(id) => self
                .environment(id)
                .map(|it| Entity::Environment(it.as_ref().clone())),
            EntityRef::Integration(id) => self
                .integration_by_id(id)
                .map(|it| Entity::Integration(it.as_ref().clone())),
            EntityRef::Connection(integration, id) => match self.connection(integration, id) {
                Some(connection) => Some(Entity::Connection(connection.to_connection()?)),
                None => None,
            },
            EntityRef::Endpoint(id) => self.endpoint(id).map(|it| Entity::Endpoint(it.as_ref().clone())),
            EntityRef::ApiKey(id) => self.api_key(id).map(|it| Entity::ApiKey(it.as_ref().clone())),
        })
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        self.connections.len()
    }

    /// Heap bytes of the connections, allocator overhead not counted.
    #[must_use]
    pub fn connection_bytes(&self) -> ConnectionBytes {
        let (matched, details) = self.connections.bytes();
        ConnectionBytes { matched, details }
    }

    /// Applies a change as it stands in the journal.
    ///
    /// # Errors
    /// [`ApplyError`] when it cannot be decoded or a secret in it does not open; nothing has changed then.
    pub fn apply_encoded(&mut self, change: &[u8]) -> Result<(), ApplyError> {
        self.apply(Change::decode(change)?)?;
        Ok(())
    }

    /// Applies a change whose secrets are sealed.
    ///
    /// # Errors
    /// [`SealError`] when a secret in it does not open; nothing has changed then.
    pub fn apply(&mut self, change: Change) -> Result<(), SealError> {
        match change {
            Change::Put(entity) => self.put(*entity),
            Change::Delete(reference) => {
                self.delete(&reference);
                Ok(())
            }
        }
    }

    fn put(&mut self, mut entity: Entity) -> Result<(), SealError> {
        if !matches!(entity, Entity::Connection(_)) {
            self.keyring.open(&mut entity)?;
        }
        match entity {
            Entity::Layout(layout) => self.layout = Some(layout),
            Entity::Environment(environment) => {
                let tenant = self.environments.entry(environment.id).or_default();
                tenant.environment = Some(Arc::new(environment));
            }
            Entity::Integration(integration) => self.put_integration(Arc::new(integration)),
            Entity::Connection(connection) => self.put_connection(&connection),
            Entity::Endpoint(endpoint) => self.put_endpoint(Arc::new(endpoint)),
            Entity::ApiKey(key) => {
                self.api_keys.insert(key.id, Arc::new(key));
            }
        }
        Ok(())
    }

    fn put_integration(&mut self, integration: Arc<Integration>) {
        let tenant = self.environments.entry(integration.environment).or_default();
        tenant
            .integrations
            .insert(integration.key.clone(), integration.clone());
        self.integrations.insert(integration.id, integration);
    }

    fn put_connection(&mut self, connection: &Connection) {
        let kept = self.keeps_details && !connection.details.is_empty();
        let details = kept.then(|| {
            let json = serde_json::to_vec(&connection.details).expect("details have only text keys");
            json.into_boxed_slice()
        });
        self.connections.put(connection, details);
    }

    fn put_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        let tenant = self.environments.entry(endpoint.environment).or_default();
        match tenant
            .endpoints
            .binary_search_by_key(&endpoint.id, |other| other.id)
        {
            Ok(at) => tenant.endpoints[at] = endpoint.clone(),
            Err(at) => tenant.endpoints.insert(at, endpoint.clone()),
        }
        self.endpoints.insert(endpoint.id, endpoint);
    }

    fn delete(&mut self, reference: &EntityRef) {
        match reference {
            EntityRef::Layout => {}
            EntityRef::Environment(id) => self.delete_environment(id),
            EntityRef::Integration(id) => self.delete_integration(id),
            EntityRef::Connection(integration, id) => {
                self.connections.remove(integration, id);
            }
            EntityRef::Endpoint(id) => {
                if let Some(endpoint) = self.endpoints.remove(id)
                    && let Some(tenant) = self.environments.get_mut(&endpoint.environment)
                {
                    tenant.endpoints.retain(|other| other.id != *id);
                }
            }
            EntityRef::ApiKey(id) => {
                self.api_keys.remove(id);
            }
        }
    }

    fn delete_environment(&mut self, id: &EnvironmentId) {
        let Some(tenant) = self.environments.remove(id) else {
            return;
        };
        for integration in tenant.integrations.values() {
            self.delete_integration(&integration.id);
        }
        for endpoint in &tenant.endpoints {
            self.endpoints.remove(&endpoint.id);
        }
        self.api_keys.retain(|_, key| key.environment != Some(*id));
    }

    fn delete_integration(&mut self, id: &IntegrationId) {
        if let Some(integration) = self.integrations.remove(id)
            && let Some(tenant) = self.environments.get_mut(&integration.environment)
        {
            tenant.integrations.remove(&integration.key);
        }
        self.connections.remove_all(id);
    }
}
