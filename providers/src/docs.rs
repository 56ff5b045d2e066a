//! What the command line prints about definitions: the list, one in full, the table of the docs. In: definitions. Out:
//! text. Prints nothing itself.

use std::fmt::Write as _;

use tidegate_schemas::Proof;

use crate::catalogue::{Catalogue, source_of};
use crate::definition::Definition;
use crate::reply::SecretAt;
use crate::signature::Scheme;

/// One line a definition: name, title, scheme, what it proves.
#[must_use]
pub fn list(catalogue: &Catalogue) -> String {
    let width = catalogue.names().map(str::len).max().unwrap_or_default();
    let mut text = String::new();
    for definition in catalogue.definitions() {
        let doubt = if definition.low_confidence {
            "  (low confidence)"
        } else {
            ""
        };
        let (schemes, proof) = (schemes(definition), proofs(definition));
        let _infallible = writeln!(text, "{:width$}  {schemes} → {proof}{doubt}", definition.name);
    }
    text
}

/// A definition in full: what it does, what is known about the provider, and its file.
#[must_use]
pub fn show(definition: &Definition) -> String {
    let mut text = format!("{} ({})\n", definition.title, definition.name);
    let mut line = |heading: &str, fact: &str| {
        let _infallible = writeln!(text, "  {heading:<12} {fact}");
    };
    line("scheme", &schemes(definition));
    line("proves", &proofs(definition));
    if definition.needs_secret() {
        line(
            "secret at",
            if definition.secret_at == SecretAt::Connection {
                "connection"
            } else {
                "integration"
            },
        );
    }
    if definition.early_check_required {
        line("early check", "required");
    }
    let properties: Vec<_> = definition.properties().collect();
    line(
        "found by",
        if properties.is_empty() { "the URL" } else { "" }.trim_end(),
    );
    for property in &properties {
        line("", property);
    }
    for rule in &definition.cfg {
        let required = if rule.required { " (required)" } else { "" };
        line("cfg", &format!("{}{required}: {}", rule.name, rule.about));
    }
    for (heading, fact) in definition.facts.lines() {
        line(heading, fact);
    }
    if let Some(source) = source_of(&definition.name) {
        let _infallible = write!(text, "\n{source}");
    }
    text
}

/// `docs/providers.md`: a table of all, then each with what is known about it.
#[must_use]
pub fn markdown(catalogue: &Catalogue) -> String {
    let mut text = String::from(HEAD);
    for definition in catalogue.definitions() {
        let fact = |fact: &Option<String>| cell(fact.as_deref().unwrap_or_default());
        let _infallible = writeln!(
            text,
            "| [{}](#{}) | {} | {} | {} | {} | {} |",
            cell(&definition.title),
            definition.name,
            cell(&schemes(definition)),
            proofs(definition),
            found_by(definition),
            fact(&definition.facts.deadline),
            fact(&definition.facts.retries),
        );
    }
    for definition in catalogue.definitions() {
        section(&mut text, definition);
    }
    text
}

const HEAD: &str = "\
# Providers

Printed by `tidegate providers markdown` from `providers/definitions`. A test compares; `BLESS=1 cargo test -p tidegate-providers` writes it.
*Proves* says what a good signature stands for: `body`, the bytes of the body; `origin`, who sent it; `token`, that the sender knows the
secret; `none`, nothing. *Found by* names the connection's property that an event must equal; the URL can always name the connection.

| Provider | Scheme | Proves | Found by | Deadline | Retries |
|---|---|---|---|---|---|
";

/// One definition under a heading that is its name, so that it can be linked to.
fn section(text: &mut String, definition: &Definition) {
    let _infallible = writeln!(text, "\n## {}\n\n{}\n", definition.name, definition.title);
    let mut line = |heading: &str, fact: &str| {
        let _infallible = writeln!(text, "- *{heading}*: {fact}");
    };
    if definition.low_confidence {
        line("confidence", "low");
    }
    for rule in &definition.cfg {
        let required = if rule.required { ", required" } else { "" };
        line(&format!("cfg `{}`{required}", rule.name), &rule.about);
    }
    for (heading, fact) in definition.facts.lines() {
        line(heading, fact);
    }
}

fn found_by(definition: &Definition) -> String {
    let properties: Vec<_> = definition
        .properties()
        .map(|property| format!("`{property}`"))
        .collect();
    if properties.is_empty() {
        "the URL".to_owned()
    } else {
        properties.join(", ")
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn schemes(definition: &Definition) -> String {
    let words: Vec<_> = definition
        .verify
        .iter()
        .map(|block| match &block.scheme {
            Scheme::None => "none",
            Scheme::Hmac(_) => "HMAC",
            Scheme::Digest(_) => "digest",
            Scheme::StandardWebhooks(_) => "Standard Webhooks",
            Scheme::Token(_) => "token",
            Scheme::Basic => "basic",
            Scheme::Jwt(_) => "JWT",
            Scheme::PublicKey(_) => "public key",
        })
        .collect();
    distinct(words)
}

fn proofs(definition: &Definition) -> String {
    distinct(
        definition
            .verify
            .iter()
            .map(|block| block.proof)
            .map(Proof::label)
            .collect(),
    )
}

fn distinct(mut words: Vec<&str>) -> String {
    words.dedup();
    words.join(", ")
}
