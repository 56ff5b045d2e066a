//! Ids. Requests, attempts and entities get a UUIDv7; events and deliveries get a UUIDv8 derived from what they
//! are about, so that work done twice yields the same id. Nothing here reads a clock: times are arguments.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::UnixMillis;

/// A text that should have been an id is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: expected a UUID such as 0192f0c1-2b3c-7d4e-8f90-123456789abc")]
pub struct IdError {
    /// The kind of id that was expected.
    pub kind: &'static str,
    /// What was read.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[doc = $docs:literal])+ $name:ident) => {
        $(#[doc = $docs])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text)
                    .map($name)
                    .map_err(|_| IdError { kind: stringify!($name), text: text.to_owned() })
            }
        }
    };
}

macro_rules! random_id {
    ($($name:ident),+) => { $(
        impl $name {
            /// A new UUIDv7 (RFC 9562 §5.7) whose time part is `now`.
            #[must_use]
            pub fn new(now: UnixMillis) -> Self {
                let nanos = u32::try_from(now.0 % 1000).expect("less than 1000") * 1_000_000;
                Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, now.0 / 1000, nanos)))
            }
        }
    )+ };
}

uuid_id! {
    /// A tenant boundary: its integrations, connections, endpoints and keys.
    EnvironmentId
}
uuid_id! {
    /// An integration; its key is unique in the environment, its id everywhere and for ever.
    IntegrationId
}
uuid_id! {
    /// A customer's endpoint.
    EndpointId
}
uuid_id! {
    /// One HTTP request as it was received; the reply's `tidegate-request-id`.
    RequestId
}
uuid_id! {
    /// One event; sent as `webhook-id`, the same at every endpoint.
    EventId
}
uuid_id! {
    /// One event on its way to one endpoint.
    DeliveryId
}
uuid_id! {
    /// One HTTP try of a delivery; new for every try.
    AttemptId
}
random_id!(EnvironmentId, IntegrationId, EndpointId, RequestId, AttemptId);

/// A connection's id: the user's own text, unique in its integration.
pub type ConnectionId = String;

impl EventId {
    /// The id of the event at `position` of a request, for one connection or (`None`) for nobody.
    ///
    /// A UUIDv8 (RFC 9562 §5.8): the first 48 bits are the request's time, the rest comes from SHA-256 over the
    /// request id, the position and the connection id.
    #[must_use]
    pub fn derive(request: RequestId, position: u32, connection: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        hash.update(request.0.as_bytes());
        hash.update(position.to_be_bytes());
        match connection {
            Some(id) => {
                hash.update([1]);
                hash.update(id.as_bytes());
            }
            None => hash.update(b"\0unattributed"),
        }
        Self(derived(request.0, &hash.finalize()))
    }

    /// The id of a replayed event that must differ from the one it replaces: the first row's position is taken
    /// up by `replay`, the id of the `replay` command.
    #[must_use]
    pub fn derive_replay(original: EventId, replay: RequestId) -> Self {
        let mut hash = Sha256::new();
        hash.update(original.0.as_bytes());
        hash.update(replay.0.as_bytes());
        Self(derived(original.0, &hash.finalize()))
    }
}

impl DeliveryId {
    /// The id of the delivery of `event` to `endpoint`.
    #[must_use]
    pub fn derive(event: EventId, endpoint: EndpointId) -> Self {
        let mut hash = Sha256::new();
        hash.update(event.0.as_bytes());
        hash.update(endpoint.0.as_bytes());
        Self(derived(event.0, &hash.finalize()))
    }
}

/// A UUIDv8 with the 48 time bits of `source` and the rest from `digest`.
fn derived(source: Uuid, digest: &[u8]) -> Uuid {
    let mut bytes = [0u8; 16];
    bytes[..6].copy_from_slice(&source.as_bytes()[..6]);
    for (byte, from) in bytes[6..].iter_mut().zip(digest) {
        *byte = *from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestId {
        "0192f0c1-2b3c-7d4e-8f90-123456789abc"
            .parse()
            .expect("a literal UUID")
    }

    #[test]
    fn derived_ids_never_change() {
        let event = EventId::derive(request(), 3, Some("acme-42"));
        let endpoint: EndpointId = "0192f0c1-0000-7000-8000-000000000001"
            .parse()
            .expect("a literal UUID");
        assert_eq!(event.to_string(), "0192f0c1-2b3c-8dd6-9bbe-7fea0a7a24bc");
        assert_eq!(
            DeliveryId::derive(event, endpoint).to_string(),
            "0192f0c1-2b3c-8b09-bc4f-0972e0bb3304"
        );
    }

    #[test]
    fn each_part_of_an_event_counts() {
        let base = EventId::derive(request(), 0, Some("a"));
        assert_ne!(base, EventId::derive(request(), 1, Some("a")));
        assert_ne!(base, EventId::derive(request(), 0, Some("b")));
        assert_ne!(base, EventId::derive(request(), 0, None));
        assert_ne!(
            EventId::derive(request(), 0, None),
            EventId::derive(request(), 0, Some("unattributed"))
        );
    }

    #[test]
    fn new_ids_carry_their_time() {
        let id = RequestId::new(UnixMillis(1_700_000_000_123));
        let time = id.0.get_timestamp().expect("a UUIDv7 has a time").to_unix();
        assert_eq!((time.0, time.1 / 1_000_000), (1_700_000_000, 123));
        assert_ne!(id, RequestId::new(UnixMillis(1_700_000_000_123)));
    }

    #[test]
    fn a_wrong_text_names_the_kind() {
        let error = "nonsense".parse::<EnvironmentId>().expect_err("no UUID");
        assert!(error.to_string().contains("EnvironmentId"), "{error}");
    }
}
