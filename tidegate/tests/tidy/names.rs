//! No provider's name in Rust: neither as a whole string literal nor as an identifier. A provider is data; code that
//! names one has found something that the definition language cannot say yet.

use std::collections::BTreeSet;

use crate::providers::definition_names;
use crate::{check, rust_files};

/// Rust's own words, which some provider also goes by.
const RUST_WORDS: &[&str] = &[
    "box", "default", "drop", "front", "close", "match", "mod", "move", "path", "ref", "self", "super",
    "type", "use",
];

#[test]
fn no_provider_is_named_in_rust() {
    let names: BTreeSet<String> = definition_names()
        .into_iter()
        .filter(|name| !RUST_WORDS.contains(&name.as_str()))
        .collect();
    let mut complaints = Vec::new();
    for (path, text) in rust_files() {
        for (line, word) in words(&text) {
            if names.contains(word) {
                complaints.push(format!(
                    "{path}:{line}: names the provider `{word}`: say it in its definition or a data file"
                ));
            }
        }
    }
    check(&complaints);
}

#[test]
fn the_search_finds_literals_and_identifiers_but_no_comments() {
    let text =
        "//! acme\nlet acme = \"acme\"; /* acme */ r#\"acme\"#; 'a'; \"not acme\"; x.acme_2; \"a\\\"cme\"";
    let found: Vec<_> = words(text)
        .into_iter()
        .filter(|(_, word)| *word == "acme")
        .map(|(line, _)| line)
        .collect();
    assert_eq!(found, [2, 2, 2]);
}

/// Every identifier and every string literal's content, with its line. Comments are passed over.
pub fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, word) = token(rest);
        if let Some(word) = word {
            words.push((text[..at].matches('\n').count() + 1, word));
        }
        at += length;
    }
    words
}

/// The length of the token at the start of `rest`, and its word when it has one.
fn token(rest: &str) -> (usize, Option<&str>) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), None);
    }
    if let Some(raw) = raw_string(rest) {
        return raw;
    }
    let first = rest.chars().next().expect("not empty");
    if first == '"' {
        let end = string_end(rest);
        return (end + 1, rest.get(1..end));
    }
    if first == '_' || first.is_alphabetic() {
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        return (end, Some(&rest[..end]));
    }
    if let Some(character) = rest.strip_prefix("'\\").and_then(|inner| inner.find('\'')) {
        return (character + 3, None);
    }
    if first == '\'' && rest.chars().nth(2) == Some('\'') {
        return (rest.chars().take(3).map(char::len_utf8).sum(), None);
    }
    (first.len_utf8(), None)
}

fn raw_string(rest: &str) -> Option<(usize, Option<&str>)> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let open = rest.len() - after.len() + hashes + 1;
    after.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = open + rest.get(open..)?.find(&close)?;
    Some((end + close.len(), rest.get(open..end)))
}

/// Where the quote stands that ends the literal at the start of `rest`.
fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    rest.len() - 1
}
