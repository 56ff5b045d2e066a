//! Trying a flood control policy without a server: events, recorded or described, pass through flood control on a virtual
//! clock, and what became of each is told.
//!
//! Events come from requests that were recorded ([`recording`]), read by the real definitions ([`events`]), or from a
//! burst that a few lines describe ([`burst`]). Each meets the policy that its integration, connection and type have in
//! what the user wrote ([`policy`]). [`timeline`] runs them and keeps what happened, when and why; [`report`] says it in
//! words, [`lines`] as JSON. Nothing is verified, forwarded or written. Rates hold as if each integration had one partition.

pub mod burst;
pub mod events;
pub mod lines;
pub mod policy;
mod recorded_row;
pub mod recording;
pub mod report;
pub mod sums;
pub mod timeline;

use std::sync::Arc;

use tidegate_processor::RehearsedEvent;
use tidegate_schemas::{EventId, IntegrationId, UnixMillis};

/// An event as flood control sees it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Stands for its integration, in this run only.
    pub integration: IntegrationId,
    /// The integration's key.
    pub integration_key: Arc<str>,
    /// Whose it is, as far as the event itself tells.
    pub connection: Option<Arc<str>>,
    /// The provider's type.
    pub event_type: Arc<str>,
    /// When it was received.
    pub received_at: UnixMillis,
    /// The provider's delivery id, or what stands for it where repeats are told by the payload.
    pub delivery_id: Option<String>,
    /// The object it is about.
    pub object_key: Option<String>,
    /// The rank of the object's version.
    pub version: Option<i64>,
    /// The provider's time.
    pub time: Option<UnixMillis>,
    /// Whether it says that the object is gone.
    pub deleted: bool,
    /// A hash of the object's whole state.
    pub content: Option<u64>,
    /// Bytes of its payload.
    pub payload_bytes: u32,
}

impl Event {
    fn rehearsed(&self) -> RehearsedEvent<'_> {
        RehearsedEvent {
            id: self.id,
            integration: self.integration,
            connection: self.connection.as_deref(),
            event_type: &self.event_type,
            received_at: self.received_at,
            delivery_id: self.delivery_id.as_deref(),
            object_key: self.object_key.as_deref(),
            version: self.version,
            time: self.time,
            deleted: self.deleted,
            content: self.content,
            payload_bytes: self.payload_bytes,
        }
    }
}
