//! An endpoint as the registry has it now, made ready for attempts: its target, its signers, its own headers.
//! In: the registry's entities. Out: requests. Reads the registry anew whenever it is asked; sends nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use tidegate_egress::{Client, Target, UrlError};
use tidegate_registry::{Endpoint, Environment, Mode, Registry, StoredSecret, active_at};
use tidegate_schemas::{EndpointId, EventId, EventMeta, Reason, Secret, UnixMillis};

use super::event::{Event, may_be_set};
use super::sign::Signers;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const LEGACY_SIGNATURE: HeaderName = HeaderName::from_static("x-nango-signature");
const LEGACY_HMAC: HeaderName = HeaderName::from_static("x-nango-hmac-sha256");
const EVENT_TYPE: HeaderName = HeaderName::from_static("tidegate-event-type");
const ATTEMPT: HeaderName = HeaderName::from_static("tidegate-attempt");
const INTEGRATION: HeaderName = HeaderName::from_static("tidegate-integration");
const CONNECTION: HeaderName = HeaderName::from_static("tidegate-connection");

/// An endpoint that is there, ready to be tried.
pub(crate) struct Destination {
    pub(crate) endpoint: Arc<Endpoint>,
    environment: Option<Arc<Environment>>,
    target: Result<Target, UrlError>,
    signers: Signers,
    headers: Vec<(HeaderName, HeaderValue, StoredSecret)>,
}

/// Why no request can be made.
pub(crate) struct Unready {
    pub(crate) reason: Reason,
    pub(crate) error: String,
}

impl Destination {
    /// The endpoint as the registry has it now; `known` again when nothing has changed, `None` when there is none.
    pub(crate) fn current(
        registry: &Registry,
        client: &Client,
        id: EndpointId,
        known: Option<&Arc<Destination>>,
    ) -> Option<Arc<Destination>> {
        let tables = registry.read();
        let endpoint = tables.endpoint(&id)?;
        let environment = tables.environment(&endpoint.environment);
        if let Some(known) = known
            && Arc::ptr_eq(&known.endpoint, endpoint)
            && known.environment.as_ref().map(Arc::as_ptr) == environment.map(Arc::as_ptr)
        {
            return Some(known.clone());
        }
        let (endpoint, environment) = (endpoint.clone(), environment.cloned());
        drop(tables);
        let headers = endpoint.headers.iter().filter_map(|header| {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            if !may_be_set(name.as_str()) {
                return None;
            }
            let mut value = HeaderValue::from_bytes(header.value.secret().expose()).ok()?;
            value.set_sensitive(true);
            Some((name, value, header.value.clone()))
        });
        Some(Arc::new(Destination {
            headers: headers.collect(),
            target: client.check_url(&endpoint.url),
            signers: Signers::of(&endpoint.secrets),
            endpoint,
            environment,
        }))
    }

    pub(crate) fn timeout(&self, default: Duration) -> Duration {
        self.endpoint.timeout.unwrap_or(default)
    }

    /// The environment's key for the legacy headers: of those active the one that came last.
    fn legacy_key(&self, now: UnixMillis) -> Option<&Secret> {
        let keys = self
            .environment
            .as_ref()
            .map_or(&[][..], |environment| &environment.signing_keys);
        active_at(keys, now)
            .max_by_key(|key| key.not_before)
            .map(StoredSecret::secret)
    }

    /// The request of the `number`-th attempt, made `now`.
    pub(crate) fn request(&self, event: &Event, attempt: &Numbered) -> Result<Request<Full<Bytes>>, Unready> {
        let target = self.target.as_ref().map_err(|error| {
            let reason = match error {
                UrlError::Refused(_) => Reason::AddressRefused,
                _ => Reason::UrlUnusable,
            };
            Unready {
                reason,
                error: error.to_string(),
            }
        })?;
        let meta = &event.meta;
        let body = event.body(attempt.mode);
        let signature = self
            .signers
            .sign(meta.id, attempt.now, &body.bytes)
            .ok_or_else(|| Unready {
                reason: Reason::SecretMissing,
                error: "the endpoint has no usable secret that is active now: add one".to_owned(),
            })?;
        let mut headers = HeaderMap::with_capacity(meta.headers.0.len() + self.headers.len() + 11);
        event.put_headers(&mut headers);
        headers.insert(CONTENT_TYPE, body.content_type.clone());
        headers.insert(USER_AGENT, AGENT);
        if let Some(key) = self.legacy_key(attempt.now).filter(|_| attempt.legacy_headers) {
            let legacy = body.legacy(key);
            headers.insert(LEGACY_SIGNATURE, legacy.signature);
            headers.insert(LEGACY_HMAC, legacy.hmac);
        }
        put_own(&mut headers, meta, attempt.number);
        for (name, value, _) in self
            .headers
            .iter()
            .filter(|(.., stored)| stored.is_active_at(attempt.now))
        {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(WEBHOOK_ID, id_value(meta.id));
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(attempt.now.seconds()));
        headers.insert(WEBHOOK_SIGNATURE, signature);
        let mut request = Request::new(Full::new(body.bytes.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.uri().clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Which attempt a request is made for.
pub(crate) struct Numbered {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) now: UnixMillis,
    pub(crate) mode: Mode,
    pub(crate) legacy_headers: bool,
}

/// The mode in which `endpoint` gets an event: an unattributed one goes bare if its integration says so.
pub(crate) fn mode_for(registry: &Registry, endpoint: &Endpoint, meta: &EventMeta) -> Mode {
    if meta.connection.is_some() || endpoint.mode == Mode::Raw {
        return endpoint.mode;
    }
    let tables = registry.read();
    let integration = tables.integration(&meta.environment, &meta.integration);
    integration.map_or(Mode::Wrapped, |integration| integration.flags.unattributed)
}

fn put_own(headers: &mut HeaderMap, meta: &EventMeta, number: u32) {
    headers.insert(ATTEMPT, HeaderValue::from(number));
    headers.insert(EVENT_TYPE, text_value(&meta.event_type));
    headers.insert(INTEGRATION, text_value(&meta.integration));
    if let Some(connection) = &meta.connection {
        headers.insert(CONNECTION, text_value(connection));
    }
}

fn id_value(id: EventId) -> HeaderValue {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text: &str = id.0.as_hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("hex and hyphens")
}

/// A text as a header value; what a header may not hold becomes `?`.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| {
        let allowed: String = text
            .chars()
            .map(|char| if char.is_control() { '?' } else { char })
            .collect();
        HeaderValue::from_bytes(allowed.as_bytes()).unwrap_or(HeaderValue::from_static("?"))
    })
}
