//! What happened in a simulated world, in the order of its journal: every decision with the time and policy it was taken
//! under, every window that ended, and every row that was written, committed or not. In: what an owner did. Out: counts.

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
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Entry {
    Decided {
        sent: Arc<Sent>,
        policy: Arc<FloodPolicy>,
        at: Moment,
        became: Became,
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

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    pub sent: Vec<Arc<Sent>>,
    /// What the journal holds, in its order.
    pub entries: Vec<Entry>,
    pub rows: Vec<Row>,
    /// When nobody worked, in the world's time.
    pub pauses: Vec<(u64, u64)>,
    /// When, in the world's time, each epoch began.
    pub epochs: BTreeMap<usize, u64>,
    /// The most bytes that flood control ever took.
    pub bytes_most: usize,
}

impl History {
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
        ] {
            counts.insert(name, 0);
        }
        for entry in &self.entries {
            let name = match entry {
                Entry::Ended { .. } => "ended",
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
