//! A message of `requests`: its metadata. The value is the raw body, byte for byte (of a refused request its first
//! 4 KiB). Also carries the `replay` command, which has no body.

use serde::{Deserialize, Serialize};

use crate::closed_set::closed_set;
use crate::meta::metadata;
use crate::{EnvironmentId, Headers, Reason, RequestId, UnixMillis};

closed_set! {
    /// What a message of `requests` is.
    RequestKind {
        /// A request to be decided by the processor.
        Received = "received",
        /// A request that ingest answered itself: a handshake. For the audit only.
        Answered = "answered",
        /// A request that ingest refused. For the audit only.
        Refused = "refused",
        /// A command: decide the event at a pointer and position again.
        Replay = "replay",
    }
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pointer {
    /// The partition.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
}

/// Which event a `replay` command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOf {
    /// The request, in the command's own partition.
    pub pointer: Pointer,
    /// The event's position in it; `None` asks for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
}

/// The metadata of a message in `requests`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestMeta {
    /// The metadata's version.
    pub v: u32,
    /// What this message is.
    pub kind: RequestKind,
    /// The request's id.
    pub id: RequestId,
    /// The environment in the URL.
    pub environment: EnvironmentId,
    /// The integration's key in the URL.
    pub integration: String,
    /// The integration's provider when the request was taken.
    pub provider: String,
    /// The connection that the URL names (path or query), if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The HTTP method, upper case.
    pub method: String,
    /// The path as received, without the query.
    pub path: String,
    /// The query as received, without `?`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// The public URL as registered at the provider, with the query as received.
    pub url: String,
    /// The headers as received.
    pub headers: Headers,
    /// When the request's head had been read. Signature age is measured against this.
    pub received_at: UnixMillis,
    /// The sender's address, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The size of the whole body, in bytes: more than the value's when that was cut.
    pub body_bytes: u64,
    /// The status of the reply.
    pub status: u16,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Reason>,
    /// What the refusal was about, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether it lay in a spill while the broker was away, so that its order is kept within one process only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spilled: bool,
    /// What a `replay` command asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayOf>,
}

metadata!(RequestMeta = "request");
