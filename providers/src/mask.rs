//! What must not leave: the places of tokens and redacted values, and the writing of `*` over them, byte for byte, so
//! that spans stay true. Where a body cannot be read as the definition says, nobody can tell where in it a secret stands:
//! it is written over whole. In: a parsed request. Out: places. Never touches what is verified.

use std::ops::Range;

use tidegate_schemas::Headers;

use crate::body::{DocumentAt, ParsedRequest};
use crate::definition::Definition;
use crate::form::plus_decoded;
use crate::pick::{Scope, Where};
use crate::selector::{Selector, Source};
use crate::signature::Scheme;

/// The places to mask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks {
    /// Places in the raw body, in order.
    pub body: Vec<Mask>,
    /// Names of headers.
    pub headers: Vec<String>,
    /// Names of query parameters.
    pub query: Vec<String>,
    /// Places in a document that was nested in a field of the body; splitting masks what it takes from there.
    pub(crate) nested: Vec<Mask>,
}

/// One place in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The bytes.
    pub range: Range<usize>,
    /// Whether a JSON value that is no string stands there: its stars are put in quotes, so that the JSON stays JSON.
    pub quoted: bool,
}

impl Mask {
    /// Writes over bytes that begin where the range counts from.
    pub(crate) fn apply(&self, bytes: &mut [u8]) {
        match bytes.get_mut(self.range.clone()) {
            None | Some([]) => {}
            Some([only]) if self.quoted => *only = b'0',
            Some([first, middle @ .., last]) if self.quoted => {
                (*first, *last) = (b'"', b'"');
                middle.fill(b'*');
            }
            Some(all) => all.fill(b'*'),
        }
    }
}

impl Masks {
    /// Finds what a definition's tokens and `[redact]` name in a request.
    pub(crate) fn find(definition: &Definition, request: &ParsedRequest<'_>) -> Self {
        let mut masks = Self::default();
        let scope = Scope::of(request);
        let mut secret = Vec::new();
        for block in &definition.verify {
            match &block.scheme {
                Scheme::Basic => masks.headers.push("authorization".to_owned()),
                Scheme::Token(token) => secret.extend(&token.at),
                _ => {}
            }
        }
        secret.extend(&definition.redact);
        for selector in &secret {
            masks.add_all(selector, &scope);
        }
        if hides_body(&secret, request) {
            masks.body = vec![whole(request)];
        }
        for token in definition.compared_tokens() {
            masks.add_all(token, &scope);
        }
        masks.body.sort_by_key(|mask| mask.range.start);
        masks
    }

    /// Whether anything that stands there is written over.
    pub(crate) fn touches(&self, place: &Where) -> bool {
        let any = |masks: &[Mask], range: &Range<usize>| {
            let mut masks = masks.iter();
            masks.any(|mask| mask.range.start < range.end && range.start < mask.range.end)
        };
        match place {
            Where::Header(name) => self.headers.contains(name),
            Where::Query(name) => self.query.contains(name),
            Where::Body { range, .. } => any(&self.body, range),
            Where::Nested { range, .. } => any(&self.nested, range),
        }
    }

    /// Whether nothing is to be masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty() && self.headers.is_empty() && self.query.is_empty()
    }

    fn add_all(&mut self, selector: &Selector, scope: &Scope<'_>) {
        let elements = if selector.reads_event() {
            scope.request.elements().unwrap_or_default()
        } else {
            &[]
        };
        if elements.is_empty() {
            self.add(selector.place(scope), scope);
        }
        for element in elements {
            let scope = Scope {
                element: Some(*element),
                ..*scope
            };
            self.add(selector.place(&scope), &scope);
            scope.request.forget(*element);
        }
    }

    fn add(&mut self, places: Vec<Where>, scope: &Scope<'_>) {
        for place in places {
            match place {
                Where::Header(name) => self.headers.push(name),
                Where::Query(name) => self.query.push(name),
                Where::Body { range, quoted } => self.body.push(Mask { range, quoted }),
                Where::Nested { range, quoted, outer } => {
                    self.nested.push(Mask { range, quoted });
                    match outer {
                        Some(range) => self.body.push(Mask { range, quoted: false }),
                        None => self.add_document_source(scope),
                    }
                }
            }
        }
    }

    /// The document was decoded from outside of the body: what it was decoded from is masked as a whole.
    fn add_document_source(&mut self, scope: &Scope<'_>) {
        let definition = scope.request.definition;
        let tokens = definition.verify.iter().filter_map(|block| block.jwt_place());
        let sources = definition.body.document.iter().flat_map(|at| match at {
            DocumentAt::Picked(selector) => vec![selector],
            DocumentAt::Claims => tokens.clone().collect(),
        });
        for place in sources.flat_map(|source| source.place(scope)) {
            match place {
                Where::Header(name) => self.headers.push(name),
                Where::Query(name) => self.query.push(name),
                Where::Body { .. } | Where::Nested { .. } => {}
            }
        }
    }

    /// Writes over the body.
    pub fn apply(&self, body: &mut [u8]) {
        for mask in &self.body {
            mask.apply(body);
        }
    }

    /// The headers as they may leave.
    #[must_use]
    pub fn headers(&self, headers: &Headers) -> Headers {
        let mut masked = headers.clone();
        for (name, value) in &mut masked.0 {
            if self
                .headers
                .iter()
                .any(|masked| masked.eq_ignore_ascii_case(name))
            {
                *value = tidegate_schemas::HeaderText::new(vec![b'*'; value.as_bytes().len()]);
            }
        }
        masked
    }

    /// The query as it may leave.
    #[must_use]
    pub fn query(&self, query: &str) -> String {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if self.is_masked_query(name) => {
                format!("{name}={}", "*".repeat(value.len()))
            }
            _ => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Names are compared as they are picked: decoded.
    fn is_masked_query(&self, name: &str) -> bool {
        let name = plus_decoded(name.as_bytes());
        self.query.iter().any(|masked| *masked.as_bytes() == *name)
    }
}

/// Whether a secret may stand in the body whose place cannot be told: the body is no JSON, and no form that the secrets
/// are looked for in, or its elements cannot be named.
fn hides_body(secret: &[&Selector], request: &ParsedRequest<'_>) -> bool {
    if request.raw.body.is_empty() {
        return false;
    }
    let sources = || secret.iter().flat_map(|selector| selector.sources());
    let in_form = sources().any(|source| matches!(source, Source::Form(_)));
    if !in_form && !sources().any(Source::reads_document) {
        return false;
    }
    let is_read = request.document().is_some() || in_form && request.form().is_some();
    let in_elements = secret.iter().any(|selector| selector.reads_event());
    !is_read || in_elements && request.elements().is_err()
}

/// All of the body; JSON stays JSON.
fn whole(request: &ParsedRequest<'_>) -> Mask {
    Mask {
        range: 0..request.raw.body.len(),
        quoted: request.document().is_some() && request.nested().is_none(),
    }
}
