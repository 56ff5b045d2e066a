//! Where the events of one batch go, asked once for each integration and event type in it, and the flood control that
//! holds on the way. In: what was examined, the registry. Out: a route for every event. Chooses by
//! [`route`](crate::steps::route::route) alone.

use hashbrown::HashMap;
use tidegate_registry::{FloodPolicy, Tables};
use tidegate_schemas::{IntegrationId, Reason};

use crate::event::{Event, Examined, Finding, Refused, Whose};
use crate::policies::Policies;
use crate::steps::route::{Route, route};

/// The routes of one batch.
#[derive(Debug)]
pub(crate) struct Routes {
    by_integration: HashMap<IntegrationId, HashMap<Box<str>, Route>>,
    gone: Route,
    /// How the floods of the same events are controlled.
    pub policies: Policies,
}

impl Routes {
    /// Chooses the endpoints for everything that was found and not refused.
    pub fn plan(examined: &[Examined], tables: &Tables, default: &FloodPolicy) -> Self {
        let mut by_integration: HashMap<IntegrationId, HashMap<Box<str>, Route>> = HashMap::new();
        for examined in examined {
            let (Finding::Events(found), Some(integration)) = (&examined.finding, &examined.integration)
            else {
                continue;
            };
            let by_type = by_integration.entry(integration.id).or_default();
            let going = found
                .events
                .iter()
                .filter(|event| !matches!(event.whose, Whose::Refused(_)));
            for event in going {
                if !by_type.contains_key(&event.event_type) {
                    let endpoints = tables.endpoints_of(&integration.environment);
                    by_type.insert(
                        event.event_type.clone(),
                        route(endpoints, integration, &event.event_type),
                    );
                }
            }
        }
        Self {
            by_integration,
            gone: Route::Nowhere(Refused::new(Reason::IntegrationGone, "")),
            policies: Policies::plan(examined, tables, default),
        }
    }

    /// Routes for no event: what windows kept is routed one by one.
    pub fn none() -> Self {
        Self {
            by_integration: HashMap::new(),
            gone: Route::Nowhere(Refused::new(Reason::IntegrationGone, "")),
            policies: Policies::default(),
        }
    }

    /// Where an event goes.
    pub fn of(&self, examined: &Examined, event: &Event) -> &Route {
        let integration = examined.integration.as_ref();
        let by_type = integration.and_then(|integration| self.by_integration.get(&integration.id));
        by_type
            .and_then(|by_type| by_type.get(&event.event_type))
            .unwrap_or(&self.gone)
    }

    /// Whether a write to the registry could turn one of them.
    pub fn could_turn(&self) -> bool {
        let routes = self.by_integration.values().flat_map(HashMap::values);
        routes.into_iter().any(|route| matches!(route, Route::Nowhere(_)))
    }
}
