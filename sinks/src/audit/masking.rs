//! What of a request may be written down: the definition names its tokens and redacted values, and stars are put over
//! them, byte for byte, so that spans stay true. In: a request's metadata and raw body. Out: both as they may be read.
//!
//! Fail-closed: where the definition or the integration is not at hand, neither body nor any header's value is written;
//! and no body that was cut, since nothing can be found in it.

use std::borrow::Cow;
use std::sync::Arc;

use tidegate_providers::{Catalogue, Masks, RawRequest};
use tidegate_registry::{Integration, Registry};
use tidegate_schemas::{HeaderText, Headers, RequestMeta};

/// Headers that are secrets whatever a definition says.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// A request as it may be read.
pub(crate) struct Masked<'a> {
    pub(crate) query: Cow<'a, str>,
    pub(crate) headers: Cow<'a, Headers>,
    pub(crate) body: Cow<'a, [u8]>,
}

/// Knows what to mask: the definitions, and the integrations' constants, which may name the place of a token.
#[derive(Clone)]
pub(crate) struct Masker {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) registry: Registry,
}

impl Masker {
    /// Puts stars over what must not be read.
    pub(crate) fn mask<'a>(&self, meta: &'a RequestMeta, body: &'a [u8]) -> Masked<'a> {
        let (Some(definition), Some(integration)) =
            (self.catalogue.get(&meta.provider), self.integration(meta))
        else {
            return hide(meta);
        };
        let parsed = definition.parse(RawRequest {
            method: &meta.method,
            path: &meta.path,
            query: &meta.query,
            headers: &meta.headers,
            body,
            url: &meta.url,
            received_at: meta.received_at,
            cfg: integration.constants(),
        });
        let masks = definition.masks(&parsed);
        let is_cut = (body.len() as u64) < meta.body_bytes;
        Masked {
            query: query(&masks, meta),
            headers: headers(&masks, meta),
            body: if is_cut {
                Cow::Borrowed(&[])
            } else {
                masked_body(&masks, body)
            },
        }
    }

    /// The integration, while it still is of the provider that the request was taken for.
    fn integration(&self, meta: &RequestMeta) -> Option<Arc<Integration>> {
        let tables = self.registry.read();
        let integration = tables.integration(&meta.environment, &meta.integration)?;
        (integration.provider == meta.provider).then(|| Arc::clone(integration))
    }
}

fn query<'a>(masks: &Masks, meta: &'a RequestMeta) -> Cow<'a, str> {
    match masks.query.is_empty() || meta.query.is_empty() {
        true => Cow::Borrowed(&meta.query),
        false => Cow::Owned(masks.query(&meta.query)),
    }
}

fn headers<'a>(masks: &Masks, meta: &'a RequestMeta) -> Cow<'a, Headers> {
    let is_masked = |name: &str| {
        masks
            .headers
            .iter()
            .any(|masked| masked.eq_ignore_ascii_case(name))
    };
    star(&meta.headers, |name| {
        SECRET_HEADERS.contains(&name) || is_masked(name)
    })
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

#[cfg(test)]
mod tests {
    use tidegate_registry::Entity;
    use tidegate_schemas::{EnvironmentId, RequestId, RequestKind, UnixMillis};

    use super::*;

    const DEFINITION: &str = r#"
name = "acme"
title = "Acme"

[facts]
set_up = "nothing"

[cfg.token_header]
about = "the header that holds the token"
default = "x-token"

[[verify]]
scheme = "token"
token = "header:<cfg:token_header>"

[[verify]]
scheme = "token"
token = "body:auth.key"

[event]
type = "{body:type}"

[redact]
paths = ["body:card", "query:code"]
"#;

    fn masker(header: Option<&str>) -> (Masker, EnvironmentId) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("acme.toml"), DEFINITION).expect("a file");
        let catalogue = Catalogue::with_overlay(folder.path()).expect("the definition compiles");
        let environment = EnvironmentId::new(UnixMillis(1));
        let mut integration = Integration::new(environment, "crm", "acme", UnixMillis(1));
        if let Some(header) = header {
            integration
                .cfg
                .insert("token_header".to_owned(), header.to_owned());
        }
        let registry = Registry::of([Entity::Integration(integration)]).expect("a registry");
        (
            Masker {
                catalogue: Arc::new(catalogue),
                registry,
            },
            environment,
        )
    }

    fn request(environment: EnvironmentId, body_bytes: usize) -> RequestMeta {
        let mut headers = Headers::default();
        for name in ["x-token", "x-other", "authorization"] {
            headers.push(name, "abc");
        }
        RequestMeta {
            v: 1,
            kind: RequestKind::Received,
            id: RequestId::new(UnixMillis(1)),
            environment,
            integration: "crm".to_owned(),
            provider: "acme".to_owned(),
            connection: None,
            method: "POST".to_owned(),
            path: "/webhook".to_owned(),
            query: "code=123&page=4".to_owned(),
            url: "https://hooks.example.com/webhook?code=123&page=4".to_owned(),
            headers,
            received_at: UnixMillis(1),
            remote: None,
            body_bytes: body_bytes as u64,
            status: 200,
            refusal: None,
            detail: String::new(),
            spilled: false,
            replay: None,
        }
    }

    const BODY: &str = r#"{"type":"paid","auth":{"key":"geheim"},"card":4242,"n":1}"#;

    fn check((masker, environment): (Masker, EnvironmentId), expected: [&str; 3]) {
        let meta = request(environment, BODY.len());
        let masked = masker.mask(&meta, BODY.as_bytes());
        let values: Vec<&str> = ["x-token", "x-other", "authorization"]
            .map(|name| masked.headers.get(name).expect("sent"))
            .into();
        assert_eq!(values, expected);
        assert_eq!(masked.query, "code=***&page=4");
        let body = std::str::from_utf8(&masked.body).expect("stars are text");
        assert_eq!(
            body,
            r#"{"type":"paid","auth":{"key":"******"},"card":"**","n":1}"#
        );
    }

    #[test]
    fn tokens_and_redacted_values_are_starred_byte_for_byte() {
        check(masker(None), ["***", "abc", "***"]);
    }

    #[test]
    fn the_integration_may_name_the_place_of_its_token() {
        check(masker(Some("x-other")), ["abc", "***", "***"]);
    }

    #[test]
    fn what_nobody_can_judge_is_hidden() {
        let (masker, environment) = masker(None);
        let cut = request(environment, BODY.len() + 1);
        assert!(masker.mask(&cut, BODY.as_bytes()).body.is_empty(), "a cut body");
        let stranger = RequestMeta {
            integration: "gone".to_owned(),
            ..request(environment, BODY.len())
        };
        let masked = masker.mask(&stranger, BODY.as_bytes());
        assert!(masked.body.is_empty() && masked.query == "***************");
        assert!(
            masked
                .headers
                .0
                .iter()
                .all(|(_, value)| value.as_bytes() == b"***")
        );
    }
}
