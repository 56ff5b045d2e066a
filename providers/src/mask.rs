//! What must not leave: the places of tokens and redacted values, and the writing of `*` over them, byte for byte, so
//! that spans stay true. In: a parsed request. Out: places. Never touches what is verified.

use std::ops::Range;

use tidegate_schemas::Headers;

/// The places to mask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks {
    /// Places in the raw body, in order.
    pub body: Vec<Mask>,
    /// Names of headers.
    pub headers: Vec<String>,
    /// Names of query parameters.
    pub query: Vec<String>,
}

/// One place in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// The bytes.
    pub range: Range<usize>,
    /// Whether a JSON value that is no string stands there: its stars are put in quotes, so that the JSON stays JSON.
    pub quoted: bool,
}

impl Masks {
    /// Writes over the body.
    pub fn apply(&self, body: &mut [u8]) {
        for mask in &self.body {
            let Some(place) = body.get_mut(mask.range.clone()) else {
                continue;
            };
            match place {
                [only] if mask.quoted => *only = b'0',
                [first, middle @ .., last] if mask.quoted => {
                    (*first, *last) = (b'"', b'"');
                    middle.fill(b'*');
                }
                all => all.fill(b'*'),
            }
        }
    }

    /// The headers as they may leave.
    #[must_use]
    pub fn headers(&self, headers: &Headers) -> Headers {
        let mut masked = headers.clone();
        for (name, value) in &mut masked.0 {
            if self.headers.contains(name) {
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
