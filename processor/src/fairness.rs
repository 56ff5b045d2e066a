//! Fairness: what exceeds its connection's or its integration's rate waits its turn, so that a flooder delays only
//! itself. In: an event on its way, with the rates that hold for it. Out: the event, or nothing when it was set aside.
//! While a connection has anything set aside for its rate its new events join the end, so that their order stays.

use std::time::Duration;

use tidegate_registry::{FloodPolicy, Integration, RateLimit};
use tidegate_schemas::{IntegrationId, UnixMillis};

use crate::handing_on::{At, Desk};
use crate::metrics;
use crate::pipeline::{NO_ROOM_ASIDE, Pipeline};
use crate::rates::{Pace, Payer};
use crate::set_aside::{Cause, Entry, Queue, Wait};
use crate::state::{State, Turn};
use crate::tracked::Tracked;

/// How far apart the members of a run may be, times sixty: a run is full long before.
pub(crate) const LONGEST: Duration = Duration::from_secs(60 * 3600);

/// An event that asks for its turn.
pub(crate) struct Asking<'a> {
    pub integration: &'a Integration,
    pub connection: Option<&'a str>,
    pub policy: &'a FloodPolicy,
    /// Where it lies.
    pub entry: Entry,
    /// Whether it was set aside, and its turn has come.
    pub in_turn: bool,
}

impl Pipeline {
    /// Lets an event pass that fits its rates or whose turn it is; sets the others aside.
    pub fn await_turn<'d>(
        &self,
        tracked: Tracked<'d>,
        at: At<'d>,
        desk: &mut Desk<'_>,
    ) -> Option<Tracked<'d>> {
        let (connection, asked) = (tracked.subject.connection, &tracked.subject.request.asked);
        let integration = at.examined.integration.as_ref().filter(|_| !asked.replay);
        let Some(integration) = integration else {
            return Some(tracked);
        };
        let policies = &desk.routes.policies;
        let asking = Asking {
            integration,
            connection,
            policy: policies.of(integration.id, connection, &at.event.event_type),
            entry: Entry {
                offset: tracked.subject.request.pointer.offset,
                position: Some(tracked.subject.position()),
                replay: false,
            },
            in_turn: asked.in_turn.is_some(),
        };
        match turn(&asking, desk.state, desk.now) {
            Turn::Now => Some(tracked),
            Turn::Later => {
                metrics::count_rate_exceeded(1);
                tracked.set_aside();
                None
            }
            Turn::NoRoom => {
                metrics::count_passed(1);
                Some(tracked.noting(NO_ROOM_ASIDE))
            }
        }
    }
}

/// Whether it is an event's turn; sets it aside if not.
pub(crate) fn turn(asking: &Asking<'_>, state: &mut State, now: UnixMillis) -> Turn {
    let Asking {
        integration,
        connection,
        policy,
        entry,
        in_turn,
    } = *asking;
    let queue = || queue_of(integration.id, connection);
    let has_rates = policy.rate.is_some() || policy.integration_rate.is_some();
    // What waits still was set aside at rates that hold no more: nothing of its connection passes it.
    if !has_rates && state.is_free(queue) {
        return Turn::Now;
    }
    let partitions = integration.partitions.len();
    let pace = pace(state, (integration.id, connection), (policy, partitions));
    if in_turn {
        // It was paid for when its turn came.
        state.set_pace(&queue(), pace);
        return Turn::Now;
    }
    let wait = Wait {
        since: now,
        due: now,
        longest: LONGEST,
    };
    state.take_turn(queue(), (entry, pace), wait)
}

/// The queue in which a connection's events wait their turn.
pub(crate) fn queue_of(integration: IntegrationId, connection: Option<&str>) -> Queue {
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

/// What a policy makes of the rates of a connection, and of its integration that has so many partitions.
pub(crate) fn pace(
    state: &State,
    (integration, connection): (IntegrationId, Option<&str>),
    (policy, partitions): (&FloodPolicy, usize),
) -> Pace {
    let payer = |connection, limit| Payer {
        who: state.flood.payer(integration, connection),
        limit,
    };
    // Each of the integration's partitions lets its share through.
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
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
        is_known: true,
    }
}
