//! An event as its deliveries share it: decoded once, its body built once for each mode. In: a message of `events`.
//! Out: bodies and the provider's headers that go along. Signs nothing, sends nothing.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tidegate_broker::Message;
use tidegate_registry::Mode;
use tidegate_schemas::{Coalesced, EventMeta, MetaError, Metadata, PayloadKind, Secret, UnixMillis};

use super::sign::{self, Legacy};

/// An event that is being delivered.
pub(crate) struct Event {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// When it was appended: the schedule is reckoned from here.
    pub(crate) appended_at: UnixMillis,
    pub(crate) meta: EventMeta,
    pub(crate) value: Bytes,
    wrapped: OnceLock<Body>,
    raw: OnceLock<Body>,
}

/// What is sent, the same for all endpoints of one mode.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) content_type: HeaderValue,
    /// Made with the environment's key; another key (it was rotated meanwhile) makes its own.
    legacy: OnceLock<(Secret, Legacy)>,
}

/// Our own keys around the payload.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    from: &'a str,
    provider_config_key: &'a str,
    r#type: &'static str,
    connection_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tail<'a> {
    event_id: String,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    coalesced: Option<&'a Coalesced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
}

impl Event {
    pub(crate) fn decode(message: Message) -> Result<Self, MetaError> {
        Ok(Self {
            partition: message.partition,
            offset: message.offset,
            appended_at: message.timestamp,
            meta: EventMeta::decode(&message.meta)?,
            value: message.value,
            wrapped: OnceLock::new(),
            raw: OnceLock::new(),
        })
    }

    /// Bytes that it holds in memory, about.
    pub(crate) fn held_bytes(&self) -> usize {
        // The wrapper repeats the value; the metadata's texts and headers are small beside that.
        2 * self.value.len() + 2_048
    }

    /// The body in `mode`.
    pub(crate) fn body(&self, mode: Mode) -> &Body {
        match mode {
            Mode::Wrapped => self.wrapped.get_or_init(|| Body {
                bytes: self.wrap().into(),
                content_type: HeaderValue::from_static("application/json"),
                legacy: OnceLock::new(),
            }),
            Mode::Raw => self.raw.get_or_init(|| Body {
                bytes: self.value.clone(),
                content_type: self.raw_content_type(),
                legacy: OnceLock::new(),
            }),
        }
    }

    /// The JSON wrapper: the legacy keys in their order, then the payload, then ours.
    fn wrap(&self) -> Vec<u8> {
        let meta = &self.meta;
        let mut json = Vec::with_capacity(self.value.len() + 512);
        let head = Head {
            from: &meta.provider,
            provider_config_key: &meta.integration,
            r#type: "forward",
            connection_id: meta.connection.as_deref(),
        };
        let tail = Tail {
            event_id: meta.id.to_string(),
            event_type: &meta.event_type,
            coalesced: meta.coalesced.as_ref(),
            payload_encoding: (meta.payload == PayloadKind::Base64).then_some("base64"),
        };
        serde_json::to_writer(&mut json, &head).expect("texts are JSON and a Vec takes all");
        json.pop();
        json.extend_from_slice(b",\"payload\":");
        if meta.payload == PayloadKind::Json {
            json.extend_from_slice(&self.value);
        } else {
            json.extend_from_slice(&tidegate_providers::payload::to_json(
                meta.payload,
                &self.value,
                &meta.headers,
            ));
        }
        let before_tail = json.len();
        serde_json::to_writer(&mut json, &tail).expect("texts are JSON and a Vec takes all");
        json[before_tail] = b',';
        json
    }

    /// A body that goes as it came keeps the provider's own type; an element of a bundle is JSON.
    fn raw_content_type(&self) -> HeaderValue {
        let received = || HeaderValue::from_bytes(self.meta.headers.get("content-type")?.as_bytes()).ok();
        let by_kind = match self.meta.payload {
            PayloadKind::Json => return HeaderValue::from_static("application/json"),
            PayloadKind::Form => "application/x-www-form-urlencoded",
            PayloadKind::Text => "text/plain; charset=utf-8",
            PayloadKind::Headers | PayloadKind::Base64 => "application/octet-stream",
        };
        received().unwrap_or(HeaderValue::from_static(by_kind))
    }

    /// Puts the provider's headers that go along into `headers`.
    pub(crate) fn put_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.meta.headers.0 {
            if stays_behind(name) {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_bytes(value.as_bytes());
            // A name or value that HTTP does not allow cannot have been received, only written by hand.
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
    }
}

impl Body {
    /// The legacy headers under `key`.
    pub(crate) fn legacy(&self, key: &Secret) -> Legacy {
        let (made_with, made) = self
            .legacy
            .get_or_init(|| (key.clone(), sign::legacy(key, &self.bytes)));
        if made_with.expose() == key.expose() {
            made.clone()
        } else {
            sign::legacy(key, &self.bytes)
        }
    }
}

/// A header that begins so stays behind: it speaks of the provider's own connection to us.
const STAY_BEHIND: &[&str] = &[
    "host",
    "authorization",
    "connection",
    "keep-alive",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "cookie",
    "set-cookie",
    "referer",
    "user-agent",
    "sec-",
    "proxy-",
    "www-authenticate",
    "server",
];

/// A header of exactly this name stays behind too: it would break the exchange with the endpoint, or it is ours.
const STAY_BEHIND_WHOLE: &[&str] = &[
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-nango-signature",
    "x-nango-hmac-sha256",
];

/// Whether an endpoint may set a header of this name: not one by which HTTP frames the request.
pub(crate) fn may_be_set(name: &str) -> bool {
    ![
        "connection",
        "keep-alive",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
    ]
    .contains(&name)
}

/// `name` is lower case, as headers are kept.
fn stays_behind(name: &str) -> bool {
    STAY_BEHIND.iter().any(|start| name.starts_with(start))
        || STAY_BEHIND_WHOLE.contains(&name)
        || name.starts_with("tidegate-")
}
