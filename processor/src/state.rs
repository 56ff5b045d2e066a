//! The state of one partition of `requests`, as its journal keeps it: what is set aside, and what flood control knows.
//! In: the journal's changes. Out: the tables, and slices of them. Each table owns a range of tags, the first byte of its
//! changes. Beside it stands what is held in memory for windows, which no journal keeps.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_broker::journal::{ChangeError, Changes, Tables};
use tidegate_registry::Keep;
use tidegate_schemas::UnixMillis;

use crate::flood::{self, Fingerprint, FloodControl};
use crate::held::{Held, HeldLimit};
use crate::rates::{Pace, Rates, TURN};
use crate::set_aside::{self, Cause, Entry, Queue, RunKey, SetAside, Wait};

/// What the state of a partition may take.
#[derive(Debug, Clone)]
pub(crate) struct StateLimits {
    /// Bytes of pointers to what is set aside, for each partition.
    pub set_aside_bytes_max: usize,
    pub flood: flood::Limits,
    pub held: HeldLimit,
}

/// The tables of one partition.
#[derive(Debug)]
pub(crate) struct State {
    set_aside: Arc<Mutex<SetAside>>,
    rates: Rates,
    pub flood: FloodControl,
    pub held: Held,
}

/// Whether an event may be decided at its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    /// It was set aside.
    Later,
    /// It should wait, but no more can be set aside.
    NoRoom,
}

/// Pointers that were set aside and whose turn it is. They stay in the table until they are decided.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub key: RunKey,
    pub since: UnixMillis,
    pub entries: Vec<Entry>,
}

/// Where something that was set aside stands in its table, until it is decided.
#[derive(Debug, Clone)]
pub(crate) struct Aside {
    pub key: RunKey,
    pub entry: Entry,
    pub since: UnixMillis,
}

/// How many runs are served between two readings of new input.
const RUNS_AT_ONCE: usize = 64;
/// How many pointers are served between two readings of new input, unless one run has more.
const ENTRIES_AT_ONCE: usize = 1000;
/// Stands before a cursor of flood control; one of what is set aside begins with a tag.
const FLOOD_CURSOR: u8 = 0;

impl State {
    /// Empty tables.
    pub fn new(limits: &StateLimits) -> Self {
        Self {
            set_aside: Arc::new(Mutex::new(SetAside::within(limits.set_aside_bytes_max))),
            rates: Rates::default(),
            flood: FloodControl::within(&limits.flood),
            held: Held::within(limits.held.clone()),
        }
    }

    /// Flood control, and room for so many bytes of what is set aside; nothing is held in memory.
    pub fn of(flood: FloodControl, set_aside_bytes_max: usize) -> Self {
        Self {
            set_aside: Arc::new(Mutex::new(SetAside::within(set_aside_bytes_max))),
            rates: Rates::default(),
            flood,
            held: Held::within(HeldLimit::new(0)),
        }
    }

    /// What is set aside; the guard is never held across an await.
    pub fn set_aside(&self) -> MutexGuard<'_, SetAside> {
        self.set_aside.lock()
    }

    /// Whether an event of `queue` may be decided now: it fits its rates, and nothing of the queue waits before it.
    pub fn take_turn(&mut self, queue: Queue, (entry, pace): (Entry, Pace), wait: Wait) -> Turn {
        let mut set_aside = self.set_aside.lock();
        if !set_aside.holds(&queue) && self.rates.fits(&pace, wait.since) {
            return Turn::Now;
        }
        match set_aside.push(queue.clone(), entry, wait) {
            Ok(()) => {
                set_aside.set_pace(&queue, pace);
                Turn::Later
            }
            Err(set_aside::Full) => Turn::NoRoom,
        }
    }

    /// When the next event fits these rates.
    pub fn next_at(&self, pace: &Pace) -> UnixMillis {
        self.rates.next_at(pace)
    }

    /// Notes the rates that hold for a queue now, if it holds anything.
    pub fn set_pace(&self, queue: &Queue, pace: Pace) {
        self.set_aside.lock().set_pace(queue, pace);
    }

    /// Whether an event of `queue` need not ask for its turn: it has no rate, and nothing waits before it.
    pub fn is_free(&self, queue: impl FnOnce() -> Queue) -> bool {
        let set_aside = self.set_aside.lock();
        !set_aside.holds_turns() || !set_aside.holds(&queue())
    }

    /// The pointers whose turn it is: a run of each queue at most, and of each as many as its rate allows.
    pub fn turns(&mut self, now: UnixMillis) -> Vec<Served> {
        let mut turns: Vec<Served> = Vec::new();
        let mut entries = 0;
        while turns.len() < RUNS_AT_ONCE && entries < ENTRIES_AT_ONCE {
            let Some(turn) = self.next_turn(now, &turns) else {
                break;
            };
            entries += turn.entries.len();
            turns.push(turn);
        }
        turns
    }

    /// The next pointers whose turn it is, of another queue than those already `served`.
    fn next_turn(&mut self, now: UnixMillis, served: &[Served]) -> Option<Served> {
        let mut set_aside = self.set_aside.lock();
        loop {
            let (key, since) = set_aside.next_due(now)?;
            let queue = &key.0;
            if served.iter().any(|served| served.key.0 == *queue) {
                return None;
            }
            let mut entries = set_aside.len_of(&key);
            if queue.cause == Cause::Rate {
                let pace = set_aside.pace(queue);
                let next_at = self.rates.next_at(&pace);
                if next_at > now {
                    set_aside.put_off(queue, next_at);
                    continue;
                }
                entries = self.rates.serve(&pace, entries, now);
                set_aside.put_off(queue, self.rates.next_at(&pace).max(now.after(TURN)));
            }
            let entries = set_aside.first(&key, entries);
            return Some(Served { key, since, entries });
        }
    }

    /// Takes what is about to be decided out of the table of what is set aside.
    pub fn take_out<'a>(&self, asides: impl Iterator<Item = &'a Aside>) {
        let mut set_aside = self.set_aside.lock();
        for (aside, entries) in by_run(asides) {
            set_aside.take_first(&aside.key, entries.len());
        }
    }

    /// Puts what is not decided yet back into the table, so that no commit loses it.
    pub fn put_back<'a>(&self, asides: impl Iterator<Item = &'a Aside>) {
        let mut set_aside = self.set_aside.lock();
        for (aside, entries) in by_run(asides) {
            set_aside.put_back(&aside.key, aside.since, &entries);
        }
    }

    /// Goes on to hold those of a batch's requests whose events windows still keep.
    pub fn settle_held(&mut self) {
        self.held.settle(|object, place| {
            let window = self.flood.window(object);
            window.is_some_and(|window| window.keeps_alone(place))
        });
    }

    /// The offsets of requests that an object's window would need to hand something on, and that are not at hand.
    pub fn missing(&self, object: Fingerprint) -> Vec<u64> {
        let Some(window) = self.flood.window(object) else {
            return Vec::new();
        };
        let places = match window.keep {
            Keep::All => self.flood.places(object),
            Keep::Latest | Keep::First => window.kept.into_iter().collect(),
        };
        let missing = places
            .into_iter()
            .filter(|place| self.held.at(object, *place).is_none());
        missing.map(|place| place.offset).collect()
    }

    /// Writes what changed since the last call.
    pub fn write_changes(&mut self, changes: &mut Changes) {
        self.set_aside().write_changes(changes);
        self.flood.write_changes(changes);
    }

    /// About how many bytes [`State::write_changes`] would write.
    pub fn changes_bytes(&self) -> usize {
        self.set_aside().changes_bytes() + self.flood.changes_bytes()
    }

    /// The same, shared with whoever asks which requests must be kept.
    pub fn shared_set_aside(&self) -> Arc<Mutex<SetAside>> {
        self.set_aside.clone()
    }
}

/// What was set aside, run by run.
fn by_run<'a>(asides: impl Iterator<Item = &'a Aside>) -> Vec<(&'a Aside, Vec<Entry>)> {
    let mut runs: Vec<(&Aside, Vec<Entry>)> = Vec::new();
    for aside in asides {
        match runs.last_mut() {
            Some((first, entries)) if first.key == aside.key => entries.push(aside.entry),
            _ => runs.push((aside, vec![aside.entry])),
        }
    }
    runs
}

impl Tables for State {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        match change.first() {
            Some(tag) if set_aside::TAGS.contains(tag) => self.set_aside().apply(change),
            Some(tag) if flood::TAGS.contains(tag) => self.flood.apply(change),
            _ => Err(ChangeError::new(
                "the state holds a table that this build does not know",
            )),
        }
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let within_flood = after.and_then(|cursor| cursor.strip_prefix(&[FLOOD_CURSOR]));
        let before = out.len_bytes();
        if within_flood.is_none()
            && let Some(cursor) = self.set_aside().slice(after, bytes_max, out)
        {
            return Some(cursor);
        }
        let left = bytes_max.saturating_sub(out.len_bytes() - before).max(1);
        let cursor = self.flood.slice(within_flood, left, out)?;
        Some([&[FLOOD_CURSOR], cursor.as_slice()].concat())
    }
}
