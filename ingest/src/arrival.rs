//! A request as it arrived, before its body: id, time, head. In: hyper's parts. Out: what the engine reads
//! ([`RawRequest`]) and what is appended ([`RequestMetaRef`]). Decides nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use tidegate_providers::{ActiveSecret, Credentials, RawRequest};
use tidegate_registry::{Integration, StoredSecret};
use tidegate_schemas::{
    HeaderText, Headers, RequestId, RequestKind, RequestMetaRef, UnixMillis, WRITE_VERSION,
};

use crate::judge::At;

/// One request's head.
pub struct Arrival {
    /// Its id, in every reply.
    pub id: RequestId,
    /// When its head had been read.
    pub received_at: UnixMillis,
    /// Its headers.
    pub headers: Headers,
    head: Parts,
    /// The address that it came from.
    remote: Arc<str>,
}

impl Arrival {
    /// Takes a request's head over.
    pub fn new(mut head: Parts, remote: Arc<str>, received_at: UnixMillis) -> Self {
        let headers = std::mem::take(&mut head.headers);
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), HeaderText::new(value.as_bytes())));
        Self {
            id: RequestId::new(received_at),
            received_at,
            headers: Headers(headers.collect()),
            head,
            remote,
        }
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// The path as received.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The query as received, without `?`.
    pub fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// The size of all headers, as names and values.
    pub fn header_bytes(&self) -> usize {
        self.headers
            .0
            .iter()
            .map(|(name, value)| name.len() + value.as_bytes().len())
            .sum()
    }

    /// The length that the request announces for its body.
    pub fn announced_bytes(&self) -> u64 {
        self.headers
            .get("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    /// The public URL as registered at the provider, with the query as received.
    pub fn url(&self, server: &str, integration: &Integration) -> String {
        let (base, path) = match &integration.public_url {
            Some(own) => (own.as_str(), ""),
            None => (server, self.path()),
        };
        let query = self.query();
        let mut url = String::with_capacity(base.len() + path.len() + query.len() + 1);
        url.push_str(base);
        url.push_str(path);
        if !query.is_empty() {
            url.push('?');
            url.push_str(query);
        }
        url
    }

    /// What the engine reads.
    pub fn raw<'a>(&'a self, body: &'a Bytes, url: &'a str, integration: &'a Integration) -> RawRequest<'a> {
        RawRequest {
            method: self.method(),
            path: self.path(),
            query: self.query(),
            headers: &self.headers,
            body,
            url,
            received_at: self.received_at,
            cfg: integration.constants(),
        }
    }

    /// What is appended beside the body.
    pub fn meta<'a>(&'a self, at: At<'a>, kind: RequestKind, status: u16) -> RequestMetaRef<'a> {
        RequestMetaRef {
            v: WRITE_VERSION,
            kind,
            id: self.id,
            environment: at.integration.environment,
            integration: &at.integration.key,
            provider: &at.integration.provider,
            connection: at.target.connection.as_deref(),
            method: self.method(),
            path: self.path(),
            query: self.query(),
            url: "",
            headers: &self.headers,
            received_at: self.received_at,
            remote: Some(&self.remote),
            body_bytes: 0,
            status,
            refusal: None,
            detail: "",
        }
    }
}

/// An integration's secrets that count at the time of a request.
pub struct Secrets<'a>(Vec<ActiveSecret<'a>>);

impl<'a> Secrets<'a> {
    /// Those of `integration` at `time`, the newest first.
    pub fn of(integration: &'a Integration, time: UnixMillis) -> Self {
        let active = |stored: &'a StoredSecret| ActiveSecret {
            secret: stored.secret(),
            label: stored.label.as_deref(),
        };
        let mut secrets: Vec<_> = integration.secrets_at(time).map(active).collect();
        secrets.reverse();
        Self(secrets)
    }

    /// What a request is verified with.
    pub fn credentials(&'a self, integration: &Integration) -> Credentials<'a> {
        Credentials {
            secrets: &self.0,
            allow_unverified: integration.flags.allow_unverified,
        }
    }
}
