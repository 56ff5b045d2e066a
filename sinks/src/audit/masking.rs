//! What of a request may be written down: the definition names its tokens and redacted values, and stars are put over
//! them, byte for byte, so that spans stay true. In: a request's metadata and raw body. Out: both as they may be read.
//! Fail-closed: of a provider whose definition is not at hand neither body nor any header's value is written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tidegate_providers::{Catalogue, Masks, RawRequest};
use tidegate_schemas::{HeaderText, Headers, RequestMeta};

/// Headers that are secrets whatever a definition says.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// A request as it may be read.
pub(crate) struct Masked<'a> {
    pub(crate) query: Cow<'a, str>,
    pub(crate) headers: Cow<'a, Headers>,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Puts stars over what must not be read.
pub(crate) fn mask<'a>(catalogue: &Catalogue, meta: &'a RequestMeta, body: &'a [u8]) -> Masked<'a> {
    let Some(definition) = catalogue.get(&meta.provider) else {
        return hide(meta);
    };
    let cfg = BTreeMap::new();
    let parsed = definition.parse(RawRequest {
        method: &meta.method,
        path: &meta.path,
        query: &meta.query,
        headers: &meta.headers,
        body,
        url: &meta.url,
        received_at: meta.received_at,
        cfg: &cfg,
    });
    let masks = definition.masks(&parsed);
    Masked {
        query: query(&masks, meta),
        headers: headers(&masks, meta),
        body: masked_body(&masks, body),
    }
}

fn query<'a>(masks: &Masks, meta: &'a RequestMeta) -> Cow<'a, str> {
    match masks.query.is_empty() || meta.query.is_empty() {
        true => Cow::Borrowed(&meta.query),
        false => Cow::Owned(masks.query(&meta.query)),
    }
}

fn headers<'a>(masks: &Masks, meta: &'a RequestMeta) -> Cow<'a, Headers> {
    let is_secret = |name: &str| {
        SECRET_HEADERS.contains(&name) || masks.headers.iter().any(|masked| masked.as_str() == name)
    };
    star(&meta.headers, is_secret)
}

fn star(headers: &Headers, is_secret: impl Fn(&str) -> bool) -> Cow<'_, Headers> {
    if !headers.0.iter().any(|(name, _)| is_secret(name)) {
        return Cow::Borrowed(headers);
    }
    let mut starred = headers.clone();
    for (name, value) in &mut starred.0 {
        if is_secret(name) {
            *value = HeaderText::new(vec![b'*'; value.as_bytes().len()]);
        }
    }
    Cow::Owned(starred)
}

fn masked_body<'a>(masks: &Masks, body: &'a [u8]) -> Cow<'a, [u8]> {
    if masks.body.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut starred = body.to_vec();
    masks.apply(&mut starred);
    Cow::Owned(starred)
}

fn hide(meta: &RequestMeta) -> Masked<'_> {
    Masked {
        query: Cow::Owned("*".repeat(meta.query.len())),
        headers: star(&meta.headers, |_| true),
        body: Cow::Borrowed(&[]),
    }
}
