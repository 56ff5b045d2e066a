//! From a provider's file to its [`Definition`]. In: TOML text and the file's name. Out: a definition whose every selector,
//! template and rule is read and allowed in its place; or the key that is wrong, and how to mend it.

mod answer;
mod event;
mod jwt;
mod key;
mod keys;
mod verify;

use std::collections::BTreeSet;

use toml::Table;

use self::keys::{Keys, Read};
use crate::body::{BodyRules, DocumentAt};
use crate::catalogue::DefinitionError;
use crate::config::Config;
use crate::definition::Definition;
use crate::facts::{CfgRule, Facts};
use crate::handshake::HandshakeRule;
use crate::selector::{Allow, Terms};
use crate::signature::Scheme;

pub(crate) use keys::Problem;

/// Compiles a file. `name` is what the definition must be called.
pub(crate) fn compile(file: &str, name: &str, text: &str) -> Result<Definition, DefinitionError> {
    let error = |key: String, problem: String| DefinitionError {
        file: file.to_owned(),
        key,
        problem,
    };
    let table: Table = toml::from_str(text)
        .map_err(|problem| error(String::new(), problem.to_string().trim_end().to_owned()))?;
    definition(name, &Keys::of("", &table)).map_err(|Problem { key, problem }| error(key, problem))
}

const REQUEST: Allow = Allow {
    body: true,
    event: false,
    claims: false,
    signature: false,
    hmac: false,
};
const EVENT: Allow = Allow {
    event: true,
    claims: true,
    ..REQUEST
};

fn definition(name: &str, keys: &Keys<'_>) -> Read<Definition> {
    check_name(name, keys)?;
    let cfg = cfg_rules(keys)?;
    let declared: BTreeSet<_> = cfg.iter().map(|rule| rule.name.clone()).collect();
    let request = Terms {
        cfg: &declared,
        allow: REQUEST,
    };
    let events = request.allowing(EVENT);
    let mut definition = Definition {
        name: name.to_owned(),
        title: keys.required("title")?.to_owned(),
        low_confidence: one_of(keys, "confidence", ["high", "low"])? == 1,
        early_check_required: one_of(keys, "early_check", ["default", "required"])? == 1,
        refused_status: keys.status("refused_status", 401)?,
        secret_at: keys.word("secret_at")?.unwrap_or_default(),
        facts: facts(keys)?,
        body: body_rules(keys, request)?,
        verify: verify::blocks(keys, request)?,
        handshakes: answer::handshakes(keys, request)?,
        event: event::rules(keys, events)?,
        identify: event::identify(keys, events)?,
        route: event::route(keys, request)?,
        objects: event::objects(keys, events)?,
        redact: redact(keys, events)?,
        replies: answer::replies(keys, request)?,
        limits: Config::default(),
        cfg,
    };
    mark_secret(&mut definition);
    check_whole(&definition, keys)?;
    keys.unknown()?;
    Ok(definition)
}

fn check_name(name: &str, keys: &Keys<'_>) -> Read<()> {
    let written = keys.required("name")?;
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if written != name {
        return keys.problem("name", format!("`{written}` must be the file's name, `{name}`"));
    }
    if name.is_empty() || !name.chars().all(plain) {
        return keys.problem("name", "write lower-case letters, digits and `-`");
    }
    Ok(())
}

fn one_of(keys: &Keys<'_>, key: &'static str, words: [&str; 2]) -> Read<usize> {
    match keys.text(key)? {
        None => Ok(0),
        Some(text) => match words.iter().position(|word| *word == text) {
            Some(place) => Ok(place),
            None => keys.problem(key, format!("write \"{}\" or \"{}\"", words[0], words[1])),
        },
    }
}

/// What no single key can say.
fn check_whole(definition: &Definition, keys: &Keys<'_>) -> Read<()> {
    let places = definition.verify.iter().enumerate();
    for (place, block) in places {
        let last = place + 1 == definition.verify.len();
        if matches!(block.scheme, Scheme::None) && (!last || block.when.is_some()) {
            return keys.problem(
                "verify",
                "scheme \"none\" is always there: it can only be the last block, without `when`",
            );
        }
    }
    if let (Some(route), Some(first)) = (&definition.route, definition.identify.first())
        && *route != first.value
    {
        return keys.problem("route.value", "must be the value of the first [[identify]]");
    }
    if definition.route.is_some() && definition.identify.len() != 1 {
        return keys.problem(
            "route",
            "needs exactly one [[identify]]: the only value by which connections are found",
        );
    }
    Ok(())
}

fn facts(keys: &Keys<'_>) -> Read<Facts> {
    let Some(keys) = keys.table("facts")? else {
        return Ok(Facts::default());
    };
    let facts = Facts {
        docs: keys.owned("docs")?,
        deadline: keys.owned("deadline")?,
        retries: keys.owned("retries")?,
        disables: keys.owned("disables")?,
        order: keys.owned("order")?,
        volume: keys.owned("volume")?,
        suggests: keys.owned("suggests")?,
        set_up: keys.owned("set_up")?,
        notes: keys.texts("notes")?.into_iter().map(str::to_owned).collect(),
    };
    keys.finish()?;
    Ok(facts)
}

fn cfg_rules(keys: &Keys<'_>) -> Read<Vec<CfgRule>> {
    let Some(keys) = keys.table("cfg")? else {
        return Ok(Vec::new());
    };
    let mut rules = Vec::new();
    for name in keys.names() {
        let Some(keys) = keys.table(name)? else { continue };
        let rule = CfgRule {
            name: name.to_owned(),
            about: keys.required("about")?.to_owned(),
            required: keys.flag("required")?,
            default: keys.owned("default")?,
            values: keys.texts("values")?.into_iter().map(str::to_owned).collect(),
            secret: keys.flag("secret")?,
        };
        if let Err(problem) = rule.check(
            rule.default
                .as_deref()
                .or(rule.values.first().map(String::as_str)),
        ) && !rule.required
        {
            return keys.problem("default", problem);
        }
        keys.finish()?;
        rules.push(rule);
    }
    Ok(rules)
}

/// A constant that a handshake compares with what the request brings is a token, whatever the file calls it.
fn mark_secret(definition: &mut Definition) {
    let tokens: BTreeSet<String> = definition
        .handshakes
        .iter()
        .flat_map(HandshakeRule::comparisons)
        .map(|(constant, _)| constant.to_owned())
        .collect();
    for rule in &mut definition.cfg {
        rule.secret |= tokens.contains(&rule.name);
    }
}

fn body_rules(keys: &Keys<'_>, terms: Terms<'_>) -> Read<BodyRules> {
    let Some(keys) = keys.table("body")? else {
        return Ok(BodyRules::default());
    };
    // A document cannot be looked for in itself: only the raw body may be picked here.
    let terms = terms.allowing(Allow {
        body: false,
        ..REQUEST
    });
    let documents = keys.texts("document")?.into_iter().map(|text| match text {
        "claims" => Ok(DocumentAt::Claims),
        _ => keys.selector_of("document", text, terms).map(DocumentAt::Picked),
    });
    let rules = BodyRules {
        document: documents.collect::<Read<_>>()?,
        kind: keys.word("kind")?.unwrap_or_default(),
    };
    keys.finish()?;
    Ok(rules)
}

fn redact(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<crate::selector::Selector>> {
    let Some(keys) = keys.table("redact")? else {
        return Ok(Vec::new());
    };
    let selectors = keys.secret_places("paths", terms)?;
    keys.finish()?;
    Ok(selectors)
}
