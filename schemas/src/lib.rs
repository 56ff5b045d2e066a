//! The words of Tidegate as types: what every room reads and writes, and nothing that acts.
//!
//! A *request* is one HTTP request as it was received; it is appended to [`Topic::Requests`] with a
//! [`RequestMeta`] beside its raw body. The processor finds one or more *events* in it, gives each exactly one
//! [`Outcome`] with a [`Reason`], and appends the routed ones to [`Topic::Events`] with an [`EventMeta`]. An event
//! on its way to one *endpoint* is a *delivery*; every HTTP try of it is an *attempt*. What became of all of them
//! travels as rows ([`EventRow`], [`AttemptRow`]) in `outcomes` and `attempts` until ClickHouse has it.
//!
//! Ids of events and deliveries are derived ([`EventId::derive`], [`DeliveryId::derive`]), so work that is done
//! twice after a crash yields the same ids. An owner's state lives in a journal, whose messages carry a
//! [`JournalMeta`]. Nothing here awaits, reads a clock or touches a file.

pub mod clickhouse;
mod closed_set;
mod event;
mod headers;
mod ids;
mod journal;
mod json_text;
mod meta;
mod outcome;
mod reason;
mod request;
mod row;
mod secret;
mod text;
mod time;
mod topic;

pub use closed_set::UnknownLabel;
pub use event::{Coalesced, DeadMeta, EventKind, EventMeta, PayloadKind};
pub use headers::{HeaderText, Headers};
pub use ids::{
    AttemptId, ConnectionId, DeliveryId, EndpointId, EnvironmentId, EventId, IdError, IntegrationId,
    RequestId,
};
pub use journal::{JournalKind, JournalMeta};
pub use meta::{MetaError, Metadata, READ_VERSION_MAX, WRITE_VERSION, read_json};
pub use outcome::{Attribution, DeliveryStatus, Outcome, Proof};
pub use reason::Reason;
pub use request::{Pointer, ReplayOf, RequestKind, RequestMeta, RequestMetaRef};
pub use row::{AttemptRow, EventRow, RowsMeta};
pub use secret::Secret;
pub use text::Text;
pub use time::UnixMillis;
pub use topic::Topic;
