//! A message of a journal: its metadata. The value is the changes, whose encoding belongs to the journal's user.
//! The mechanism (epochs, slices, trimming) is in the broker.

use serde::{Deserialize, Serialize};

use crate::closed_set::closed_set;
use crate::meta::metadata;

closed_set! {
    /// What a journal message is.
    JournalKind {
        /// A new owner begins; the message's offset is its epoch.
        Open = "open",
        /// A batch's changes, with slices of the tables; the commit of the batch.
        Commit = "commit",
    }
}

/// The metadata of a message in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMeta {
    /// The metadata's version.
    pub v: u32,
    /// What this message is.
    pub kind: JournalKind,
    /// The offset of its owner's `open`; an `open` names its own only once it has it, so 0 stands there.
    pub epoch: u64,
    /// The input offset reached: the next message to decide.
    pub input: u64,
    /// How many bytes at the value's start are changes; the rest are slices.
    #[serde(default)]
    pub changes_bytes: u64,
    /// The offset at which the round of slices that this message belongs to began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_start: Option<u64>,
    /// Whether this message's slices complete the round.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub round_complete: bool,
    /// For `open`: where other processes reach this owner, when they must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

metadata!(JournalMeta = "journal");
