//! What is read from `events`: routed events become deliveries, commands are carried out. In: messages in order. Out:
//! deliveries in queues or among the offsets that wait; never a pause for a slow endpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_broker::Message;
use tidegate_schemas::EventKind;

use super::super::event::Event;
use super::super::parked::Key;
use super::super::{Error, metrics};
use super::{Form, Live, Owner, State};

impl Owner {
    /// Takes messages in; whatever becomes of them is part of the batch that names the offset after them.
    pub(super) fn take_messages(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        metrics::read(messages.len());
        let mut touched = BTreeSet::new();
        for message in messages {
            let offset = message.offset;
            self.check_gap(offset);
            match Event::decode(message) {
                Ok(event) if event.meta.kind == EventKind::Event => {
                    touched.extend(self.deliver(&Arc::new(event)));
                }
                Ok(command) => touched.extend(self.carry_out(command)),
                Err(source) if source.stops_reader() => {
                    return Err(Error::Newer {
                        partition: self.partition,
                        offset,
                        source,
                    });
                }
                Err(error) => {
                    metrics::undecodable();
                    tracing::error!(partition = self.partition, offset, %error, "a message of events is passed over");
                }
            }
            self.batch.input = offset + 1;
        }
        self.batch.touch();
        touched.into_iter().for_each(|index| self.launch(index));
        Ok(())
    }

    /// Messages that were gone before they were read: whose they were, and for which endpoints, nobody knows any more.
    fn check_gap(&self, offset: u64) {
        let missing = offset.saturating_sub(self.batch.input);
        if missing > 0 {
            metrics::unread_gone(missing);
            tracing::error!(
                partition = self.partition,
                from = self.batch.input,
                missing,
                "messages of `events` were gone before they were read: was forwarding away for longer than they are kept?"
            );
        }
    }

    /// Makes the deliveries of an event; returns the endpoints that have one more in memory.
    pub(super) fn deliver(&mut self, event: &Arc<Event>) -> Vec<u32> {
        let ends = self.shared.schedule.end(event.appended_at);
        let indexes: Vec<u32> = {
            let mut tables = self.tables.lock();
            event
                .meta
                .endpoints
                .iter()
                .map(|endpoint| tables.index_of(*endpoint))
                .collect()
        };
        let mut queued = Vec::with_capacity(indexes.len());
        for index in indexes {
            let key = Key {
                offset: event.offset,
                endpoint: index,
            };
            if !self.has_room(index, event) {
                self.wait(key);
                self.queue(index).backlog = true;
                self.stalled.insert(index);
                continue;
            }
            let live = Live {
                state: State::Queued,
                form: Form::Unwritten,
                tries: 0,
                ends,
                cancelled: false,
                held_bytes: 0,
            };
            if self.live.insert(key, live).is_some() {
                // An endpoint named twice gets the event once: the entry that was there is the same delivery.
                continue;
            }
            self.enqueue(key, event.clone());
            self.batch.queued.push(key);
            self.queue(index).cursor = event.offset + 1;
            queued.push(index);
        }
        queued
    }

    /// Whether one more delivery of this endpoint is held in memory. An endpoint that has none there may always have
    /// one, so that no other can keep it out.
    fn has_room(&mut self, index: u32, event: &Event) -> bool {
        let is_full = self.is_full(event.held_bytes());
        let queue_max = self.shared.config.endpoint_queue_max.max(1);
        let queue = self.queue(index);
        let at_hand = queue.ready.len() + queue.fetching;
        !queue.backlog && queue.blocked_until.is_none() && (at_hand == 0 || (at_hand < queue_max && !is_full))
    }
}
