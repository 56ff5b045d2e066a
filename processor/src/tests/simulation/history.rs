//! What happened in a simulated world, in the order of its journal: every decision with the time and policy it was taken
//! under, everything that was set aside, every window that ended, and every row that was written, committed or not.
//! In: what an owner did. Out: counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_registry::FloodPolicy;
use tidegate_schemas::{EventId, UnixMillis};

use super::events::Sent;

/// What became of an event when it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Became {
    Repeat,
    Duplicate,
    Stale,
    Held(EventId),
    HandedOn(Option<EventId>),
    Unchanged(Option<EventId>),
}

/// A moment, by the owner's clock and by the world's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub owners: UnixMillis,
    pub worlds: u64,
    /// The owner's `open`.
    pub epoch: usize,
    /// Which of its owner's readings this came of.
    pub reading: u64,
}

/// How an event came to be decided when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// At once.
    AtOnce,
    /// It was set aside, and its turn had come.
    InTurn,
    /// At once, since no more could be set aside.
    NoRoom,
}

/// Where a request lies in the log, and an event in it.
pub type Lies = (u64, u32);

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Entry {
    Decided {
        sent: Arc<Sent>,
        policy: Arc<FloodPolicy>,
        at: Moment,
        became: Became,
        lies: Lies,
        turned: Turned,
    },
    SetAside {
        sent: Arc<Sent>,
        policy: Arc<FloodPolicy>,
        at: Moment,
        lies: Lies,
    },
    Ended {
        window: EventId,
        count: u32,
        ids: Vec<EventId>,
        /// The kept event and what became of it; with all listed events when it keeps all.
        kept: Option<(Arc<Sent>, Became)>,
        listed: Vec<EventId>,
        policy: Arc<FloodPolicy>,
        at: Moment,
    },
}

/// A row as it went to `outcomes`, whether or not its batch was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: EventId,
    pub became: Became,
    pub commit: usize,
    /// Whether the journal has the batch that it belongs to.
    pub committed: bool,
}

/// How long nobody works at most, in milliseconds.
const PAUSE_MAX: u64 = 60_000;

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    /// Whether outputs and journal are one append.
    pub is_atomic: bool,
    /// Bytes that may be set aside.
    pub aside_bytes_max: usize,
    pub sent: Vec<Arc<Sent>>,
    /// What the journal holds, in its order.
    pub entries: Vec<Entry>,
    pub rows: Vec<Row>,
    /// When nobody worked, in the world's time, in order.
    pub pauses: Vec<(u64, u64)>,
    /// When, in the world's time, each epoch began.
    pub epochs: BTreeMap<usize, u64>,
    /// The most bytes that flood control ever took, and what was set aside.
    pub bytes_most: usize,
    pub aside_bytes_most: usize,
}

impl History {
    /// How long nobody worked within some time, whole pauses counted.
    pub fn paused(&self, (from, to): (u64, u64)) -> u64 {
        let begun = self.pauses.partition_point(|(began, _)| *began <= to);
        let latest = self.pauses.iter().take(begun).rev();
        let latest = latest.take_while(|(began, _)| began + PAUSE_MAX > from);
        let within = latest.filter(|(_, ended)| *ended > from);
        within.map(|(began, ended)| ended - began).sum()
    }

    /// How often each thing happened.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for name in [
            "duplicate",
            "stale",
            "held",
            "handed on",
            "unchanged",
            "repeat",
            "ended",
            "set aside",
            "decided in turn",
        ] {
            counts.insert(name, 0);
        }
        for entry in &self.entries {
            if let Entry::Decided { turned, .. } = entry {
                let how = match turned {
                    Turned::AtOnce => None,
                    Turned::InTurn => Some("decided in turn"),
                    Turned::NoRoom => Some("without room"),
                };
                how.into_iter()
                    .for_each(|how| *counts.entry(how).or_insert(0) += 1);
            }
            let name = match entry {
                Entry::Ended { .. } => "ended",
                Entry::SetAside { .. } => "set aside",
                Entry::Decided { became, .. } => match became {
                    Became::Repeat => "repeat",
                    Became::Duplicate => "duplicate",
                    Became::Stale => "stale",
                    Became::Held(_) => "held",
                    Became::HandedOn(_) => "handed on",
                    Became::Unchanged(_) => "unchanged",
                },
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    }
}
