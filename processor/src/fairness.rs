//! Fairness: what exceeds its connection's or its integration's rate waits its turn, so that a flooder delays only
//! itself. In: an event on its way, with the rates that hold for it. Out: the event, or nothing when it was set aside.
//! While a connection has anything set aside for its rate its new events join the end, so that their order stays.

use std::time::Duration;

use tidegate_registry::{FloodPolicy, Integration, RateLimit};
use tidegate_schemas::IntegrationId;

use crate::handing_on::{At, Desk};
use crate::metrics;
use crate::pipeline::Pipeline;
use crate::rates::{Pace, Payer};
use crate::set_aside::{Cause, Entry, Queue, Wait};
use crate::state::{State, Turn};
use crate::tracked::Tracked;

/// How far apart the members of a run may be, times sixty: a run is full long before.
const LONGEST: Duration = Duration::from_secs(60 * 3600);

impl Pipeline {
    /// Lets an event pass that fits its rates or whose turn it is; sets the others aside.
    pub fn await_turn<'d>(
        &self,
        tracked: Tracked<'d>,
        at: At<'d>,
        desk: &mut Desk<'_>,
    ) -> Option<Tracked<'d>> {
        let Some(integration) = &at.examined.integration else {
            return Some(tracked);
        };
        let (connection, asked) = (tracked.subject.connection, &tracked.subject.request.asked);
        let policies = &desk.routes.policies;
        let policy = policies.of(integration.id, connection, &at.event.event_type);
        if asked.replay || (policy.rate.is_none() && policy.integration_rate.is_none()) {
            return Some(tracked);
        }
        let pace = pace(desk.state, (integration, connection), policy);
        let queue = queue_of(integration.id, connection);
        if asked.in_turn.is_some() {
            // It was paid for when its turn came.
            desk.state.set_pace(&queue, pace);
            return Some(tracked);
        }
        let entry = Entry {
            offset: tracked.subject.request.pointer.offset,
            position: Some(tracked.subject.position()),
            replay: false,
        };
        let wait = Wait {
            since: desk.now,
            due: desk.now,
            longest: LONGEST,
        };
        match desk.state.take_turn(queue, (entry, pace), wait) {
            Turn::Now => Some(tracked),
            Turn::Later => {
                metrics::count_rate_exceeded(1);
                tracked.set_aside();
                None
            }
            Turn::NoRoom => {
                metrics::count_passed(1);
                Some(tracked)
            }
        }
    }
}

/// The queue in which a connection's events wait their turn.
fn queue_of(integration: IntegrationId, connection: Option<&str>) -> Queue {
    Queue {
        cause: Cause::Rate,
        name: format!("{integration}/{}", connection.unwrap_or_default()).into(),
    }
}

/// The connection whose turn a queue is; none for events without one.
pub(crate) fn connection_of(queue: &Queue) -> Option<&str> {
    let (_, connection) = queue.name.split_once('/')?;
    Some(connection).filter(|connection| !connection.is_empty())
}

fn pace(
    state: &State,
    (integration, connection): (&Integration, Option<&str>),
    policy: &FloodPolicy,
) -> Pace {
    let payer = |connection, limit| Payer {
        who: state.flood.payer(integration.id, connection),
        limit,
    };
    // Each of the integration's partitions lets its share through.
    let partitions = u32::try_from(integration.partitions.len()).unwrap_or(u32::MAX);
    let share = |of: u32| of.div_ceil(partitions.max(1));
    Pace {
        connection: policy
            .rate
            .filter(|_| connection.is_some())
            .map(|limit| payer(connection, limit)),
        integration: policy.integration_rate.map(|limit| {
            let share = RateLimit {
                per_second: share(limit.per_second),
                burst: share(limit.burst),
            };
            payer(None, share)
        }),
    }
}
