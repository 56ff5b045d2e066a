//! What a provider is answered. In: a reason or a definition's reply. Out: a response, always with
//! `tidegate-request-id`. Errors are `{"error":{"code","message"}}`, as senders of the earlier service know them.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use tidegate_schemas::{Reason, RequestId};

/// A whole response.
pub type Reply = Response<Full<Bytes>>;

/// The header that names the request in every reply.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The reply to an accepted request whose definition asks for nothing else.
pub fn success(id: RequestId) -> Reply {
    build(
        id,
        StatusCode::OK,
        Some(JSON),
        Bytes::from_static(br#"{"status":"success"}"#),
    )
}

/// Puts a reply together.
pub fn build(id: RequestId, status: StatusCode, content_type: Option<HeaderValue>, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    if let Some(content_type) = content_type {
        reply.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    stamp(reply.headers_mut(), id);
    reply
}

fn stamp(headers: &mut HeaderMap, id: RequestId) {
    let mut text = [0u8; uuid_text_bytes()];
    let text = id.0.as_hyphenated().encode_lower(&mut text);
    let value = HeaderValue::from_str(text).expect("a UUID is visible ASCII");
    headers.insert(REQUEST_ID.clone(), value);
}

const fn uuid_text_bytes() -> usize {
    36
}

/// The status that a refusal is answered with, unless a definition or rate says otherwise.
pub fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::UnknownEnvironment
        | Reason::UnknownIntegration
        | Reason::UnknownRoute
        | Reason::IntegrationOff => StatusCode::NOT_FOUND,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::HeaderTimeout | Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::BadRequest | Reason::IdentifierMissing => StatusCode::BAD_REQUEST,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::HandshakeRefused => StatusCode::FORBIDDEN,
        Reason::Overloaded | Reason::NoSpace | Reason::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    }
}

/// The code in the error's body: a reason's label, except where senders know an older word.
pub fn code_of(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownIntegration | Reason::IntegrationOff => "unknown_provider_config",
        other => other.label(),
    }
}

/// A refusal in full.
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What, which, how to mend it.
    pub message: String,
    /// The status, when it is not the reason's own.
    pub status: Option<StatusCode>,
}

impl Refusal {
    /// A refusal with the reason's own status.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            status: None,
        }
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| status_of(self.reason))
    }
}

/// The reply to a refusal.
pub fn refuse(id: RequestId, refusal: &Refusal, retry_after_seconds: u32) -> Reply {
    let status = refusal.status();
    let mut body = String::with_capacity(96 + refusal.message.len());
    let message = serde_json::Value::String(refusal.message.clone());
    write!(
        body,
        r#"{{"error":{{"code":"{}","message":{message}}}}}"#,
        code_of(refusal.reason)
    )
    .expect("a String takes everything");
    let mut reply = build(id, status, Some(JSON), Bytes::from(body));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        reply
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST, PUT"));
    }
    reply
}
