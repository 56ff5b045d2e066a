//! What becomes of a delivery: delivered, parked for its next try, dead, or cancelled; each with its row. In: an
//! attempt that has ended, or a reason to end without one. Out: rows, dead letters and changes in the batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_broker::Record;
use tidegate_schemas::{
    DeadMeta, DeliveryId, DeliveryStatus, EnvironmentId, Metadata, Pointer, Reason, Topic, WRITE_VERSION,
};
use tokio::task::JoinError;

use super::super::attempt::Attempted;
use super::super::event::Event;
use super::super::parked::{Key, Parked};
use super::super::rows::{Closing, Orphan, Standing};
use super::super::{DisableEndpoint, Error, metrics};
use super::{Form, Live, Owner};

/// How soon a delivery whose task panicked at its last try is looked at again.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// The last words about a dead delivery.
struct Death {
    tries: u8,
    error: String,
    status: Option<u16>,
}

impl Owner {
    /// An attempt has ended.
    pub(super) fn settle(&mut self, key: Key, attempted: Attempted) {
        self.batch.tally.attempted(attempted.reason);
        self.batch.ended += 1;
        self.batch.touch();
        let Some(live) = self.take_live(key) else {
            return;
        };
        if attempted.reason == Reason::Gone {
            self.switch_off(key.endpoint, &attempted);
        }
        let standing = match attempted.reason {
            Reason::Ok => {
                // A probe that succeeded: what waits need not wait for the time that was given the breaker.
                self.queue(key.endpoint).blocked_until = None;
                self.end(key, live.form, DeliveryStatus::Delivered)
            }
            _ if live.cancelled => self.end(key, live.form, DeliveryStatus::Cancelled),
            _ => self.failed(key, &live, &attempted),
        };
        self.batch.rows.attempt(&attempted, standing);
    }

    fn failed(&mut self, key: Key, live: &Live, attempted: &Attempted) -> Standing {
        let now = self.shared.clock.now();
        let tries = live.tries.saturating_add(1);
        let parked = Parked {
            key,
            tries,
            due: now,
            ends: live.ends,
        };
        if let Some(due) = self.shared.schedule.next(&parked, now, attempted.retry_after) {
            self.park(Parked { due, ..parked }, live.form);
            return Standing {
                status: DeliveryStatus::Parked,
                next_at: Some(due),
            };
        }
        let status = Some(attempted.http_status).filter(|status| *status > 0);
        self.bury(
            key,
            &attempted.event,
            Death {
                tries,
                error: attempted.error.clone(),
                status,
            },
        );
        self.end(key, live.form, DeliveryStatus::Dead)
    }

    fn end(&mut self, key: Key, form: Form, status: DeliveryStatus) -> Standing {
        self.forget(key, form);
        self.batch.tally.ended(status);
        Standing {
            status,
            next_at: None,
        }
    }

    /// Ends a delivery in memory without an attempt: it dies when its schedule is over, else it is cancelled.
    pub(super) fn close(&mut self, key: Key, event: &Arc<Event>, reason: Reason) {
        let Some(live) = self.take_live(key) else {
            return;
        };
        let status = match reason {
            Reason::ScheduleOver => DeliveryStatus::Dead,
            _ => DeliveryStatus::Cancelled,
        };
        if status == DeliveryStatus::Dead {
            let error = "the endpoint took nothing until the schedule was over".to_owned();
            self.bury(
                key,
                event,
                Death {
                    tries: live.tries,
                    error,
                    status: None,
                },
            );
        }
        let (endpoint, name) = (self.queue(key.endpoint).endpoint, self.name_of(key.endpoint));
        let closing = Closing {
            offset: key.offset,
            partition: self.partition,
            meta: &event.meta,
            endpoint,
            name: &name,
            reason,
            at: self.shared.clock.now(),
        };
        self.batch.rows.closing(&closing, status);
        self.batch.ended += 1;
        self.end(key, live.form, status);
        self.batch.touch();
    }

    /// Puts a delivery among the dead, by value.
    fn bury(&mut self, key: Key, event: &Event, death: Death) {
        let endpoint = self.queue(key.endpoint).endpoint;
        let delivery = DeliveryId::derive(event.meta.id, endpoint);
        let meta = DeadMeta {
            v: WRITE_VERSION,
            delivery,
            endpoint,
            pointer: Pointer {
                partition: event.partition,
                offset: event.offset,
            },
            event: event.meta.clone(),
            tries: u32::from(death.tries),
            died_at: self.shared.clock.now(),
            last_error: death.error,
            last_status: death.status,
        };
        let mut record = Record {
            topic: Topic::Dead,
            partition: self.partition % self.shared.broker.partitions(Topic::Dead).max(1),
            key: Bytes::from(delivery.to_string()),
            meta: meta.encode().into(),
            value: event.value.clone(),
        };
        let bytes = record.key.len() + record.meta.len() + record.value.len();
        if bytes > self.shared.broker.message_bytes_max(Topic::Dead) {
            // Its event can still be had by the pointer, while `events` keeps it.
            tracing::error!(%delivery, bytes, "a dead delivery is too large for `dead`: it is kept without its body");
            record.value = Bytes::new();
        }
        self.batch.dead_bytes += bytes;
        self.batch.dead.push(record);
    }

    /// The event of a delivery is not in the topic any more: there is nothing to bury, but a row says that it ended.
    pub(super) fn event_gone(&mut self, key: Key) {
        let Some(live) = self.take_live(key) else {
            return;
        };
        let endpoint = self.queue(key.endpoint).endpoint;
        let known = self.shared.registry.read().endpoint(&endpoint).cloned();
        metrics::event_gone();
        tracing::error!(
            partition = self.partition, offset = key.offset, %endpoint,
            "the event of a parked delivery is gone: was `events` kept for less than the retry schedule?"
        );
        self.batch.rows.orphan(&Orphan {
            offset: key.offset,
            partition: self.partition,
            endpoint,
            environment: known
                .as_ref()
                .map_or(EnvironmentId(uuid::Uuid::nil()), |known| known.environment),
            name: known.as_ref().map_or("", |known| known.name.as_str()),
            at: self.shared.clock.now(),
        });
        self.batch.ended += 1;
        self.end(key, live.form, DeliveryStatus::Dead);
        self.batch.touch();
    }

    /// The endpoint answered 410: it is off from now on, here at once, everywhere when the registry says so.
    fn switch_off(&mut self, index: u32, attempted: &Attempted) {
        let endpoint = &attempted.destination.endpoint;
        self.queue(index).gate.set_gone(endpoint.version);
        let request = DisableEndpoint {
            endpoint: endpoint.id,
            version: endpoint.version,
        };
        if self.shared.disable.try_send(request).is_err() {
            tracing::warn!(endpoint = %endpoint.id, "an endpoint that is gone could not be switched off; asked again");
        }
    }

    /// A task of ours panicked; its delivery, if it had one, counts as tried.
    pub(super) fn settle_panicked(&mut self, error: &JoinError) -> Result<Option<u32>, Error> {
        tracing::error!(partition = self.partition, %error, "a task of forwarding panicked");
        // Without its delivery the tables would wait for it for ever: the owner begins anew from its journal.
        let Some(key) = self.attempts.remove(&error.id()) else {
            return Err(Error::Panicked {
                partition: self.partition,
            });
        };
        if let Some(live) = self.take_live(key) {
            let now = self.shared.clock.now();
            let parked = Parked {
                key,
                tries: live.tries.saturating_add(1),
                due: now,
                ends: live.ends,
            };
            let due = self
                .shared
                .schedule
                .next(&parked, now, None)
                .unwrap_or(now.after(AFTER_PANIC));
            self.park(Parked { due, ..parked }, live.form);
        }
        Ok(Some(key.endpoint))
    }
}
