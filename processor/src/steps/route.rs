//! Who gets an event? In: the endpoints of its environment, its integration, its type. Out: the endpoints that want it,
//! or why none does. An endpoint that is switched off still collects: its deliveries wait.

use std::sync::Arc;

use tidegate_registry::{Endpoint, Integration};
use tidegate_schemas::{EndpointId, Reason};

use crate::event::Refused;

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// To these endpoints, at least one.
    To(Arc<[EndpointId]>),
    /// To none.
    Nowhere(Refused),
}

/// Chooses the endpoints for an event of `event_type`.
pub(crate) fn route(endpoints: &[Arc<Endpoint>], integration: &Integration, event_type: &str) -> Route {
    if !integration.flags.forward {
        return nowhere(Reason::ForwardOff);
    }
    if endpoints.is_empty() {
        return nowhere(Reason::EndpointMissing);
    }
    let wanting = endpoints
        .iter()
        .filter(|endpoint| endpoint.wants(&integration.key, event_type));
    let to: Arc<[EndpointId]> = wanting.map(|endpoint| endpoint.id).collect();
    if to.is_empty() {
        return nowhere(Reason::EndpointFilter);
    }
    Route::To(to)
}

fn nowhere(reason: Reason) -> Route {
    Route::Nowhere(Refused::new(reason, ""))
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::{EnvironmentId, UnixMillis};

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn check(forward: bool, filters: &[(&[&str], &[&str])], expected: Result<&[usize], Reason>) {
        let environment = EnvironmentId::new(NOW);
        let mut integration = Integration::new(environment, "crm", "acme", NOW);
        integration.flags.forward = forward;
        let mut endpoints = Vec::new();
        for (at, (integrations, types)) in filters.iter().enumerate() {
            let mut endpoint = Endpoint::new(environment, &format!("e{at}"), "https://example.com", NOW);
            endpoint.integrations = integrations.iter().map(ToString::to_string).collect();
            endpoint.types = types.iter().map(ToString::to_string).collect();
            endpoints.push(Arc::new(endpoint));
        }
        let found = match route(&endpoints, &integration, "contact.created") {
            Route::To(ids) => {
                let place = |id: &EndpointId| endpoints.iter().position(|endpoint| endpoint.id == *id);
                Ok(ids
                    .iter()
                    .map(|id| place(id).expect("one of them"))
                    .collect::<Vec<_>>())
            }
            Route::Nowhere(refused) => Err(refused.reason),
        };
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{filters:?}");
    }

    #[test]
    fn an_event_goes_to_every_endpoint_that_wants_it() {
        check(true, &[(&[], &[])], Ok(&[0]));
        check(
            true,
            &[(&[], &[]), (&["shop"], &[]), (&["crm"], &["contact.*"])],
            Ok(&[0, 2]),
        );
    }

    #[test]
    fn an_event_that_nobody_wants_says_why() {
        check(true, &[], Err(Reason::EndpointMissing));
        check(
            true,
            &[(&["shop"], &[]), (&[], &["deal.*"])],
            Err(Reason::EndpointFilter),
        );
        check(false, &[(&[], &[])], Err(Reason::ForwardOff));
    }
}
