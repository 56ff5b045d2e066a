//! What it all came to. In: what became of each event, and how long what waited. Out: numbers, in the order in which they are
//! shown.

use std::time::Duration;

/// What became of all events: each counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// All.
    pub events: u64,
    /// Handed on.
    pub handed_on: u64,
    /// Absorbed by a window.
    pub debounced: u64,
    /// Of a delivery id that was seen.
    pub duplicate: u64,
    /// Older than what was seen of their object.
    pub stale: u64,
    /// Of an object that has not changed.
    pub unchanged: u64,
    /// Decided before, and not again.
    pub repeats: u64,
    /// Set aside because of a rate, before they were decided.
    pub set_aside: u64,
    /// The most of them at a time.
    pub most_set_aside: u64,
    /// How long one of them had waited for its turn, at most.
    pub longest_turn: Duration,
    /// Windows.
    pub windows: u64,
    /// The most events in one.
    pub largest_window: u64,
    /// How long an event that a window handed on had waited, at most.
    pub longest_wait: Duration,
    /// The same from the window's first event on.
    pub longest_window: Duration,
}

/// What an event ended as.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    HandedOn,
    Debounced,
    Duplicate,
    Stale,
    Unchanged,
    Repeat,
}

impl Sums {
    /// Counts what each event ended as.
    pub(super) fn count(&mut self, fates: &[Option<Fate>]) {
        self.events = fates.len() as u64;
        for fate in fates.iter().flatten() {
            *match fate {
                Fate::HandedOn => &mut self.handed_on,
                Fate::Debounced => &mut self.debounced,
                Fate::Duplicate => &mut self.duplicate,
                Fate::Stale => &mut self.stale,
                Fate::Unchanged => &mut self.unchanged,
                Fate::Repeat => &mut self.repeats,
            } += 1;
        }
    }

    /// Each outcome's word and number, in the order in which they are shown.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        [
            ("handed on", self.handed_on),
            ("debounced", self.debounced),
            ("duplicate", self.duplicate),
            ("stale", self.stale),
            ("unchanged", self.unchanged),
        ]
    }
}
