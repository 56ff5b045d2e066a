//! What must not leave: the places of tokens and redacted values, and the writing of `*` over them, byte for byte, so
//! that spans stay true. In: a parsed request. Out: places. Never touches what is verified.

use std::ops::Range;

use tidegate_schemas::Headers;

use crate::body::ParsedRequest;
use crate::definition::Definition;
use crate::pick::{Scope, Where};
use crate::selector::Selector;
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
        for block in &definition.verify {
            match &block.scheme {
                Scheme::Basic => masks.headers.push("authorization".to_owned()),
                Scheme::Token(token) => masks.add_all(&token.at, &scope),
                _ => {}
            }
        }
        masks.add_all(&definition.redact, &scope);
        masks.body.sort_by_key(|mask| mask.range.start);
        masks
    }

    /// Whether nothing is to be masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty() && self.headers.is_empty() && self.query.is_empty()
    }

    fn add_all(&mut self, selectors: &[Selector], scope: &Scope<'_>) {
        for selector in selectors {
            let elements = if selector.reads_event() {
                scope.request.elements().unwrap_or_default()
            } else {
                &[]
            };
            if elements.is_empty() {
                self.add(selector.place(scope));
            }
            for element in elements {
                self.add(selector.place(&Scope {
                    element: Some(*element),
                    ..*scope
                }));
                scope.request.forget(*element);
            }
        }
    }

    fn add(&mut self, places: Vec<Where>) {
        for place in places {
            match place {
                Where::Header(name) => self.headers.push(name),
                Where::Query(name) => self.query.push(name),
                Where::Body { range, quoted } => self.body.push(Mask { range, quoted }),
                Where::Nested { range, quoted, outer } => {
                    self.nested.push(Mask { range, quoted });
                    self.body.extend(outer.map(|range| Mask { range, quoted: false }));
                }
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
            Some((name, value)) if self.query.iter().any(|masked| masked == name) => {
                format!("{name}={}", "*".repeat(value.len()))
            }
            _ => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}
