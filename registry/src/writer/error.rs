//! Why a write is refused or fails. A refusal has changed nothing.

use std::time::Duration;

use tidegate_broker::journal::JournalError;

use crate::call::CallError;
use crate::entity::EntityRef;
use crate::tables::ReadError;

/// The labels that a writer's refusals may have.
const LABELS: [&str; 8] = [
    "conflict",
    "taken",
    "not_found",
    "invalid",
    "not_awaited",
    "too_large",
    "unreadable",
    "journal",
];

/// A write that was refused or has failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The entity has been changed since it was read.
    #[error(
        "{entity} is at version {found}, the write names version {expected}: read it again and repeat the change"
    )]
    Conflict {
        /// Which entity.
        entity: EntityRef,
        /// The version that the write names.
        expected: u64,
        /// The version that it has.
        found: u64,
    },
    /// Another entity has the name already.
    #[error("{what} `{name}` exists already ({holder}): choose another name, or change that one")]
    Taken {
        /// What kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// Who has it.
        holder: EntityRef,
    },
    /// There is no such entity, or not any more.
    #[error("there is no {entity}")]
    NotFound {
        /// Which entity.
        entity: EntityRef,
    },
    /// A field has a value that cannot work.
    #[error("{field} of {entity} {problem}")]
    Invalid {
        /// Which entity.
        entity: EntityRef,
        /// Which field.
        field: String,
        /// What is wrong with it, and how to mend it.
        problem: String,
    },
    /// A handshake wants to store a secret that nobody awaits.
    #[error("{entity} awaits no secret: set awaits_secret before the provider's handshake")]
    NotAwaited {
        /// Which entity.
        entity: EntityRef,
    },
    /// The write as a whole is too large for one journal message.
    #[error("the write has {bytes} bytes, at most {limit} are taken at once: write fewer entities at a time")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A connection cannot be read for a change of it.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal did not take it; when it says so, another process writes the registry now.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No process that writes the registry was reached.
    #[error(
        "nobody takes writes of the registry for {waited:?} ({last}); nothing was written: start a process with the \
         role api, or look into its log"
    )]
    NoWriter {
        /// How long was waited.
        waited: Duration,
        /// What the last try came to.
        last: String,
    },
    /// The writer was asked and did not answer.
    #[error(
        "the registry's writer ({writer}) did not answer ({reason}): the write may be done or not, look before you \
         repeat it"
    )]
    Unanswered {
        /// Where it is.
        writer: String,
        /// What was seen.
        reason: String,
    },
    /// The writer, another process, refused it or has failed.
    #[error("{text}")]
    Elsewhere {
        /// Its error's label.
        label: &'static str,
        /// Its words.
        text: String,
        /// Whether the same may succeed later.
        is_retryable: bool,
    },
    /// What two processes say to one another cannot be opened.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It is written, but this process has stopped reading the registry.
    #[error("the write is durable, but this process has stopped reading the registry: restart it")]
    NotReadBack,
}

impl WriteError {
    /// Whether the same write may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            WriteError::Journal(error) => error.is_retryable() || error.is_in_doubt(),
            WriteError::NoWriter { .. } | WriteError::Unanswered { .. } => true,
            WriteError::Elsewhere { is_retryable, .. } => *is_retryable,
            _ => false,
        }
    }

    /// Whether somebody else was faster: the entity has changed, or the name is taken.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        ["conflict", "taken"].contains(&self.label())
    }

    /// Whether another process has the journal now, so that this one has written nothing.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, WriteError::Journal(JournalError::Lost { .. }))
    }

    /// A bounded label for metrics, and the code of the API's error.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            WriteError::Conflict { .. } => "conflict",
            WriteError::Taken { .. } => "taken",
            WriteError::NotFound { .. } => "not_found",
            WriteError::Invalid { .. } => "invalid",
            WriteError::NotAwaited { .. } => "not_awaited",
            WriteError::TooLarge { .. } => "too_large",
            WriteError::Read(_) => "unreadable",
            WriteError::Journal(_) | WriteError::NotReadBack => "journal",
            WriteError::NoWriter { .. } => "no_writer",
            WriteError::Unanswered { .. } => "unanswered",
            WriteError::Elsewhere { label, .. } => label,
            WriteError::Call(_) => "call",
        }
    }

    /// The label of this text, where another process says it.
    pub(crate) fn label_of(text: &str) -> &'static str {
        let known = LABELS.iter().find(|label| **label == text);
        known.copied().unwrap_or("elsewhere")
    }
}
