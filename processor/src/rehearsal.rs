//! Flood control on a virtual clock, without a log: the same deciders, for trying a policy on events that were recorded or
//! described, and for measuring. In: events in the order in which they came, each with the policy that holds for it.
//! Out: what became of each, when, and why; on demand what a journal would hold of flood control. Reads no clock; verifies
//! and forwards nothing.

mod turns;

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_registry::{FloodPolicy, Keep};
use tidegate_schemas::{Coalesced, EventId, IntegrationId, UnixMillis};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::config::{Config, FloodConfig};
use crate::flood::{
    Arrival, Content, DeliveryKey, Ended, Fate, Fill, Fingerprint, FingerprintKey, FloodControl, Judged,
    Unchecked,
};
use crate::state::State;
use crate::steps::debounce::Place;
use crate::steps::order::Rank;
pub use turns::Behind;
use turns::{Awaited, Waiting};

/// Flood control of one partition on a virtual clock.
///
/// Time only moves by [`Rehearsal::decide`], to when the event was received, by [`Rehearsal::pass`] and by
/// [`Rehearsal::finish`]; windows that end meanwhile end at their own time.
#[derive(Debug)]
pub struct Rehearsal {
    state: State,
    came: u64,
    /// The events that a window may keep, by the order in which they came.
    given: HashMap<u64, Given>,
    /// Those that wait for their turn, the same way.
    waiting: HashMap<u64, Waiting>,
    now: UnixMillis,
}

/// An event as it came.
#[derive(Debug, Clone, Copy)]
pub struct RehearsedEvent<'a> {
    /// Its id; two events of one id are the same event, decided twice.
    pub id: EventId,
    /// The integration it came to.
    pub integration: IntegrationId,
    /// The connection it is about.
    pub connection: Option<&'a str>,
    /// The provider's type.
    pub event_type: &'a str,
    /// When it was received.
    pub received_at: UnixMillis,
    /// The provider's delivery id.
    pub delivery_id: Option<&'a str>,
    /// The object it is about; without one it is never held back.
    pub object_key: Option<&'a str>,
    /// The rank of the object's version.
    pub version: Option<i64>,
    /// The provider's time.
    pub time: Option<UnixMillis>,
    /// Whether it says that the object is gone.
    pub deleted: bool,
    /// A hash of the object's whole state, such as [`tidegate_providers::Definition::content_hash`] gives.
    pub content: Option<u64>,
    /// Bytes of its payload.
    pub payload_bytes: u32,
}

/// Something that happened to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// When.
    pub at: UnixMillis,
    /// To which event.
    pub event: EventId,
    /// What became of it.
    pub became: Became,
    /// The event that was being decided; none when a window's time was over.
    pub by: Option<EventId>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// It is set aside because of a rate, and decided when its turn comes.
    SetAside(Behind),
    /// Nothing: it was decided already.
    Repeat,
    /// `duplicate`: its delivery id was seen under another event id.
    Duplicate,
    /// `stale`: it is older than this.
    Stale(Rank),
    /// Held in this window, and `debounced` unless the window hands on this one.
    Held(EventId),
    /// `unchanged`: its object's content has this hash, as before; with its window.
    Unchanged(u64, Option<EventId>),
    /// Handed on to be routed.
    HandedOn(HandedOn),
}

/// What is known of an event that is handed on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandedOn {
    /// The window that it opened or that kept it.
    pub window: Option<EventId>,
    /// What it stands for, when its window has ended.
    pub coalesced: Option<Coalesced>,
    /// Why it was not checked as its policy says, if it was not.
    pub unchecked: Option<&'static str>,
}

/// What is asked of an event when it is handed on.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    object: Option<Fingerprint>,
    deleted: bool,
    /// The content's hash with the type's.
    content: Option<u64>,
    detects: bool,
}

impl Rehearsal {
    /// Nothing known yet, within the limits that `config` gives to all partitions together.
    #[must_use]
    pub fn new(config: &FloodConfig) -> Self {
        Self::begin(FloodControl::within(&config.limits(1)))
    }

    /// The same with so many bytes for what waits for its turn, instead of the default.
    #[must_use]
    pub fn setting_aside_within(mut self, bytes_max: usize) -> Self {
        self.state = State::of(self.state.flood, bytes_max);
        self
    }

    /// What a journal with these changes and slices, in order, makes of it. What open windows kept is not in them: they
    /// hand on events without content.
    ///
    /// # Errors
    /// The changes are no journal of flood control.
    pub fn restored<'c>(
        config: &FloodConfig,
        journal: impl IntoIterator<Item = &'c Changes>,
    ) -> Result<Self, ChangeError> {
        let mut flood = FloodControl::within(&config.limits(1));
        for changes in journal {
            for change in Changes::decode(changes.as_bytes()) {
                flood.apply(change?)?;
            }
        }
        Ok(Self::begin(flood))
    }

    fn begin(mut flood: FloodControl) -> Self {
        flood.begin(UnixMillis(0), || FingerprintKey([0; 16]));
        Self {
            state: State::of(flood, Config::default().set_aside_bytes_max),
            came: 0,
            given: HashMap::new(),
            waiting: HashMap::new(),
            now: UnixMillis(0),
        }
    }

    /// Decides an event when it was received, unless it must wait for its turn; what happened by then and then, in order.
    /// Every integration has one partition.
    pub fn decide(&mut self, event: &RehearsedEvent<'_>, policy: &Arc<FloodPolicy>) -> Vec<Rehearsed> {
        let mut happened = self.pass(event.received_at);
        let came = self.came;
        self.came += 1;
        let note = match self.await_turn(event, (came, policy)) {
            Awaited::Passes(note) => note,
            Awaited::SetAside(behind) => {
                happened.push(Rehearsed {
                    at: self.now,
                    event: event.id,
                    became: Became::SetAside(behind),
                    by: Some(event.id),
                });
                return happened;
            }
        };
        self.judge((event, came), (policy, note), &mut happened);
        happened
    }

    /// Decides the event that came at this place.
    fn judge(
        &mut self,
        (event, came): (&RehearsedEvent<'_>, u64),
        (policy, note): (&FloodPolicy, Option<&'static str>),
        happened: &mut Vec<Rehearsed>,
    ) {
        let place = Place {
            offset: came,
            position: 0,
        };
        let of_type = xxh3_64(event.event_type.as_bytes());
        let hash = |content: u64| xxh3_64_with_seed(&content.to_le_bytes(), of_type);
        let flood = &mut self.state.flood;
        let judged = flood.judge(&arrival(event, place), policy, self.now);
        let object = event.connection.zip(event.object_key);
        let object = object.map(|(connection, key)| flood.object(event.integration, connection, key));
        let given = Given {
            object,
            deleted: event.deleted,
            content: event.content.map(hash),
            detects: policy.detect_changes,
        };
        if policy.debounce.is_some() || flood.open_windows() > 0 {
            self.given.insert(came, given);
        } else {
            self.given.clear();
        }
        let unchecked = judged.unchecked.map(Unchecked::in_words).or(note);
        self.tell(judged, (event.id, given, unchecked), happened);
    }

    /// Lets time pass until `until`; what windows handed on meanwhile and whose turn came, in order.
    pub fn pass(&mut self, until: UnixMillis) -> Vec<Rehearsed> {
        let mut happened = Vec::new();
        while let Some(next) = self.next_at().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            for ended in self.state.flood.fire(self.now, usize::MAX) {
                happened.extend(self.end(&ended, None));
            }
            self.take_turns(&mut happened);
        }
        self.now = self.now.max(until);
        happened
    }

    /// When something happens by itself, at the earliest.
    fn next_at(&self) -> Option<UnixMillis> {
        let turn = self.state.set_aside().due_at();
        [self.state.flood.next_at(), turn].into_iter().flatten().min()
    }

    /// What changed since the last call, as a journal's message would hold it.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::new();
        self.state.flood.write_changes(&mut changes);
        changes
    }

    /// A part of all that is known, from behind `after` on, in about so many bytes; and the cursor to go on from, `None` at
    /// the end.
    #[must_use]
    pub fn slice(&self, after: Option<&[u8]>, bytes_max: usize) -> (Changes, Option<Vec<u8>>) {
        let mut slice = Changes::new();
        let cursor = self.state.flood.slice(after, bytes_max, &mut slice);
        (slice, cursor)
    }

    /// Lets time pass until no window is open any more and nothing waits; what happened meanwhile.
    pub fn finish(&mut self) -> Vec<Rehearsed> {
        let mut happened = Vec::new();
        while let Some(next) = self.next_at() {
            happened.extend(self.pass(next));
        }
        happened
    }

    /// How many windows are open.
    #[must_use]
    pub fn open_windows(&self) -> usize {
        self.state.flood.open_windows()
    }

    /// Bytes that the state takes, beside what a rehearsal remembers of its events.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let Fill {
            seen_bytes,
            objects_bytes,
            windows_bytes,
            ..
        } = self.state.flood.fill();
        seen_bytes + objects_bytes + windows_bytes
    }

    fn tell(
        &mut self,
        judged: Judged,
        (event, given, unchecked): (EventId, Given, Option<&'static str>),
        happened: &mut Vec<Rehearsed>,
    ) {
        let Judged {
            before, fate, after, ..
        } = judged;
        let by = Some(event);
        happened.extend(before.and_then(|ended| self.end(&ended, by)));
        let became = match fate {
            Fate::Repeat => Became::Repeat,
            Fate::Duplicate => Became::Duplicate,
            Fate::Stale(newest) => Became::Stale(newest),
            Fate::Held(window) => Became::Held(window),
            Fate::Passes(window) => {
                let handed_on = HandedOn {
                    window,
                    coalesced: None,
                    unchecked,
                };
                self.detect(given, handed_on)
            }
        };
        happened.push(Rehearsed {
            at: self.now,
            event,
            became,
            by,
        });
        happened.extend(after.and_then(|ended| self.end(&ended, by)));
    }

    /// What a window hands on.
    fn end(&mut self, ended: &Ended, by: Option<EventId>) -> Option<Rehearsed> {
        let kept = ended.window.kept?;
        let handed_on = HandedOn {
            window: Some(ended.window.id),
            coalesced: Some(ended.coalesced()),
            unchecked: None,
        };
        // A list is not compared.
        let given = self.given.get(&kept.offset).copied().unwrap_or_default();
        let detects = given.detects && ended.window.keep != Keep::All;
        let became = self.detect(Given { detects, ..given }, handed_on);
        Some(Rehearsed {
            at: self.now,
            event: ended.kept_id(),
            became,
            by,
        })
    }

    /// detect, as the pipeline has it.
    fn detect(&mut self, given: Given, handed_on: HandedOn) -> Became {
        let Some(object) = given.object else {
            return Became::HandedOn(handed_on);
        };
        if given.deleted {
            self.state.flood.forget_content(object);
        }
        let detects = given.detects && !given.deleted;
        let Some(content) = given.content.filter(|_| detects) else {
            return Became::HandedOn(handed_on);
        };
        match self.state.flood.detect(object, content, || content) {
            Content::Unchanged(hash) => Became::Unchanged(hash, handed_on.window),
            Content::Changed => Became::HandedOn(handed_on),
            Content::Unknown => Became::HandedOn(HandedOn {
                unchecked: Some(Unchecked::ObjectsFull.in_words()),
                ..handed_on
            }),
        }
    }
}

fn arrival<'a>(event: &RehearsedEvent<'a>, place: Place) -> Arrival<'a> {
    Arrival {
        id: event.id,
        integration: event.integration,
        connection: event.connection,
        event_type: event.event_type,
        place,
        received_at: event.received_at,
        delivery: event.delivery_id.map(DeliveryKey::Id),
        object: event.object_key,
        deleted: event.deleted,
        version: event.version,
        time: event.time,
        payload_bytes: event.payload_bytes,
        on_demand: false,
    }
}

#[cfg(test)]
mod tests;
