//! The hash of method, path and query that a token may carry to bind them (a claim often called `qsh`). In: a request and the
//! URL that its path is told from. Out: hex SHA-256 of the canonical text. Signs nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest as _, Sha256};

use crate::form::plus_decoded;
use crate::pick::url_path;
use crate::request::RawRequest;

/// What stands as it is: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The parameter that may hold the token itself, and is not hashed.
const TOKEN: &[u8] = b"jwt";

/// The hash; the path is told from that of `base`.
pub(crate) fn query_string_hash(raw: &RawRequest<'_>, base: Option<&str>) -> String {
    let canonical = [
        raw.method.to_ascii_uppercase(),
        path(url_path(raw.url), base.map(url_path)),
        query(raw.query),
    ];
    hex::encode(Sha256::digest(canonical.join("&")))
}

/// The path below the base, `&` escaped, beginning with a slash and ending in none.
fn path(path: &str, base: Option<&str>) -> String {
    let base = base.filter(|base| *base != "/").unwrap_or_default();
    let below = path.strip_prefix(base).unwrap_or(path);
    let below = below.strip_suffix('/').unwrap_or(below).replace('&', "%26");
    match below.strip_prefix('/') {
        Some(rest) => format!("/{rest}"),
        None => format!("/{below}"),
    }
}

/// The parameters by name, each with its values, sorted.
fn query(query: &str) -> String {
    let mut parameters: BTreeMap<Cow<'_, [u8]>, Vec<Cow<'_, [u8]>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = plus_decoded(name.as_bytes());
        if name.as_ref() != TOKEN {
            let values = parameters.entry(name).or_default();
            values.push(plus_decoded(value.as_bytes()));
        }
    }
    let escaped = |text: &[u8]| percent_encode(text, ESCAPED).to_string();
    let parameters = parameters.into_iter().map(|(name, mut values)| {
        values.sort_unstable();
        let values: Vec<_> = values.iter().map(|value| escaped(value)).collect();
        format!("{}={}", escaped(&name), values.join(","))
    });
    parameters.collect::<Vec<_>>().join("&")
}
