//! Journals: one mechanism for all state that must survive its owner.
//!
//! An owner's state is its [`Tables`]. Every batch it decides becomes one message in its journal: all changes, as
//! absolute values, and the input offset reached; with it go the batch's outputs. A new owner appends `open`, whose
//! offset is its *epoch*, reads everything up to it ([`Replay`]) and goes on at the input offset found. Whoever finds
//! that the journal went on without it has lost the partition and stops. Along with its changes the owner writes its
//! tables slice by slice; once a *round* of slices holds the whole, everything older is trimmed.
//!
//! On the embedded log a batch's outputs and its message are one atomic append. On Kafka the outputs are acknowledged
//! first, then the message is sent, and its offset tells whether another has opened the journal meanwhile.

mod changes;
mod owner;
mod progress;
mod replay;
mod round;

pub use changes::{ChangeError, Changes};
pub use owner::{Commit, Journal, Place, Progress};
pub(crate) use progress::Readings;
pub use progress::Telling;
pub use replay::{Replay, Taken};

use tidegate_schemas::{MetaError, Topic};

use crate::error::{AppendError, Error};

/// The target of the trace events that say how far an owner has come, by their field `step`: `opened` (its `open` is
/// written, nothing is read), `decided` (nothing of a batch is sent), `outputs` (acknowledged; the journal's message is
/// not sent; on Kafka only), `slice` (in the middle of a round), `trim` (before one). Tests stop an owner there.
pub const STEPS: &str = "tidegate_broker::journal::steps";

/// Says how far an owner has come.
pub(crate) fn step(step: &'static str, (topic, partition): (Topic, u32)) {
    tracing::trace!(target: STEPS, step, topic = topic.label(), partition);
}

/// The state that a journal rebuilds.
pub trait Tables {
    /// Applies one change that [`Tables::slice`] or the owner wrote. Changes are absolute values: applied twice, or
    /// after a later one's slice, they do no harm.
    ///
    /// # Errors
    /// When the change cannot be decoded; the journal then does not open.
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError>;

    /// Writes entries as changes into `out`, in one fixed order of their keys, from behind `after` (from the first
    /// when it is `None`), until about `bytes_max` bytes are written, at least one entry. Returns the cursor to go on
    /// from, `None` when the last entry is written. An entry that is there during the whole walk must be met.
    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>>;
}

/// Why a journal cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another owner has opened it: stop at once, and take nothing more from the input.
    #[error("{topic} partition {partition} has another owner since offset {offset}: this one has stopped")]
    Lost {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// The offset that this owner expected to write next.
        offset: u64,
    },
    /// Nobody knows whether the last message is in the journal: it must be opened again.
    #[error("{topic} partition {partition} is in doubt and must be opened again: {reason}")]
    InDoubt {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// What the broker said.
        reason: String,
    },
    /// The append was refused; the journal has no message of the batch, and nothing was lost.
    #[error(transparent)]
    Append(AppendError),
    /// The broker cannot read the journal.
    #[error(transparent)]
    Read(#[from] Error),
    /// A message of the journal cannot be read.
    #[error("{topic} partition {partition} offset {offset}: {source}")]
    Meta {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// The message.
        offset: u64,
        /// Why.
        source: MetaError,
    },
    /// A change in the journal cannot be applied.
    #[error("{topic} partition {partition} offset {offset}: {source}")]
    Change {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// The message.
        offset: u64,
        /// Why.
        source: ChangeError,
    },
}

impl JournalError {
    /// Whether opening the journal again may help where the same call would not.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, JournalError::InDoubt { .. })
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            JournalError::Append(error) => error.is_retryable(),
            JournalError::Read(error) => error.is_retryable(),
            JournalError::InDoubt { .. }
            | JournalError::Lost { .. }
            | JournalError::Meta { .. }
            | JournalError::Change { .. } => false,
        }
    }

    fn append((topic, partition, offset): (Topic, u32, u64)) -> impl FnOnce(AppendError) -> JournalError {
        move |error| match error {
            AppendError::Overtaken { .. } => JournalError::Lost {
                topic: topic.label(),
                partition,
                offset,
            },
            AppendError::InDoubt {
                topic,
                partition,
                reason,
            } => JournalError::InDoubt {
                topic,
                partition,
                reason,
            },
            error => JournalError::Append(error),
        }
    }
}
