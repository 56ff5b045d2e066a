//! One HTTP try of a delivery: a row of `delivery_attempts`, a JSON line in `attempts`. A delivery that ends without
//! a try writes a closing row with `number` 0. Fields are the columns;
//! `T` is how texts are held: owned, or borrowed where rows are written and read by the thousand.

use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, DeliveryId, DeliveryStatus, EndpointId, EnvironmentId, EventId, Reason, RequestId, UnixMillis,
};

/// A row of `delivery_attempts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow<T = String> {
    /// The environment.
    pub environment: EnvironmentId,
    /// The integration's key.
    pub integration: T,
    /// When the event's request was received.
    pub received_at: UnixMillis,
    /// The attempt's id; new for every try.
    pub attempt_id: AttemptId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The request.
    pub request_id: RequestId,
    /// The partition of `events` that holds the event.
    pub event_partition: u32,
    /// The offset there.
    pub event_offset: u64,
    /// The provider.
    pub provider: T,
    /// The connection's id; empty when unattributed.
    pub connection: T,
    /// The event's type.
    pub event_type: T,
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// The endpoint's name then; empty once it is deleted.
    pub endpoint: T,
    /// The URL that was called; empty for a closing row.
    pub url: T,
    /// Which try this was, from 1; 0 for a closing row.
    pub number: u32,
    /// Where the delivery stands now.
    pub status: DeliveryStatus,
    /// Why.
    pub reason: Reason,
    /// The HTTP status; 0 without an answer.
    pub http_status: u16,
    /// The error, in words; empty when there was none.
    pub error: T,
    /// When the try began.
    pub attempted_at: UnixMillis,
    /// How long it took, in microseconds.
    pub duration_micros: u64,
    /// The first bytes of the answer's body, as text.
    pub response: T,
    /// When the next try is due.
    pub next_at: Option<UnixMillis>,
}
