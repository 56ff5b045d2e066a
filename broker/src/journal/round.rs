//! Rounds: how an owner's tables get into its journal slice by slice, so that what is older can be trimmed.
//!
//! Two bytes of slices go with each byte of changes. When a round of slices is complete, everything before its
//! first is trimmed; so at most two rounds and half as much in changes are ever held: three times the tables.
//! After many takeovers, which each begin a round anew, slices come faster until one is complete.

use super::{Changes, Replay, Tables};

/// Bytes of slices for each byte of changes.
const PACE: usize = 2;
/// The same while the journal holds more than it should.
const PACE_BEHIND: usize = 8;
/// Bytes of slices that go with the smallest changes.
const SLICE_BYTES_MIN: usize = 512;
/// Bytes that a journal may hold whatever the size of its tables.
const HELD_BYTES_FREE: u64 = 256 * 1024;

/// The round of slices being written.
#[derive(Debug, Default)]
pub struct Round {
    /// The offset of its first slice; `None` until that is written.
    pub start: Option<u64>,
    cursor: Option<Vec<u8>>,
    slice_bytes: u64,
    message_bytes: u64,
    /// Bytes of the last complete round.
    complete_bytes: u64,
    /// Bytes of the messages that a restore would read.
    held_bytes: u64,
    /// Bytes of changes in the last complete round.
    changed_before_bytes: u64,
    /// Bytes of changes since.
    changed_bytes: u64,
}

/// Slices for the next message.
#[derive(Debug)]
pub struct Slice {
    /// The entries.
    pub entries: Changes,
    /// Where the next one goes on; `None` when these complete the round.
    pub cursor: Option<Vec<u8>>,
}

impl Round {
    /// The round of a new owner.
    pub fn after(replay: &Replay) -> Round {
        let (complete_bytes, held_bytes) = (replay.round_bytes, replay.held_bytes);
        // Whether there were changes is not known any more; a round too many does no harm.
        Round {
            complete_bytes,
            held_bytes,
            changed_before_bytes: 1,
            ..Round::default()
        }
    }

    /// How many bytes of slices go with `changes_bytes`.
    pub fn due_bytes(&self, changes_bytes: usize) -> usize {
        let behind = self.held_bytes > HELD_BYTES_FREE + 4 * self.complete_bytes;
        let pace = if behind { PACE_BEHIND } else { PACE };
        (changes_bytes * pace).max(SLICE_BYTES_MIN)
    }

    /// Whether anything has changed that the last complete round does not hold.
    pub fn is_wanted(&self) -> bool {
        self.changed_before_bytes + self.changed_bytes > 0
    }

    /// The next slice.
    pub fn slice<T: Tables>(&self, tables: &T, bytes_max: usize) -> Slice {
        let mut entries = Changes::with_capacity(bytes_max);
        let cursor = tables.slice(self.cursor.as_deref(), bytes_max, &mut entries);
        Slice { entries, cursor }
    }

    /// Notes that a message was written at `offset`; returns what may be trimmed when it completes the round.
    pub fn written(&mut self, offset: u64, slice: &Slice, (changes, message): (usize, usize)) -> Option<u64> {
        let start = *self.start.get_or_insert(offset);
        self.slice_bytes += slice.entries.len_bytes() as u64;
        self.message_bytes += message as u64;
        self.held_bytes += message as u64;
        self.changed_bytes += changes as u64;
        self.cursor.clone_from(&slice.cursor);
        if slice.cursor.is_some() {
            return None;
        }
        *self = Round {
            complete_bytes: self.slice_bytes,
            held_bytes: self.message_bytes,
            changed_before_bytes: self.changed_bytes,
            ..Round::default()
        };
        Some(start)
    }
}
