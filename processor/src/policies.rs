//! Which flood control holds for the events of one batch, asked once for each integration and event type in it, and for
//! each connection that has settings of its own. In: what was examined, the registry. Out: a policy for every event.

use std::sync::Arc;

use hashbrown::HashMap;
use tidegate_registry::{FloodPolicy, Integration, Tables};
use tidegate_schemas::IntegrationId;

use crate::event::{Event, Examined, Finding, Whose};

type ByType = HashMap<Box<str>, Arc<FloodPolicy>>;

/// The policies of one batch.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    by_type: HashMap<IntegrationId, ByType>,
    by_connection: HashMap<(IntegrationId, Box<str>), ByType>,
    default: Arc<FloodPolicy>,
}

impl Policies {
    /// Finds the policies for everything that was found and not refused.
    pub fn plan(examined: &[Examined], tables: &Tables, default: &FloodPolicy) -> Self {
        let mut policies = Self {
            default: Arc::new(default.clone()),
            ..Self::default()
        };
        for examined in examined {
            let (Finding::Events(found), Some(integration)) = (&examined.finding, &examined.integration)
            else {
                continue;
            };
            for event in &found.events {
                policies.add(integration, event, tables);
            }
        }
        policies
    }

    /// The policy for an event of a connection.
    pub fn of(&self, integration: IntegrationId, connection: Option<&str>, event_type: &str) -> &FloodPolicy {
        let own = connection
            .filter(|_| !self.by_connection.is_empty())
            .and_then(|connection| self.by_connection.get(&(integration, connection.into())));
        let by_type = own.or_else(|| self.by_type.get(&integration));
        by_type
            .and_then(|by_type| by_type.get(event_type))
            .unwrap_or(&self.default)
    }

    /// The policy as it is now, for one event alone.
    pub fn now(
        tables: &Tables,
        default: &FloodPolicy,
        (integration, connection, event_type): (&Integration, &str, &str),
    ) -> FloodPolicy {
        let policy = default.clone().with(&integration.flood, event_type);
        match settings_of(tables, integration.id, connection) {
            Some(settings) => policy.with(&settings, event_type),
            None => policy,
        }
    }

    fn add(&mut self, integration: &Integration, event: &Event, tables: &Tables) {
        let by_type = self.by_type.entry(integration.id).or_default();
        let policy = match by_type.get(&event.event_type) {
            Some(policy) => policy,
            None => {
                let policy = (*self.default)
                    .clone()
                    .with(&integration.flood, &event.event_type);
                &*by_type
                    .entry(event.event_type.clone())
                    .or_insert(Arc::new(policy))
            }
        };
        let Whose::Connections(connections) = &event.whose else {
            return;
        };
        for connection in connections {
            let place = (integration.id, connection.clone());
            let known = self.by_connection.get(&place);
            if known.is_some_and(|by_type| by_type.contains_key(&event.event_type)) {
                continue;
            }
            if let Some(settings) = settings_of(tables, integration.id, connection) {
                let own = (**policy).clone().with(&settings, &event.event_type);
                let by_type = self.by_connection.entry(place).or_default();
                by_type.insert(event.event_type.clone(), Arc::new(own));
            }
        }
    }
}

fn settings_of(
    tables: &Tables,
    integration: IntegrationId,
    connection: &str,
) -> Option<tidegate_registry::FloodSettings> {
    let found = tables.connection(&integration, connection)?;
    found.flood_settings().unwrap_or_else(|error| {
        tracing::error!(connection, %error, "a connection's flood settings cannot be read");
        None
    })
}
