//! Flood control of one partition: dedupe, order, debounce and change detection over compact state.
//! In: events as they are attributed, with the policy that holds for each, and the owner's time. Out: what becomes of
//! each, and windows that have ended; the journal's changes. The [steps](crate::steps) decide; here is what they decide
//! about, and what of it is remembered. Reads no payload, no clock and no message.

mod answers;
mod budget;
mod encoding;
mod fingerprint;
mod journal;
mod members;
mod objects;
mod seen;
mod segment;
mod table;
mod wheel;
mod window_slot;
mod windows;

use tidegate_registry::{Debounce, FloodPolicy, Keep};
use tidegate_schemas::{Coalesced, EventId, IntegrationId, UnixMillis};

pub(crate) use answers::{Arrival, Content, DeliveryKey, Fate, Fill, Judged, Limits, Unchecked};
pub(crate) use budget::Budget;
pub(crate) use fingerprint::{Fingerprint, FingerprintKey, FingerprintMap};
pub(crate) use journal::TAGS;
pub(crate) use windows::Ended;

use budget::Full;
use members::{IDS_MAX, Joined, LISTED_MAX};
use objects::{Object, Objects};
use seen::Seen;
use windows::{Stored, Windows};

use crate::steps::debounce::{Debounced, Decision, Incoming, Place, Window, debounce};
use crate::steps::dedupe::{Delivery, EventMark, dedupe};
use crate::steps::detect::{Change, ContentHashes, detect};
use crate::steps::order::{Order, Rank, order};

/// Flood control of one partition.
#[derive(Debug)]
pub(crate) struct FloodControl {
    key: Option<FingerprintKey>,
    key_is_fresh: bool,
    seen: Seen,
    objects: Objects,
    windows: Windows,
}

impl FloodControl {
    /// Nothing known yet: the journal is read into it, then [`FloodControl::begin`] is called.
    pub fn within(limits: &Limits) -> Self {
        Self {
            key: None,
            key_is_fresh: false,
            seen: Seen::new(limits.ttl, limits.seen.share()),
            objects: Objects::new(limits.objects.share()),
            windows: Windows::new(limits.windows.share()),
        }
    }

    /// Begins to decide at `now`; the first owner of all makes the key.
    pub fn begin(&mut self, now: UnixMillis, key: impl FnOnce() -> FingerprintKey) {
        if self.key.is_none() {
            self.key = Some(key());
            self.key_is_fresh = true;
        }
        self.windows.begin(now);
    }

    /// dedupe → order → debounce, for one event. What is remembered of it is what a later event is judged by.
    pub fn judge(&mut self, arrival: &Arrival<'_>, policy: &FloodPolicy, now: UnixMillis) -> Judged {
        self.seen.observe(arrival.received_at, now);
        let delivery = arrival.delivery.filter(|_| policy.dedupe);
        let delivery = delivery.map(|delivery| self.delivery(arrival, delivery));
        if let Some(delivery) = delivery {
            match dedupe(self.seen.get(delivery), arrival.id, arrival.on_demand) {
                Delivery::New => {}
                Delivery::Repeat => return Judged::only(Fate::Repeat),
                Delivery::Duplicate => return Judged::only(Fate::Duplicate),
            }
        }
        let object = arrival.connection.zip(arrival.object);
        let object = object.map(|(connection, object)| self.object(arrival.integration, connection, object));
        let mut unchecked = None;
        if let Some(object) = object.filter(|_| policy.order) {
            match self.judge_order(object, arrival) {
                Ok(Order::Passes(_)) => {}
                Ok(Order::Stale(newest)) => return Judged::only(Fate::Stale(newest)),
                Err(Full) => unchecked = Some(Unchecked::ObjectsFull),
            }
        }
        let mut judged = self.judge_window(object, arrival, (policy, now));
        judged.unchecked = judged.unchecked.or(unchecked);
        // Only what is handed on or held is remembered: what was refused may come again.
        if let Some(delivery) = delivery {
            self.seen.put(delivery, EventMark::from(arrival.id));
        }
        judged
    }

    /// Whether the object's content is another than the one handed on last; from now on this one is.
    pub fn detect(&mut self, object: Fingerprint, raw: u64, canonical: impl FnOnce() -> u64) -> Content {
        let known = self.objects.get(object).unwrap_or_default();
        let (content, result) = match detect(known.content, raw, canonical) {
            Change::Unchanged(content) => (content, Content::Unchanged(known.content.canonical)),
            Change::Changed(content) => (content, Content::Changed),
        };
        if content == known.content {
            return result;
        }
        match self.objects.put(object, Object { content, ..known }) {
            Ok(()) => result,
            Err(Full) => Content::Unknown,
        }
    }

    /// Forgets an object's content, because the object is gone; its newest version stays.
    pub fn forget_content(&mut self, object: Fingerprint) {
        if let Some(known) = self.objects.get(object)
            && known.content != ContentHashes::default()
        {
            let content = ContentHashes::default();
            let kept = self.objects.put(object, Object { content, ..known });
            debug_assert!(kept.is_ok(), "an object that is known has its place");
        }
    }

    /// What stands for an object.
    ///
    /// # Panics
    /// Before [`FloodControl::begin`].
    pub fn object(&self, integration: IntegrationId, connection: &str, object_key: &str) -> Fingerprint {
        self.key().object((integration, connection), object_key)
    }

    /// What stands for a connection, or for its integration, that goes at a rate of its own.
    ///
    /// # Panics
    /// Before [`FloodControl::begin`].
    pub fn payer(&self, integration: IntegrationId, connection: Option<&str>) -> Fingerprint {
        self.key().payer((integration, connection))
    }

    /// Up to `windows_max` windows whose deadline is past, ended.
    pub fn fire(&mut self, now: UnixMillis, windows_max: usize) -> Vec<Ended> {
        let due = self.windows.due(now, windows_max);
        due.into_iter()
            .filter_map(|object| self.windows.end(object))
            .collect()
    }

    /// When the next window may be due, at the earliest.
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.windows.next_at()
    }

    /// The window that events about an object would join now.
    pub fn window(&self, object: Fingerprint) -> Option<Window> {
        self.windows.get(object)
    }

    /// How many windows are open.
    pub fn open_windows(&self) -> usize {
        self.windows.len()
    }

    /// Whether any open window keeps all.
    pub fn keeps_lists(&self) -> bool {
        self.windows.lists() > 0
    }

    /// Whether an object's window keeps all and would end by so many further events with so many bytes in all.
    pub fn fills_list(&self, object: Fingerprint, (events, bytes): (usize, u64), bytes_max: u64) -> bool {
        let keeps_all = |window: &Window| window.keep == Keep::All;
        let (listed_bytes, listed) = self.windows.listed(object);
        let is_full = listed_bytes + bytes >= bytes_max || listed + events >= LISTED_MAX;
        is_full && self.windows.get(object).as_ref().is_some_and(keeps_all)
    }

    /// Where the events lie that an object's window has listed.
    pub fn places(&self, object: Fingerprint) -> Vec<Place> {
        self.windows.places(object)
    }

    /// The lowest offset that an open window may point at.
    pub fn windows_from(&self) -> Option<u64> {
        self.windows.lowest_offset()
    }

    /// Opens a window again that could not be handed on, to be fired at `again_at`.
    pub fn restore(&mut self, ended: Ended, again_at: UnixMillis) {
        self.windows.restore(ended, again_at);
    }

    /// How much there is.
    pub fn fill(&self) -> Fill {
        Fill {
            delivery_ids: self.seen.len(),
            seen_bytes: self.seen.bytes(),
            effective_ttl: self.seen.effective_ttl(),
            objects: self.objects.len(),
            objects_bytes: self.objects.bytes(),
            windows: self.windows.len(),
            windows_bytes: self.windows.bytes(),
            oldest_window: self.windows.oldest(),
        }
    }

    fn key(&self) -> &FingerprintKey {
        self.key.as_ref().expect("flood control has begun")
    }

    fn delivery(&self, arrival: &Arrival<'_>, delivery: DeliveryKey<'_>) -> Fingerprint {
        let owner = (arrival.integration, arrival.connection);
        match delivery {
            DeliveryKey::Id(id) => self.key().delivery(owner, id),
            DeliveryKey::Payload(payload) => self.key().repeat(owner, payload),
        }
    }

    fn judge_order(&mut self, object: Fingerprint, arrival: &Arrival<'_>) -> Result<Order, Full> {
        let known = self.objects.get(object).unwrap_or_default();
        let judged = order(known.newest, Rank::of(arrival.version, arrival.time));
        if let Order::Passes(newest) = judged
            && newest != known.newest
        {
            self.objects.put(object, Object { newest, ..known })?;
        }
        Ok(judged)
    }

    fn judge_window(
        &mut self,
        object: Option<Fingerprint>,
        arrival: &Arrival<'_>,
        (policy, now): (&FloodPolicy, UnixMillis),
    ) -> Judged {
        let policy = policy.debounce.as_ref();
        let Some(object) = object else {
            let mut judged = Judged::only(Fate::Passes(None));
            judged.unchecked = policy.map(|_| Unchecked::NoObject);
            return judged;
        };
        let stored = self.windows.stored(object);
        let open = stored.as_ref().map(|stored| &stored.window);
        if open.is_none() && policy.is_none() {
            return Judged::only(Fate::Passes(None));
        }
        let incoming = Incoming {
            id: arrival.id,
            place: arrival.place,
            received_at: arrival.received_at,
            version: arrival.version,
            time: arrival.time,
            bypasses: arrival.deleted
                || arrival.on_demand
                || policy.is_some_and(|policy| policy.bypasses(arrival.event_type)),
        };
        let decision = debounce(open, &incoming, policy, now);
        let before = if decision.ends_before {
            self.windows.end(object)
        } else {
            None
        };
        let Some(window) = decision.window else {
            return Judged {
                before,
                ..Judged::only(Fate::Passes(None))
            };
        };
        self.judge_member((object, window), arrival, (&decision, stored, policy))
    }

    /// Puts an event into the window that it has opened or joined; ends what is full.
    fn judge_member(
        &mut self,
        (object, window): (Fingerprint, Window),
        arrival: &Arrival<'_>,
        (decision, before, policy): (&Decision, Option<Stored>, Option<&Debounce>),
    ) -> Judged {
        let is_held = decision.event == Debounced::Absorbed;
        let is_listed = window.keep == Keep::All && is_held && window.kept.is_some();
        let joined = Joined {
            id: arrival.id,
            listed: is_listed.then_some((arrival.place, arrival.payload_bytes)),
            kept: window.kept == Some(arrival.place),
        };
        let joins = before.is_some() || is_listed;
        let has_room = (!joins || self.windows.join(object, joined) || !is_listed)
            && self.windows.put(object, &window, before).is_ok();
        if !has_room {
            // What the window has already is handed on first, so that order is kept.
            return Judged {
                before: self.windows.end(object),
                unchecked: Some(Unchecked::WindowsFull),
                ..Judged::only(Fate::Passes(None))
            };
        }
        let bytes_max = policy.map_or(u64::MAX, |policy| policy.max_bytes);
        let list_is_full = is_listed && self.fills_list(object, (0, 0), bytes_max);
        let after = if decision.ends_after || list_is_full {
            self.windows.end(object)
        } else {
            None
        };
        let fate = if is_held {
            Fate::Held(window.id)
        } else {
            Fate::Passes(Some(window.id))
        };
        Judged {
            after,
            kept_by: window.keeps_alone(arrival.place).then_some(object),
            ..Judged::only(fate)
        }
    }
}

impl Ended {
    /// What the event that is handed on stands for.
    pub fn coalesced(&self) -> Coalesced {
        Coalesced {
            window: self.window.id,
            count: u64::from(self.window.count),
            first_at: self.window.received.0,
            last_at: self.window.received.1,
            ids: self.ids(),
        }
    }

    /// The id of the event that it kept.
    pub fn kept_id(&self) -> EventId {
        self.members.kept().unwrap_or(self.window.id)
    }

    /// The ids of at most [`IDS_MAX`] of its events, in the order in which they came.
    pub fn ids(&self) -> Vec<EventId> {
        let first = self.window.id;
        let others = self.members.ids(IDS_MAX).filter(|id| *id != first);
        std::iter::once(first).chain(others).take(IDS_MAX).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
