//! A message of `requests`: its metadata. The value is the raw body, byte for byte (of a refused request its first
//! 4 KiB). Also carries the `replay` command, which has no body.

use serde::{Deserialize, Serialize};

use crate::closed_set::closed_set;
use crate::json_text::Object;
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

impl RequestMeta {
    /// The metadata `meta`, which is a compact JSON object, with [`RequestMeta::spilled`] set. Nothing else of it is
    /// read or changed: it may be of a newer build.
    #[must_use]
    pub fn mark_spilled(meta: &[u8]) -> Vec<u8> {
        const MARK: &[u8] = br#""spilled":true}"#;
        let Some(open) = meta.strip_suffix(b"}") else {
            return meta.to_vec();
        };
        let comma: &[u8] = if open.ends_with(b"{") { b"" } else { b"," };
        [open, comma, MARK].concat()
    }
}

/// A [`RequestMeta`] that borrows, of a message that ingest writes: it does so for every request, and copies nothing.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields are those of RequestMeta")]
pub struct RequestMetaRef<'a> {
    pub v: u32,
    pub kind: RequestKind,
    pub id: RequestId,
    pub environment: EnvironmentId,
    pub integration: &'a str,
    pub provider: &'a str,
    pub connection: Option<&'a str>,
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub url: &'a str,
    pub headers: &'a Headers,
    pub received_at: UnixMillis,
    pub remote: Option<&'a str>,
    pub body_bytes: u64,
    pub status: u16,
    pub refusal: Option<Reason>,
    pub detail: &'a str,
}

impl RequestMetaRef<'_> {
    /// The bytes that [`Metadata::encode`](crate::Metadata::encode) writes for a [`RequestMeta`] of the same values.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let headers = self.headers.0.iter();
        let headers: usize = headers
            .map(|(name, value)| name.len() + value.as_bytes().len() + 8)
            .sum();
        let bytes = 512 + headers + self.path.len() + self.query.len() + self.url.len();
        let id = |out: &mut Vec<u8>, id: uuid::Uuid| {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            out.push(b'"');
            out.extend_from_slice(id.as_hyphenated().encode_lower(&mut text).as_bytes());
            out.push(b'"');
        };
        let given = |text: &'_ str| !text.is_empty();
        let mut object = Object::with_capacity(bytes);
        object
            .number("v", self.v.into())
            .text("kind", self.kind.label())
            .member("id", |out| id(out, self.id.0))
            .member("environment", |out| id(out, self.environment.0))
            .text("integration", self.integration)
            .text("provider", self.provider)
            .text_if("connection", self.connection)
            .text("method", self.method)
            .text("path", self.path)
            .text_if("query", Some(self.query).filter(|query| given(query)))
            .text("url", self.url)
            .member("headers", |out| self.headers.write(out))
            .number("received_at", self.received_at.0)
            .text_if("remote", self.remote)
            .number("body_bytes", self.body_bytes)
            .number("status", self.status.into())
            .text_if("refusal", self.refusal.map(Reason::label))
            .text_if("detail", Some(self.detail).filter(|detail| given(detail)))
            .end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderText, Metadata as _};

    fn check(meta: &RequestMeta) {
        let borrowed = RequestMetaRef {
            v: meta.v,
            kind: meta.kind,
            id: meta.id,
            environment: meta.environment,
            integration: &meta.integration,
            provider: &meta.provider,
            connection: meta.connection.as_deref(),
            method: &meta.method,
            path: &meta.path,
            query: &meta.query,
            url: &meta.url,
            headers: &meta.headers,
            received_at: meta.received_at,
            remote: meta.remote.as_deref(),
            body_bytes: meta.body_bytes,
            status: meta.status,
            refusal: meta.refusal,
            detail: &meta.detail,
        };
        let (borrowed, owned) = (borrowed.encode(), meta.encode());
        assert_eq!(
            String::from_utf8_lossy(&borrowed),
            String::from_utf8_lossy(&owned)
        );
    }

    fn least() -> RequestMeta {
        RequestMeta {
            v: crate::WRITE_VERSION,
            kind: RequestKind::Received,
            id: RequestId::new(UnixMillis(7)),
            environment: EnvironmentId::new(UnixMillis(8)),
            integration: "crm".to_owned(),
            provider: "acme".to_owned(),
            connection: None,
            method: "POST".to_owned(),
            path: "/webhook".to_owned(),
            query: String::new(),
            url: String::new(),
            headers: Headers::default(),
            received_at: UnixMillis(9),
            remote: None,
            body_bytes: 0,
            status: 200,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        }
    }

    #[test]
    fn metadata_is_marked_as_spilled_and_says_nothing_else() {
        let meta = least();
        let marked = RequestMeta::mark_spilled(&meta.encode());
        let expected = RequestMeta {
            spilled: true,
            ..meta
        };
        assert_eq!(RequestMeta::decode(&marked).expect("it is still JSON"), expected);
        assert_eq!(RequestMeta::mark_spilled(b"{}"), br#"{"spilled":true}"#);
    }

    #[test]
    fn borrowed_metadata_is_written_as_owned_metadata_is() {
        check(&least());
        let mut most = RequestMeta {
            kind: RequestKind::Refused,
            connection: Some("c-\"1\"".to_owned()),
            query: "a=b".to_owned(),
            url: "https://hooks.example.com/webhook?a=b".to_owned(),
            remote: Some("192.0.2.7".to_owned()),
            body_bytes: 17,
            status: 401,
            refusal: Some(Reason::BadRequest),
            detail: "broke off".to_owned(),
            ..least()
        };
        most.headers.push("X-Raw", HeaderText::new(vec![0xff, 0]));
        check(&most);
    }
}
