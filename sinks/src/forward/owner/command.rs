//! Commands about one delivery, as they come in `events`: try it again, or give it up. In: a message whose metadata is
//! its event's own, with the command's kind, its one endpoint, and the pointer of the event in `events`. A dead delivery
//! comes by value and is tried as if its event were new. Decides nothing that is not asked for.

use std::sync::Arc;

use tidegate_schemas::{DeliveryStatus, EventKind, Reason};

use super::super::event::Event;
use super::super::parked::{Key, Parked};
use super::super::rows::Closing;
use super::{Form, Owner, State};

impl Owner {
    /// Carries a command out; returns the endpoints that have one more delivery in memory.
    pub(super) fn carry_out(&mut self, command: Event) -> Vec<u32> {
        let pointer = command.meta.pointer;
        let by_value = !command.value.is_empty() || !command.meta.headers.0.is_empty();
        let Some(endpoint) = command.meta.endpoints.first().copied() else {
            tracing::warn!(
                partition = self.partition,
                offset = command.offset,
                "a command names no endpoint"
            );
            return Vec::new();
        };
        if command.meta.kind == EventKind::Retry && by_value {
            return self.deliver(&Arc::new(command));
        }
        if pointer.partition != self.partition || pointer.offset >= command.offset {
            tracing::warn!(
                partition = self.partition,
                offset = command.offset,
                "a command points elsewhere"
            );
            return Vec::new();
        }
        let key = Key {
            offset: pointer.offset,
            endpoint: self.tables.lock().index_of(endpoint),
        };
        match command.meta.kind {
            EventKind::Cancel => self.cancel(key, &command),
            _ => self.retry(key),
        }
        Vec::new()
    }

    /// Makes a delivery due now. One that has ended before is tried once more from its event.
    fn retry(&mut self, key: Key) {
        if self.live.contains_key(&key) {
            return;
        }
        let now = self.shared.clock.now();
        let (parked, waits) = {
            let tables = self.tables.lock();
            (
                tables.parked.get(key),
                tables
                    .waiting(key.endpoint)
                    .is_some_and(|set| set.contains(key.offset)),
            )
        };
        if !waits {
            let fresh = Parked {
                key,
                tries: 0,
                due: now,
                ends: self.shared.schedule.end(now),
            };
            self.park(
                Parked {
                    due: now,
                    ..parked.unwrap_or(fresh)
                },
                Form::Parked,
            );
        }
    }

    fn cancel(&mut self, key: Key, command: &Event) {
        let form = match self.live.get_mut(&key) {
            Some(live) if live.state == State::Queued => {
                let form = live.form;
                self.take_live(key);
                self.unqueue(key);
                form
            }
            Some(live) => {
                live.cancelled = true;
                return;
            }
            None => {
                let tables = self.tables.lock();
                match (tables.parked.get(key), tables.waiting(key.endpoint)) {
                    (Some(_), _) => Form::Parked,
                    (None, Some(set)) if set.contains(key.offset) => Form::Waiting,
                    // It has ended already.
                    _ => return,
                }
            }
        };
        self.forget(key, form);
        let endpoint = self.queue(key.endpoint).endpoint;
        let name = self.name_of(key.endpoint);
        let closing = Closing {
            offset: key.offset,
            partition: self.partition,
            meta: &command.meta,
            endpoint,
            name: &name,
            reason: Reason::CancelRequested,
            at: self.shared.clock.now(),
        };
        self.batch.rows.closing(&closing, DeliveryStatus::Cancelled);
        self.batch.touch();
    }

    /// Takes one delivery out of the middle of its queue.
    fn unqueue(&mut self, key: Key) {
        let ready = &mut self.queue(key.endpoint).ready;
        let Some(at) = ready.iter().position(|(queued, _)| *queued == key) else {
            return;
        };
        ready.remove(at);
    }
}
