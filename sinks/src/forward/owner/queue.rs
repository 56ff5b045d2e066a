//! The queue of one endpoint in one partition, and how it is filled again from what waits or is due. In: keys. Out:
//! events at hand, or keys put back. Begins no attempt.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_broker::{Broker, Message};
use tidegate_schemas::{EndpointId, Pointer, Reason, Topic, UnixMillis};

use super::super::destination::Destination;
use super::super::event::Event;
use super::super::gate::Gate;
use super::super::parked::{Key, Parked};
use super::{Fetched, Form, Live, Owner, State, Work};

/// How many of a blocked queue's oldest deliveries are looked at, whether they are over.
const EXPIRY_BATCH: usize = 64;
/// How long a due delivery is put off that its queue has no room for.
const QUEUE_FULL: Duration = Duration::from_secs(1);
/// How soon events are read again after the broker could not.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// What one endpoint gets next.
pub(super) struct Queue {
    pub(super) endpoint: EndpointId,
    pub(super) gate: Arc<Gate>,
    pub(super) destination: Option<Arc<Destination>>,
    /// Whether the registry was read to its end since the endpoint was not found in it.
    pub(super) lookup: Lookup,
    pub(super) ready: VecDeque<(Key, Arc<Event>)>,
    /// Deliveries whose events are being read again.
    pub(super) fetching: usize,
    /// Offsets from here on that wait in the tables are not in memory.
    pub(super) cursor: u64,
    /// Whether there may be such offsets.
    pub(super) backlog: bool,
    /// Nothing is tried before this time: the breaker is open, or the endpoint off.
    pub(super) blocked_until: Option<UnixMillis>,
    /// Whether that is because the endpoint is off.
    pub(super) off: bool,
    /// When the oldest delivery that waits is looked at again, whether it is over.
    pub(super) expiry_at: UnixMillis,
}

/// What is known of an endpoint that is not in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Nothing yet: the registry may be behind.
    Unknown,
    /// It is being read to its end.
    Asked,
    /// It is deleted.
    Missing,
}

impl Owner {
    /// The queue of an endpoint.
    pub(super) fn queue(&mut self, index: u32) -> &mut Queue {
        self.queues.entry(index).or_insert_with(|| {
            let endpoint = self.tables.lock().endpoint(index);
            Queue {
                endpoint,
                gate: self.shared.gates.gate(endpoint),
                destination: None,
                lookup: Lookup::Unknown,
                ready: VecDeque::new(),
                fetching: 0,
                cursor: 0,
                backlog: false,
                blocked_until: None,
                off: false,
                expiry_at: UnixMillis(0),
            }
        })
    }

    /// Puts a delivery into its queue; its bytes are held until it leaves memory.
    pub(super) fn enqueue(&mut self, key: Key, event: Arc<Event>) {
        if let Some(live) = self.live.get_mut(&key) {
            live.state = State::Queued;
            live.held_bytes = event.held_bytes();
            self.shared
                .held_bytes
                .fetch_add(live.held_bytes, Ordering::Relaxed);
        }
        self.queue(key.endpoint).ready.push_back((key, event));
    }

    /// Takes the next delivery out of a queue; it stays in memory.
    pub(super) fn dequeue(&mut self, index: u32) -> Option<(Key, Arc<Event>)> {
        self.queues.get_mut(&index)?.ready.pop_front()
    }

    /// Takes a delivery out of memory.
    pub(super) fn take_live(&mut self, key: Key) -> Option<Live> {
        let live = self.live.remove(&key)?;
        self.shared
            .held_bytes
            .fetch_sub(live.held_bytes, Ordering::Relaxed);
        Some(live)
    }

    /// Nothing is tried at this endpoint until then: what is queued goes back to where it waits, or dies if its
    /// schedule is over.
    pub(super) fn block(&mut self, index: u32, until: UnixMillis) {
        let now = self.shared.clock.now();
        while let Some((key, event)) = self.dequeue(index) {
            if self.live.get(&key).is_some_and(|live| live.ends <= now) {
                self.close(key, &event, Reason::ScheduleOver);
            } else {
                self.put_back(key, until);
            }
        }
        self.queue(index).blocked_until = Some(until);
        self.revive_at = self.revive_at.min(until);
        self.stalled.insert(index);
    }

    /// Puts a delivery that is not being tried back to where it waits: untried ones among the offsets, tried ones
    /// parked until `until`.
    pub(super) fn put_back(&mut self, key: Key, until: UnixMillis) {
        let Some(live) = self.take_live(key) else {
            return;
        };
        if live.form == Form::Parked || live.tries > 0 {
            let due = until.max(self.shared.clock.now()).after(spread(key));
            self.park(
                Parked {
                    key,
                    tries: live.tries,
                    due: due.min(live.ends.max(until)),
                    ends: live.ends,
                },
                live.form,
            );
            return;
        }
        if live.form == Form::Unwritten {
            self.wait(key);
        }
        let queue = self.queue(key.endpoint);
        queue.cursor = queue.cursor.min(key.offset);
        queue.backlog = true;
        self.stalled.insert(key.endpoint);
    }

    /// Gives up everything that is queued, not what is being tried.
    pub(super) fn release_queued(&mut self) {
        let now = self.shared.clock.now();
        for index in self.queues.keys().copied().collect::<Vec<_>>() {
            while let Some((key, _)) = self.dequeue(index) {
                self.put_back(key, now);
            }
        }
    }

    /// Until when nothing may be tried at this endpoint, as far as is known.
    pub(super) fn blocked_until(&mut self, index: u32, now: UnixMillis) -> Option<UnixMillis> {
        let queue = self.queue(index);
        queue
            .blocked_until
            .filter(|until| *until > now)
            .or_else(|| queue.gate.opens_at(now))
    }

    /// Goes on with a queue that stood still, if it may; else lets what is over in it die.
    pub(super) fn revive(&mut self, index: u32, now: UnixMillis) {
        if let Some(until) = self.blocked_until(index, now) {
            self.revive_at = self.revive_at.min(until);
            self.look_for_expired(index, now);
            return;
        }
        let queue = self.queue(index);
        queue.blocked_until = None;
        if !queue.backlog && queue.ready.is_empty() {
            self.stalled.remove(&index);
        }
        self.launch(index);
    }

    /// Reads offsets that wait for the endpoint, as many as could be tried soon.
    pub(super) fn refill(&mut self, index: u32) {
        let (is_full, queue_max) = (self.is_full(0), self.shared.config.endpoint_queue_max.max(1));
        let queue = self.queue(index);
        if !queue.backlog {
            return;
        }
        let now = self.shared.clock.now();
        let queue = self.queue(index);
        if queue.blocked_until.is_some_and(|until| until > now) {
            return;
        }
        let at_hand = queue.ready.len() + queue.fetching;
        let wanted = queue.gate.appetite(now).min(if is_full { 1 } else { queue_max });
        if at_hand * 2 > wanted {
            return;
        }
        let (cursor, missing) = (queue.cursor, wanted - at_hand);
        let keys = self.waiting_from(index, cursor, missing);
        let queue = self.queue(index);
        match keys.last() {
            Some(last) => queue.cursor = last.offset + 1,
            None => queue.backlog = missing == 0,
        }
        self.fetch(keys, Form::Waiting);
    }

    /// Whether this many bytes more would be too many in memory.
    pub(super) fn is_full(&self, more_bytes: usize) -> bool {
        let held = self.shared.held_bytes.load(Ordering::Relaxed);
        held.saturating_add(more_bytes) > self.shared.config.held_bytes_max
    }

    /// Up to `max` offsets that wait for the endpoint and are not in memory.
    fn waiting_from(&self, index: u32, cursor: u64, max: usize) -> Vec<Key> {
        let tables = self.tables.lock();
        let Some(waiting) = tables.waiting(index) else {
            return Vec::new();
        };
        let keys = waiting.from(cursor).map(|offset| Key {
            offset,
            endpoint: index,
        });
        keys.filter(|key| !self.live.contains_key(key))
            .take(max)
            .collect()
    }

    /// Reads the oldest offsets that wait for a blocked endpoint, so that those whose schedule is over die.
    fn look_for_expired(&mut self, index: u32, now: UnixMillis) {
        let queue = self.queue(index);
        if !queue.backlog || queue.fetching > 0 || now < queue.expiry_at {
            return;
        }
        let keys = self.waiting_from(index, 0, EXPIRY_BATCH);
        self.fetch(keys, Form::Waiting);
    }

    /// Takes what has become due: to be read again, or put off because its endpoint takes nothing now.
    pub(super) fn take_due(&mut self, now: UnixMillis) {
        let due = self
            .tables
            .lock()
            .parked
            .take_due(now, self.shared.config.due_batch_max.max(1));
        let off_until = now.after(Duration::from_millis(self.shared.config.breaker_open_max_ms));
        let mut keys = Vec::with_capacity(due.len());
        for parked in due {
            let index = parked.key.endpoint;
            let is_over = parked.ends <= now || self.shared.schedule.is_exhausted(parked.tries);
            let blocked = self.blocked_until(index, now);
            let queue_max = if self.is_full(0) {
                1
            } else {
                self.shared.config.endpoint_queue_max.max(1)
            };
            let queue = self.queue(index);
            let put_off = match blocked {
                Some(_) if queue.off => Some(off_until),
                None if queue.ready.len() + queue.fetching >= queue_max => Some(now.after(QUEUE_FULL)),
                blocked => blocked,
            };
            match put_off {
                Some(until) if !is_over => {
                    let due = until.after(spread(parked.key)).min(parked.ends);
                    self.park(Parked { due, ..parked }, Form::Parked);
                }
                _ => {
                    let (tries, ends) = (parked.tries, parked.ends);
                    let live = Live {
                        state: State::Fetching,
                        form: Form::Parked,
                        tries,
                        ends,
                        cancelled: false,
                        held_bytes: 0,
                    };
                    self.live.insert(parked.key, live);
                    self.queue(index).fetching += 1;
                    keys.push(parked.key);
                }
            }
        }
        self.read_again(keys);
    }

    /// Reads the events of deliveries that are not in memory.
    fn fetch(&mut self, keys: Vec<Key>, form: Form) {
        for key in &keys {
            let live = Live {
                state: State::Fetching,
                form,
                tries: 0,
                ends: UnixMillis::MAX,
                cancelled: false,
                held_bytes: 0,
            };
            self.live.insert(*key, live);
            self.queue(key.endpoint).fetching += 1;
        }
        self.read_again(keys);
    }

    fn read_again(&mut self, mut keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        keys.sort_unstable();
        let (broker, partition) = (self.shared.broker.clone(), self.partition);
        self.works
            .spawn(async move { Work::Fetched(read_events(&broker, partition, keys).await) });
    }

    /// Takes events that were read again; returns the endpoints whose queues they went into.
    pub(super) fn take_fetched(&mut self, fetched: Fetched) -> BTreeSet<u32> {
        let now = self.shared.clock.now();
        let mut touched = BTreeSet::new();
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err((keys, error)) => {
                tracing::error!(partition = self.partition, %error, "parked events cannot be read; tried again soon");
                for key in keys {
                    self.queue(key.endpoint).fetching -= 1;
                    self.put_back(key, now.after(READ_AGAIN));
                    self.queue(key.endpoint).blocked_until = Some(now.after(READ_AGAIN));
                }
                return touched;
            }
        };
        for (key, event) in fetched {
            self.queue(key.endpoint).fetching -= 1;
            match event {
                Some(event) => self.take_fetched_event(key, event, now),
                None => self.event_gone(key),
            }
            touched.insert(key.endpoint);
        }
        touched
    }

    fn take_fetched_event(&mut self, key: Key, event: Arc<Event>, now: UnixMillis) {
        let blocked = self.blocked_until(key.endpoint, now);
        let schedule = self.shared.schedule.end(event.appended_at);
        let Some(live) = self.live.get_mut(&key) else {
            return;
        };
        if live.form == Form::Waiting {
            live.ends = schedule;
        }
        let (tries, ends) = (live.tries, live.ends);
        if live.cancelled {
            self.close(key, &event, Reason::CancelRequested);
        } else if self.shared.schedule.is_exhausted(tries) || (blocked.is_some() && ends <= now) {
            self.close(key, &event, Reason::ScheduleOver);
        } else if let Some(until) = blocked {
            let queue = self.queue(key.endpoint);
            queue.expiry_at = if queue.expiry_at <= now {
                ends
            } else {
                queue.expiry_at.min(ends)
            };
            self.put_back(key, until);
        } else {
            self.enqueue(key, event);
        }
    }
}

/// Reads the events of `keys`, which are sorted, in one pass.
async fn read_events(broker: &Broker, partition: u32, keys: Vec<Key>) -> Fetched {
    let mut pointers: Vec<Pointer> = keys
        .iter()
        .map(|key| Pointer {
            partition,
            offset: key.offset,
        })
        .collect();
    pointers.dedup();
    let messages: Vec<Option<Message>> = match broker.read(Topic::Events, &pointers).await {
        Ok(messages) => messages,
        Err(error) => return Err((keys, error)),
    };
    let decode = |message: Option<Message>| Event::decode(message?).ok().map(Arc::new);
    let mut events = pointers.iter().zip(messages.into_iter().map(decode)).peekable();
    let found = keys.into_iter().map(|key| {
        while events
            .next_if(|(pointer, _)| pointer.offset < key.offset)
            .is_some()
        {}
        let event = events.peek().filter(|(pointer, _)| pointer.offset == key.offset);
        (key, event.and_then(|(_, event)| event.clone()))
    });
    Ok(found.collect())
}

/// Deliveries that are put off together do not come back together.
fn spread(key: Key) -> Duration {
    Duration::from_millis(key.offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54)
}
