//! What the engine is given: a request as it was received, and the secrets that may prove it. Everything here borrows
//! from the caller. Parsing is [`crate::body`]'s work, deciding is [`crate::Definition`]'s.

use std::collections::BTreeMap;

use tidegate_schemas::{Headers, Secret, UnixMillis};

/// One HTTP request as it was received.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The path as received, undecoded.
    pub path: &'a str,
    /// The query as received, undecoded and without its `?`.
    pub query: &'a str,
    /// The headers, names in lower case.
    pub headers: &'a Headers,
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// The public URL exactly as it is registered at the provider, with the query as received.
    pub url: &'a str,
    /// When it was received: what a signature's age is measured against.
    pub received_at: UnixMillis,
    /// The integration's constants.
    pub cfg: &'a BTreeMap<String, String>,
}

/// A secret that was valid when the request was received.
#[derive(Clone, Copy)]
pub struct ActiveSecret<'a> {
    /// Its text, or the bytes of a public key's text.
    pub secret: &'a Secret,
    /// What it is for, when an integration has one secret per webhook: the webhook's or the key's id.
    pub label: Option<&'a str>,
}

/// What a request is verified with.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The active secrets, the newest first.
    pub secrets: &'a [ActiveSecret<'a>],
    /// Whether the integration takes requests that nothing proves, because it has no secret. They are marked
    /// unverified for ever.
    pub allow_unverified: bool,
}
