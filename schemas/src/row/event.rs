//! One event's verdict: a row of `webhook_events`, a JSON line in `outcomes`. Fields are the columns;
//! `T` is how texts are held: owned, or borrowed where rows are written and read by the thousand.

use serde::{Deserialize, Serialize};

use crate::{
    Attribution, EndpointId, EnvironmentId, EventId, Outcome, PayloadKind, Proof, Reason, RequestId,
    UnixMillis,
};

/// A row of `webhook_events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow<T = String, E = Vec<EndpointId>> {
    /// The environment.
    pub environment: EnvironmentId,
    /// The integration's key.
    pub integration: T,
    /// When its request was received.
    pub received_at: UnixMillis,
    /// The event's id.
    pub event_id: EventId,
    /// The request it came in.
    pub request_id: RequestId,
    /// The partition of `requests` that holds it.
    pub request_partition: u32,
    /// The offset there.
    pub request_offset: u64,
    /// Its position in the request.
    pub position: u32,
    /// The provider.
    pub provider: T,
    /// The connection's id; empty when unattributed.
    pub connection: T,
    /// Whether it was attributed.
    pub attribution: Attribution,
    /// The provider's type of event.
    pub event_type: T,
    /// The provider's delivery id; empty when there is none.
    pub delivery_key: T,
    /// The object it is about; empty when there is none.
    pub object_key: T,
    /// The object's version as text; empty when there is none.
    pub object_version: T,
    /// The provider's own time of the event.
    pub event_time: Option<UnixMillis>,
    /// The verdict.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// What the reason is about, in words; the delivery id, version or hash that it lost to.
    pub detail: T,
    /// How far it was proved.
    pub verified: Proof,
    /// The debounce window that absorbed it, or from which it was handed on.
    pub window: Option<EventId>,
    /// The endpoints it was given to.
    pub endpoints: E,
    /// How its bytes become JSON.
    pub payload_kind: PayloadKind,
    /// Where its bytes begin in the request's body.
    pub span_start: u64,
    /// How many they are; 0 when they are no span and stand in `payload`.
    pub span_bytes: u64,
    /// Its text where it is no span of the body (masked).
    pub payload: T,
    /// The event that this one replays under a new id.
    pub replay_of: Option<EventId>,
    /// When it was decided.
    pub decided_at: UnixMillis,
    /// The version: of two rows for one event the higher is true.
    pub commit: u64,
}
