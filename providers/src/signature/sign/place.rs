//! Putting a text where a selector picks it: a header, a query parameter, a field of a form, a value of the JSON. In: a
//! sample and the text. Out: the sample with it. Whatever a map makes of a place cannot be written back, and is refused.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Sample, SignError, Signing, unsupported};
use crate::map::Map;
use crate::pick::Where;
use crate::selector::{Selector, Source};

impl Signing<'_> {
    /// Puts a text where the selector picks it; `false` when there is no such place in the sample.
    pub fn put(&self, sample: &mut Sample, selector: &Selector, text: &str) -> Result<bool, SignError> {
        if !selector.maps.iter().all(keeps_text) {
            return Err(unsupported("a text inside another"));
        }
        if selector.source == Source::RawBody {
            sample.body = text.as_bytes().to_vec();
            return Ok(true);
        }
        let place = self.ask(sample, |scope| selector.place(scope).into_iter().next());
        match place {
            None => return Ok(false),
            Some(Where::Header(name)) => sample.set(&name.to_ascii_lowercase(), text),
            Some(Where::Query(name)) => sample.url = with_parameter(&sample.url, &name, text),
            Some(Where::Body { range, quoted }) => {
                let written = match &selector.source {
                    Source::Form(_) if is_multipart(sample) => text.to_owned(),
                    Source::Form(_) => escaped(text),
                    _ => json_text(text, quoted),
                };
                sample.body.splice(range, written.into_bytes());
            }
            Some(Where::Nested { .. }) => return Err(unsupported("a text inside another")),
        }
        Ok(true)
    }
}

/// Whether a text that is written where the map is applied comes out as it is.
fn keeps_text(map: &Map) -> bool {
    matches!(map, Map::Trim | Map::Strip(_) | Map::Default(_))
}

fn is_multipart(sample: &Sample) -> bool {
    let content_type = sample.headers.get("content-type").unwrap_or_default();
    content_type.to_ascii_lowercase().starts_with("multipart/")
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A JSON string's inside; where the value is no string, a number stays one.
fn json_text(text: &str, quoted: bool) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = serde_json::Value::from(text).to_string();
    match quoted {
        true if is_number => text.to_owned(),
        true => whole,
        false => whole.trim_matches('"').to_owned(),
    }
}

/// The URL with a query parameter's value replaced, or the parameter added.
fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let parameter = format!("{}={}", escaped(name), escaped(value));
    let is_it = |pair: &str| {
        let have = pair.split_once('=').map_or(pair, |(have, _)| have);
        *crate::form::plus_decoded(have.as_bytes()) == *name.as_bytes()
    };
    let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    match pairs.iter_mut().find(|pair| is_it(pair)) {
        Some(pair) => *pair = &parameter,
        None => pairs.push(&parameter),
    }
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_replaced_where_it_stands() {
        let check = |url: &str, expected: &str| assert_eq!(with_parameter(url, "to ken", "a&b"), expected);
        check("https://a.example/x", "https://a.example/x?to%20ken=a%26b");
        check(
            "https://a.example/x?a=1&to+ken=old&b",
            "https://a.example/x?a=1&to%20ken=a%26b&b",
        );
    }

    #[test]
    fn json_stays_json() {
        assert_eq!(json_text("a\"b", false), "a\\\"b");
        assert_eq!(json_text("7", true), "7");
        assert_eq!(json_text("x", true), "\"x\"");
    }
}
