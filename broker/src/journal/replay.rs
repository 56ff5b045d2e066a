//! Reading a journal: which of its messages count, and what they do to the tables.
//! Used by a new owner up to its `open`, and by everyone who follows a journal, message by message. Reads nothing
//! itself.

use tidegate_schemas::{JournalKind, JournalMeta, Metadata};

use super::{ChangeError, Changes, JournalError, Tables};
use crate::message::Message;

/// Where a reader of a journal stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The epoch of the owner that wrote last.
    pub epoch: u64,
    /// The input offset reached.
    pub input: u64,
    /// Where that owner can be reached, if it said so.
    pub address: Option<String>,
    /// Bytes of messages since the last complete round began, or since the journal's start.
    pub(super) held_bytes: u64,
    /// Bytes of slices in the last complete round.
    pub(super) round_bytes: u64,
    running: Running,
}

/// The round that is being read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Running {
    start: Option<u64>,
    slice_bytes: u64,
    held_bytes: u64,
}

/// What became of a journal message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A new owner has begun.
    Opened,
    /// Its changes are in the tables.
    Applied,
    /// A former owner wrote it after another had opened: it does not count.
    Ignored,
}

impl Replay {
    /// Takes the next message in.
    ///
    /// # Errors
    /// [`JournalError::Meta`] or [`JournalError::Change`] when it cannot be read; nothing may be read past it.
    pub fn take<T: Tables>(&mut self, message: &Message, tables: &mut T) -> Result<Taken, JournalError> {
        let (topic, partition, offset) = (message.topic.label(), message.partition, message.offset);
        let meta = JournalMeta::decode(&message.meta).map_err(|source| JournalError::Meta {
            topic,
            partition,
            offset,
            source,
        })?;
        self.held_bytes += message.len_bytes() as u64;
        if meta.kind == JournalKind::Open {
            self.epoch = offset;
            self.address = meta.address;
            self.running = Running::default();
            return Ok(Taken::Opened);
        }
        if meta.epoch < self.epoch {
            return Ok(Taken::Ignored);
        }
        self.epoch = meta.epoch;
        let applied = apply(&meta, &message.value, tables);
        let slice_bytes = applied.map_err(|source| JournalError::Change {
            topic,
            partition,
            offset,
            source,
        })?;
        self.input = meta.input;
        self.count(&meta, slice_bytes, message.len_bytes() as u64);
        Ok(Taken::Applied)
    }

    fn count(&mut self, meta: &JournalMeta, slice_bytes: u64, message_bytes: u64) {
        if self.running.start != meta.round_start {
            self.running = Running {
                start: meta.round_start,
                ..Running::default()
            };
        }
        self.running.slice_bytes += slice_bytes;
        self.running.held_bytes += message_bytes;
        if meta.round_complete {
            self.round_bytes = self.running.slice_bytes;
            self.held_bytes = self.running.held_bytes;
            self.running = Running::default();
        }
    }
}

/// Applies a commit's slices, then its changes: whichever the slices were taken before, the changes are later.
fn apply<T: Tables>(meta: &JournalMeta, value: &[u8], tables: &mut T) -> Result<u64, ChangeError> {
    let changes = usize::try_from(meta.changes_bytes).unwrap_or(usize::MAX);
    let (changes, slices) = value
        .split_at_checked(changes)
        .ok_or_else(|| ChangeError::new("the list of changes is cut short"))?;
    for change in Changes::decode(slices).chain(Changes::decode(changes)) {
        tables.apply(change?)?;
    }
    Ok(slices.len() as u64)
}
