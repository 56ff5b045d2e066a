//! The timer wheel of windows: for each tick the leading bits of the objects whose windows may be due then. It only says
//! where to look; the window itself knows its deadline, so nothing is moved here when that is put off. In: ticks and
//! fingerprints. Out: those whose tick has come.

use std::collections::BTreeMap;

use tidegate_schemas::UnixMillis;

use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint};

/// How long a tick lasts, in milliseconds: a window fires by so much late at most.
const TICK_MILLIS: u64 = 16;
/// Bytes of a fingerprint that an entry keeps.
const PREFIX_BYTES: usize = 5;
/// Bytes that an entry takes, with its share of the room that a growing list has.
pub(super) const ENTRY_BYTES: usize = 7;

/// A number of ticks since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub u64);

impl Tick {
    /// The first tick at which `deadline` is past.
    pub fn of(deadline: UnixMillis) -> Self {
        Self(deadline.0.div_ceil(TICK_MILLIS))
    }

    /// The sixteen low bits, by which a window knows its entry.
    pub fn mark(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// Where to look, by tick.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    ticks: BTreeMap<Tick, Vec<[u8; PREFIX_BYTES]>>,
}

impl Wheel {
    pub fn schedule(&mut self, tick: Tick, object: Fingerprint) {
        let mut prefix = [0; PREFIX_BYTES];
        prefix.copy_from_slice(&object.0[..PREFIX_BYTES]);
        self.ticks.entry(tick).or_default().push(prefix);
    }

    /// One entry whose tick has come: its tick, and the first fingerprint that it may mean.
    pub fn pop(&mut self, now: UnixMillis) -> Option<(Tick, Fingerprint)> {
        loop {
            let mut first = self.ticks.first_entry()?;
            let tick = *first.key();
            if tick.0 > now.0 / TICK_MILLIS {
                return None;
            }
            let Some(prefix) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            let mut bytes = [0; FINGERPRINT_BYTES];
            bytes[..PREFIX_BYTES].copy_from_slice(&prefix);
            return Some((tick, Fingerprint(bytes)));
        }
    }

    /// When there is something to pop next, at the earliest.
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.ticks
            .first_key_value()
            .map(|(tick, _)| UnixMillis(tick.0 * TICK_MILLIS))
    }

    /// Whether a fingerprint may be meant by an entry whose first one is `first`.
    pub fn means(first: Fingerprint, object: Fingerprint) -> bool {
        first.0[..PREFIX_BYTES] == object.0[..PREFIX_BYTES]
    }
}
