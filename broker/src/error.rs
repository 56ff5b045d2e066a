//! What can go wrong with the broker, told apart by what its caller can do about it.
//! An [`AppendError`] is a refused append, an [`Error`] everything else. Damage is never papered over.

use std::io;
use std::path::PathBuf;

use tidegate_schemas::Topic;

/// An append that was refused: nothing of the batch is in the log, except perhaps after [`AppendError::Closed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room on the disk, or in the configured share of it.
    #[error(
        "log has no room for {needed} bytes: {used} of {limit} bytes are in use; free disk space or raise \
         broker.embedded.disk_bytes_max, appends go on by themselves"
    )]
    Full {
        /// Bytes the batch needs.
        needed: u64,
        /// Bytes of all segments, those written ahead included.
        used: u64,
        /// The configured limit.
        limit: u64,
    },
    /// Kafka is away, and what waits for it on this process's disk has reached its limit; nothing of the batch is kept.
    #[error(
        "Kafka is away and the spill has no room for {needed} bytes: {used} of {limit} bytes are in use \
         (broker.kafka.spill.bytes_max); requests are taken again once Kafka is back"
    )]
    SpillFull {
        /// Bytes the batch needs.
        needed: u64,
        /// Bytes of all segments, those written ahead included.
        used: u64,
        /// The configured limit.
        limit: u64,
    },
    /// Too much waits to be sent to Kafka; nothing of the batch was sent.
    #[error(
        "{queued} bytes wait to be sent to Kafka, at most {limit} may (broker.kafka.queue_bytes_max): it takes no more \
         for now, appends go on by themselves"
    )]
    Busy {
        /// Bytes that wait.
        queued: u64,
        /// Bytes that may.
        limit: u64,
    },
    /// Kafka refused a record for good; others of the batch may be there.
    #[error("Kafka refuses a record of {topic}: {reason}")]
    Refused {
        /// The topic of the batch's first record.
        topic: &'static str,
        /// What Kafka says.
        reason: String,
    },
    /// Kafka did not answer in time: the batch, or a part of it, may be there or not.
    #[error("Kafka did not answer for {topic} in time: {reason}; what was sent may be there or not")]
    Unanswered {
        /// The topic of the batch's first record.
        topic: &'static str,
        /// What the client says.
        reason: String,
    },
    /// Kafka did not answer for a journal's message: its owner must open the journal again to find out.
    #[error("Kafka did not answer for {topic} partition {partition}: {reason}; the journal is opened again")]
    InDoubt {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// What the client says.
        reason: String,
    },
    /// A message, or the batch as a whole, is over its limit. Trying again will not help.
    #[error("{topic} message or batch has {bytes} bytes, at most {limit} are taken: send less at once")]
    TooLarge {
        /// The topic whose limit it is; of a batch, its first record's.
        topic: &'static str,
        /// Bytes it has.
        bytes: u64,
        /// Bytes it may have.
        limit: u64,
    },
    /// The record names a partition that its topic does not have.
    #[error("{topic} has {partitions} partitions, there is no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: &'static str,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// The broker is closing, or its disk failed: this process cannot append any more. If the disk failed while the
    /// append waited for it, the next start tells whether it is in the log.
    #[error("log is closed, no more appends are taken")]
    Closed,
    /// The partition's next offset was not the expected one: another owner has written to the journal.
    #[error(
        "{topic} partition {partition} is at offset {found}, not {expected}: another owner has opened it"
    )]
    Overtaken {
        /// The journal's topic.
        topic: &'static str,
        /// Its partition.
        partition: u32,
        /// The offset that the append expected to get.
        expected: u64,
        /// The offset it would have got.
        found: u64,
    },
}

impl AppendError {
    /// Whether the same append may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            AppendError::Full { .. }
                | AppendError::SpillFull { .. }
                | AppendError::Busy { .. }
                | AppendError::Unanswered { .. }
        )
    }
}

/// Why the broker cannot open, read or close.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process works on the same directory.
    #[error("{path} is in use by process {holder}: stop it, or choose another data directory", path = .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, as it wrote itself down.
        holder: String,
    },
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The log holds something else than what was written and synced.
    #[error(
        "log is damaged: {0}; run `tidegate log inspect`, then `tidegate log repair` to decide what is kept"
    )]
    Damaged(Damage),
    /// A limit or count in the configuration that cannot work.
    #[error("broker configuration cannot be used: {0}")]
    Config(String),
    /// A topic on Kafka does not hold what is promised.
    #[error("topic {topic}: {setting} is {found}, it must be {needed}")]
    Topic {
        /// Its full name.
        topic: String,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// Kafka does not answer, or refuses.
    #[error("cannot {action}: {reason}")]
    Kafka {
        /// What was tried.
        action: String,
        /// What Kafka's client says.
        reason: String,
    },
    /// The log is closed or its disk failed.
    #[error("log is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Error::Locked { .. } | Error::Kafka { .. })
    }

    pub(crate) fn kafka(action: impl Into<String>, reason: &dyn std::fmt::Display) -> Error {
        Error::Kafka {
            action: action.into(),
            reason: crate::kafka::in_our_words(&reason.to_string()).into_owned(),
        }
    }

    pub(crate) fn topic(topic: &str, setting: &'static str, (found, needed): (&str, &str)) -> Error {
        Error::Topic {
            topic: topic.to_owned(),
            setting,
            found: found.to_owned(),
            needed: needed.to_owned(),
        }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}

/// A place in the log that no longer holds what was synced there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Where in it, in bytes.
    pub position: u64,
    /// The sequence of the frame that should stand there; 0 where it is not known.
    pub sequence: u64,
    /// The sequence up to which the log is known to have been synced.
    pub synced: u64,
    /// What was found.
    pub found: String,
    /// The offsets that are lost or in doubt, where they can be told: topic, partition, first, end.
    pub offsets: Vec<(Topic, u32, u64, u64)>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damage {
            segment,
            position,
            sequence,
            synced,
            found,
            offsets,
        } = self;
        write!(
            out,
            "segment {segment} at byte {position}: {found}, where frame {sequence} was synced (log synced up to {synced})"
        )?;
        for (topic, partition, first, end) in offsets {
            write!(out, "; {}/{partition} offsets {first}..{end}", topic.label())?;
        }
        Ok(())
    }
}
