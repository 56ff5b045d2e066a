//! Turns in a rehearsal: what exceeds a rate waits beside its pointer, and is decided when the second reader would come to
//! it. In: events, and the virtual time. Out: whether an event waits, behind what, and the decisions of those that have.

use std::sync::Arc;

use tidegate_registry::FloodPolicy;
use tidegate_schemas::{EventId, IntegrationId, UnixMillis};

use super::{Rehearsal, Rehearsed, RehearsedEvent};
use crate::fairness::{LONGEST, pace, queue_of};
use crate::pipeline::NO_ROOM_ASIDE;
use crate::rates::Pace;
use crate::set_aside::{Entry, Wait};
use crate::state::Turn;

/// What an event that is set aside waits behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Its connection is ahead of its rate.
    ConnectionsRate,
    /// Its integration is ahead of its rate.
    IntegrationsRate,
    /// Others of its connection, which came before it and still wait.
    Others,
}

/// Whether an event is decided at once.
pub(super) enum Awaited {
    /// It is; with a note when it should have waited and there was no room.
    Passes(Option<&'static str>),
    SetAside(Behind),
}

/// An event that waits for its turn, with the policy that held when it came.
#[derive(Debug)]
pub(super) struct Waiting {
    id: EventId,
    integration: IntegrationId,
    connection: Option<Box<str>>,
    event_type: Box<str>,
    received_at: UnixMillis,
    delivery_id: Option<Box<str>>,
    object_key: Option<Box<str>>,
    ranks: (Option<i64>, Option<UnixMillis>),
    deleted: bool,
    content: Option<u64>,
    payload_bytes: u32,
    policy: Arc<FloodPolicy>,
}

impl Waiting {
    fn of(event: &RehearsedEvent<'_>, policy: &Arc<FloodPolicy>) -> Self {
        Self {
            id: event.id,
            integration: event.integration,
            connection: event.connection.map(Into::into),
            event_type: event.event_type.into(),
            received_at: event.received_at,
            delivery_id: event.delivery_id.map(Into::into),
            object_key: event.object_key.map(Into::into),
            ranks: (event.version, event.time),
            deleted: event.deleted,
            content: event.content,
            payload_bytes: event.payload_bytes,
            policy: policy.clone(),
        }
    }

    fn event(&self) -> RehearsedEvent<'_> {
        RehearsedEvent {
            id: self.id,
            integration: self.integration,
            connection: self.connection.as_deref(),
            event_type: &self.event_type,
            received_at: self.received_at,
            delivery_id: self.delivery_id.as_deref(),
            object_key: self.object_key.as_deref(),
            version: self.ranks.0,
            time: self.ranks.1,
            deleted: self.deleted,
            content: self.content,
            payload_bytes: self.payload_bytes,
        }
    }
}

impl Rehearsal {
    /// Sets the event aside that came at this place, if it exceeds a rate.
    pub(super) fn await_turn(
        &mut self,
        event: &RehearsedEvent<'_>,
        (came, policy): (u64, &Arc<FloodPolicy>),
    ) -> Awaited {
        if policy.rate.is_none() && policy.integration_rate.is_none() {
            return Awaited::Passes(None);
        }
        let payer = (event.integration, event.connection);
        let pace = pace(&self.state, payer, (policy, 1));
        let queue = queue_of(event.integration, event.connection);
        let its_connections = Pace {
            integration: None,
            ..pace
        };
        let behind = if self.state.set_aside().holds(&queue) {
            Behind::Others
        } else if self.state.next_at(&its_connections) > self.now {
            Behind::ConnectionsRate
        } else {
            Behind::IntegrationsRate
        };
        let entry = Entry {
            offset: came,
            position: None,
            replay: false,
        };
        let wait = Wait {
            since: self.now,
            due: self.now,
            longest: LONGEST,
        };
        match self.state.take_turn(queue, (entry, pace), wait) {
            Turn::Now => Awaited::Passes(None),
            Turn::NoRoom => Awaited::Passes(Some(NO_ROOM_ASIDE)),
            Turn::Later => {
                self.waiting.insert(came, Waiting::of(event, policy));
                Awaited::SetAside(behind)
            }
        }
    }

    /// Decides those whose turn it is now, the queues in turn.
    pub(super) fn take_turns(&mut self, happened: &mut Vec<Rehearsed>) {
        for run in self.state.turns(self.now) {
            self.state.set_aside().take_first(&run.key, run.entries.len());
            for entry in &run.entries {
                if let Some(waiting) = self.waiting.remove(&entry.offset) {
                    let event = waiting.event();
                    self.judge((&event, entry.offset), (&waiting.policy, None), happened);
                }
            }
        }
    }
}
