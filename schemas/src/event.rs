//! A message of `events` and of `dead`: its metadata. The value of an event is its own bytes, masked: the element of
//! a bundle or the whole body; [`PayloadKind`] says how these bytes are shown as JSON. Commands have an empty value.

use serde::{Deserialize, Serialize};

use crate::closed_set::closed_set;
use crate::meta::metadata;
use crate::{DeliveryId, EndpointId, EnvironmentId, EventId, Headers, Pointer, Proof, RequestId, UnixMillis};

closed_set! {
    /// What a message of `events` is.
    EventKind {
        /// A routed event.
        Event = "event",
        /// A command: try a delivery again.
        Retry = "retry",
        /// A command: give a delivery up.
        Cancel = "cancel",
    }
}

closed_set! {
    /// How an event's bytes become its JSON payload.
    PayloadKind {
        /// They are JSON and stand as they are.
        Json = "json",
        /// They are a form: an object of its fields.
        Form = "form",
        /// There are none: the object of the request's headers.
        Headers = "headers",
        /// They are other text: a JSON string.
        Text = "text",
        /// They are no text: a base64 string, and `payloadEncoding` says so.
        Base64 = "base64",
    }
}

/// What a debounce window absorbed before the event was handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coalesced {
    /// The window: its first event's id.
    pub window: EventId,
    /// How many events it held.
    pub count: u64,
    /// When the first was received.
    pub first_at: UnixMillis,
    /// When the last was received.
    pub last_at: UnixMillis,
    /// The ids of at most 100 of them.
    pub ids: Vec<EventId>,
}

/// The metadata of a message in `events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventMeta {
    /// The metadata's version.
    pub v: u32,
    /// What this message is.
    pub kind: EventKind,
    /// The event's id.
    pub id: EventId,
    /// The request it came in.
    pub request: RequestId,
    /// Where that request lies in `requests`.
    pub pointer: Pointer,
    /// Its position in the request.
    pub position: u32,
    /// The environment.
    pub environment: EnvironmentId,
    /// The integration's key.
    pub integration: String,
    /// The provider.
    pub provider: String,
    /// The connection it is about; `None` when unattributed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The provider's type of event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The object it is about, within the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_key: Option<String>,
    /// How far it was proved.
    pub verified: Proof,
    /// When the request was received.
    pub received_at: UnixMillis,
    /// The provider's own time of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<UnixMillis>,
    /// How the value becomes the JSON payload.
    pub payload: PayloadKind,
    /// The provider's headers, masked.
    #[serde(default)]
    pub headers: Headers,
    /// The endpoints it goes to.
    pub endpoints: Vec<EndpointId>,
    /// The offset that the batch's journal message is to have in `state`.
    pub commit: u64,
    /// What was absorbed before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesced: Option<Coalesced>,
    /// The event that this one replays under a new id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<EventId>,
    /// The delivery that a command is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
}

/// The metadata of a message in `dead`; its value is the event's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadMeta {
    /// The metadata's version.
    pub v: u32,
    /// The dead delivery.
    pub delivery: DeliveryId,
    /// The endpoint it was for.
    pub endpoint: EndpointId,
    /// Where its event lay in `events`.
    pub pointer: Pointer,
    /// The event's own metadata, whole, so that it can be sent again.
    pub event: EventMeta,
    /// How many attempts were made.
    pub tries: u32,
    /// When it died.
    pub died_at: UnixMillis,
    /// The last error, in words.
    pub last_error: String,
    /// The last HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
}

metadata!(EventMeta = "event", DeadMeta = "dead delivery");
