//! `[[handshake]]` and `[[reply]]`. In: their tables. Out: rules of answering.

use toml::Value as Toml;

use super::REQUEST;
use super::keys::{Keys, Read};
use crate::address::AddressRule;
use crate::glob::Glob;
use crate::handshake::HandshakeRule;
use crate::reply::{JsonTemplate, ReplyBody, ReplyRule, SecretAt};
use crate::selector::{Allow, Terms};
use crate::signature::key::KeyDecode;

const REPLY: Allow = Allow {
    hmac: true,
    ..REQUEST
};

pub(super) fn handshakes(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<HandshakeRule>> {
    let mut rules = Vec::new();
    for keys in keys.tables("handshake")? {
        let store = match keys.table("store")? {
            None => None,
            Some(keys) => {
                let at: Option<SecretAt> = keys.word("at")?;
                let Some(value) = keys.value("value", terms)? else {
                    return keys.problem("value", "this key is required");
                };
                keys.finish()?;
                Some((value, at.unwrap_or_default()))
            }
        };
        let call = match keys.table("call")? {
            None => None,
            Some(keys) => {
                let rule = address_rule(&keys)?;
                let url = keys.template_of("url", keys.required("url")?, terms)?;
                keys.finish()?;
                Some((url, rule))
            }
        };
        rules.push(HandshakeRule {
            methods: keys.texts("method")?.into_iter().map(str::to_owned).collect(),
            verify: match keys.raw("verify") {
                None => true,
                Some(_) => keys.flag("verify")?,
            },
            require: keys.condition("require", terms)?,
            refused: keys.status("refused", 403)?,
            store,
            call,
            decode: keys.word("key")?.unwrap_or(KeyDecode::Utf8),
            reply: reply(&keys, terms)?,
        });
        keys.finish()?;
    }
    Ok(rules)
}

/// A closed rule of hosts, which must be there: the address is a stranger's.
pub(super) fn address_rule(keys: &Keys<'_>) -> Read<AddressRule> {
    let hosts: Vec<String> = keys
        .texts("hosts")?
        .into_iter()
        .map(str::to_ascii_lowercase)
        .collect();
    if hosts.is_empty() {
        return keys.problem(
            "hosts",
            "an address that the request names needs a closed list of hosts",
        );
    }
    Ok(AddressRule {
        hosts,
        path: keys.text("path")?.map(Glob::new),
    })
}

pub(super) fn replies(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<ReplyRule>> {
    let mut rules = Vec::new();
    for keys in keys.tables("reply")? {
        rules.push(reply(&keys, terms)?);
        keys.finish()?;
    }
    Ok(rules)
}

/// The keys that `[[reply]]` and `[[handshake]]` share.
fn reply(keys: &Keys<'_>, terms: Terms<'_>) -> Read<ReplyRule> {
    let written = terms.allowing(REPLY);
    let body = match (keys.template("text", written)?, keys.raw("json")) {
        (None, None) => ReplyBody::Empty,
        (Some(text), None) => ReplyBody::Text(text),
        (None, Some(json)) => ReplyBody::Json(json_template(keys, json, written)?),
        (Some(_), Some(_)) => return keys.problem("text", "write text or json, not both"),
    };
    let mut headers = Vec::new();
    if let Some(keys) = keys.table("headers")? {
        for name in keys.names() {
            let template = keys.template_of(name, keys.required(name)?, written)?;
            headers.push((name.to_ascii_lowercase(), template));
        }
    }
    Ok(ReplyRule {
        when: keys.condition("when", terms)?,
        status: keys.status("status", 200)?,
        content_type: keys.owned("content_type")?,
        body,
        headers,
    })
}

fn json_template(keys: &Keys<'_>, json: &Toml, terms: Terms<'_>) -> Read<JsonTemplate> {
    Ok(match json {
        Toml::String(text) => JsonTemplate::Text(keys.template_of("json", text, terms)?),
        Toml::Integer(number) => JsonTemplate::Plain((*number).into()),
        Toml::Float(number) => JsonTemplate::Plain((*number).into()),
        Toml::Boolean(flag) => JsonTemplate::Plain((*flag).into()),
        Toml::Datetime(time) => JsonTemplate::Plain(time.to_string().into()),
        Toml::Array(elements) => {
            let elements = elements.iter().map(|element| json_template(keys, element, terms));
            JsonTemplate::Array(elements.collect::<Read<_>>()?)
        }
        Toml::Table(members) => {
            let members = members
                .iter()
                .map(|(name, member)| Ok((name.clone(), json_template(keys, member, terms)?)));
            JsonTemplate::Object(members.collect::<Read<_>>()?)
        }
    })
}
