//! Why the processor stops. Expected bad input is a [`Reason`](tidegate_schemas::Reason), never one of these.

use tidegate_broker::AppendError;
use tidegate_broker::journal::JournalError;
use tidegate_schemas::MetaError;

/// The processor cannot go on with a partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A message was written by a newer Tidegate.
    #[error("requests partition {partition} cannot be read at offset {offset}: {source}")]
    Newer {
        /// The partition.
        partition: u32,
        /// The message.
        offset: u64,
        /// Which version it has.
        source: MetaError,
    },
    /// Requests cannot be read.
    #[error("requests partition {partition} cannot be read: {source}")]
    Read {
        /// The partition.
        partition: u32,
        /// What the broker says.
        source: tidegate_broker::Error,
    },
    /// A part of a batch's outputs cannot be appended.
    #[error("outputs of requests partition {partition} cannot be appended: {source}")]
    Append {
        /// The partition.
        partition: u32,
        /// What the broker says.
        source: AppendError,
    },
    /// The journal cannot be opened or written.
    #[error("the journal of requests partition {partition} cannot be used: {source}")]
    Journal {
        /// The partition.
        partition: u32,
        /// What the journal says.
        source: JournalError,
    },
    /// The group that shares the partitions out cannot be joined.
    #[error("the partitions of requests cannot be shared out: {0}")]
    Group(tidegate_broker::Error),
    /// An owner's task panicked: a bug.
    #[error("an owner of a requests partition panicked: {0}; see the log, and report it")]
    Panicked(tokio::task::JoinError),
}

impl Error {
    /// Whether beginning the partition again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Newer { .. } | Error::Group(_) | Error::Panicked(_) => false,
            Error::Read { source, .. } => source.is_retryable(),
            Error::Append { source, .. } => source.is_retryable(),
            Error::Journal { source, .. } => source.is_retryable() || source.is_in_doubt(),
        }
    }
}
