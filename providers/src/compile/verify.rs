//! `[[verify]]`: a scheme with its signature, key and timestamp. In: the tables. Out: blocks, each with what it proves,
//! which is derived and never written.

use serde::Deserialize;
use tidegate_schemas::Proof;
use toml::Value as Toml;

use super::keys::{Keys, Read};
use crate::condition::Condition;
use crate::encoding::Encoding;
use crate::glob::Glob;
use crate::selector::{Allow, Selector, Source, Terms};
use crate::setting::{Setting, word};
use crate::signature::asymmetric::{Algorithm, PublicKeyScheme};
use crate::signature::digest::DigestScheme;
use crate::signature::hash::Hash;
use crate::signature::hmac::HmacScheme;
use crate::signature::key::KeyDecode;
use crate::signature::presented::{List, Presented, Which};
use crate::signature::signed::Signed;
use crate::signature::standard_webhooks::StandardWebhooks;
use crate::signature::timestamp::Timestamp;
use crate::signature::token::TokenScheme;
use crate::signature::{Block, Scheme};
use crate::template::{Choice, Template, Value};
use crate::time::TimeFormat;

/// The schemes as a file names them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SchemeName {
    None,
    Hmac,
    Digest,
    StandardWebhooks,
    Token,
    Basic,
    Jwt,
    PublicKey,
}

pub(super) fn blocks(keys: &Keys<'_>, terms: Terms<'_>) -> Read<Vec<Block>> {
    let blocks = keys
        .tables("verify")?
        .into_iter()
        .map(|keys| block(keys, terms))
        .collect::<Read<Vec<_>>>()?;
    if blocks.is_empty() {
        return keys.problem(
            "verify",
            "write at least one [[verify]]; `scheme = \"none\"` where nothing is proved",
        );
    }
    Ok(blocks)
}

fn block(keys: Keys<'_>, request: Terms<'_>) -> Read<Block> {
    let per_event = super::one_of(&keys, "per", ["request", "event"])? == 1;
    let place = request.allowing(Allow {
        event: per_event,
        ..request.allow
    });
    let read = Reader {
        keys: &keys,
        place,
        all: place.allowing(Allow {
            signature: true,
            ..place.allow
        }),
    };
    let require = read.condition_with_claims("require")?;
    let name = keys.required("scheme")?;
    let Some(scheme) = word(name) else {
        return keys.problem("scheme", format!("there is no scheme `{name}`"));
    };
    let (scheme, proof) = match scheme {
        SchemeName::None => (Scheme::None, Proof::None),
        SchemeName::Hmac => read.hmac()?,
        SchemeName::Digest => read.digest()?,
        SchemeName::StandardWebhooks => read.standard_webhooks()?,
        SchemeName::Token => (read.token()?, Proof::Token),
        SchemeName::Basic => (Scheme::Basic, Proof::Token),
        SchemeName::Jwt => read.jwt()?,
        SchemeName::PublicKey => read.public_key()?,
    };
    let required_body =
        |require: &Condition| require.selectors().iter().any(|selector| selector.binds_body());
    let bound = proof == Proof::Fields && require.as_ref().is_some_and(required_body);
    let block = Block {
        when: keys.condition("when", place)?,
        require,
        secrets: keys.text("secrets")?.map(Glob::new),
        per_event,
        scheme,
        proof: if bound { Proof::Body } else { proof },
    };
    keys.finish()?;
    Ok(block)
}

pub(super) struct Reader<'k, 't, 'c> {
    pub keys: &'k Keys<'t>,
    /// What the place of a signature may pick.
    pub place: Terms<'c>,
    /// The same, with the signature's parts and the secret.
    pub all: Terms<'c>,
}

impl<'t, 'c> Reader<'_, 't, 'c> {
    fn with_claims(&self) -> Terms<'c> {
        self.all.allowing(Allow {
            claims: true,
            ..self.all.allow
        })
    }

    fn condition_with_claims(&self, key: &'t str) -> Read<Option<Condition>> {
        self.keys.condition(key, self.with_claims())
    }

    fn hmac(&self) -> Read<(Scheme, Proof)> {
        let signed = self.signed()?;
        let proof = proof_of(&signed);
        let scheme = HmacScheme {
            hash: self.hash()?,
            presented: self.presented()?,
            signed,
            key: self.key(KeyDecode::Utf8)?,
            timestamp: self.timestamp()?,
        };
        Ok((Scheme::Hmac(scheme), proof))
    }

    fn digest(&self) -> Read<(Scheme, Proof)> {
        let signed = self.signed()?;
        let holds_secret = |template: &Template| {
            template
                .selectors()
                .iter()
                .any(|selector| matches!(selector.source, Source::Secret))
        };
        if !signed.templates().iter().all(holds_secret) {
            return self
                .keys
                .problem("signed", "a digest proves nothing unless `{secret}` is in it");
        }
        let proof = proof_of(&signed);
        let scheme = DigestScheme {
            hash: self.hash()?,
            presented: self.presented()?,
            signed,
            timestamp: self.timestamp()?,
        };
        Ok((Scheme::Digest(scheme), proof))
    }

    fn public_key(&self) -> Read<(Scheme, Proof)> {
        let signed = self.signed()?;
        let proof = proof_of(&signed);
        let key = self.key(KeyDecode::Utf8)?;
        self.check_public(&key)?;
        let scheme = PublicKeyScheme {
            algorithm: self.algorithm()?,
            presented: self.presented()?,
            signed,
            key,
            timestamp: self.timestamp()?,
        };
        Ok((Scheme::PublicKey(scheme), proof))
    }

    fn standard_webhooks(&self) -> Read<(Scheme, Proof)> {
        let prefix = self.keys.text("headers")?.unwrap_or("webhook");
        let timestamp = format!("{prefix}-timestamp");
        let selector = self
            .keys
            .selector_of("headers", &format!("header:{timestamp}"), self.place)?;
        let age = Timestamp {
            value: Value(vec![Choice {
                when: None,
                template: Template::lone(selector),
            }]),
            format: Setting::Fixed(TimeFormat::Seconds),
            tolerance: self.tolerance()?,
            past_only: self.keys.flag("tolerance_past_only")?,
        };
        let scheme = StandardWebhooks {
            id: format!("{prefix}-id"),
            signature: format!("{prefix}-signature"),
            timestamp,
            decode: self.keys.word("key")?.unwrap_or(KeyDecode::Whsec),
            age,
        };
        Ok((Scheme::StandardWebhooks(scheme), Proof::Body))
    }

    fn token(&self) -> Read<Scheme> {
        let mut key = self.key(KeyDecode::Utf8)?;
        if !key.is_from_secret() {
            return self
                .keys
                .problem("key", "a token is compared with a secret, from nowhere else");
        }
        if let Some(expected) = self.keys.template("expected", self.all)? {
            key.text = Some(expected);
        }
        self.places("token", self.place)?;
        Ok(Scheme::Token(TokenScheme {
            at: self.keys.secret_places("token", self.place)?,
            prefix: self.keys.template("prefix", self.place)?,
            key,
        }))
    }

    pub fn places(&self, key: &'t str, terms: Terms<'_>) -> Read<Vec<Selector>> {
        let selectors = self.keys.selectors(key, terms)?;
        if selectors.is_empty() {
            self.keys.problem(key, "this key is required")
        } else {
            Ok(selectors)
        }
    }

    fn hash(&self) -> Read<Setting<Hash>> {
        Ok(self
            .keys
            .setting("hash", self.place)?
            .unwrap_or(Setting::Fixed(Hash::Sha256)))
    }

    fn presented(&self) -> Read<Presented> {
        Ok(Presented {
            at: self.places("signature", self.place)?,
            prefix: self.keys.template("prefix", self.place)?,
            list: self
                .keys
                .table("list")?
                .map(|keys| list(keys, self.place))
                .transpose()?,
            encoding: self
                .keys
                .setting("encoding", self.place)?
                .unwrap_or(Setting::Fixed(Encoding::Hex)),
        })
    }

    fn signed(&self) -> Read<Signed> {
        if let Some(Toml::Table(table)) = self.keys.raw("signed") {
            let keys = Keys::of(&self.keys.at("signed"), table);
            let default = keys.template_of("default", keys.required("default")?, self.all)?;
            let signed = Signed::Cfg {
                name: keys.declared("cfg", self.place)?,
                default,
            };
            keys.finish()?;
            return Ok(signed);
        }
        let texts = match self.keys.texts("signed")? {
            texts if texts.is_empty() => vec!["{body}"],
            texts => texts,
        };
        let templates = texts
            .into_iter()
            .map(|text| self.keys.template_of("signed", text, self.all));
        Ok(Signed::AnyOf(templates.collect::<Read<_>>()?))
    }

    pub fn timestamp(&self) -> Read<Option<Timestamp>> {
        let format = self.keys.setting("timestamp_format", self.place)?;
        let past_only = self.keys.flag("tolerance_past_only")?;
        let tolerance = self.tolerance()?;
        let Some(value) = self.keys.value("timestamp", self.with_claims())? else {
            return match self.keys.raw("tolerance") {
                Some(_) => self
                    .keys
                    .problem("tolerance", "there is no timestamp to be tolerant of"),
                None => Ok(None),
            };
        };
        let format = format.unwrap_or(Setting::Fixed(TimeFormat::Seconds));
        Ok(Some(Timestamp {
            value,
            format,
            tolerance,
            past_only,
        }))
    }

    fn tolerance(&self) -> Read<Option<Setting<u64>>> {
        match self.keys.raw("tolerance") {
            None => Ok(Some(Setting::Fixed(300))),
            Some(Toml::Boolean(false)) => Ok(None),
            Some(Toml::Integer(_)) => Ok(self.keys.number("tolerance")?.map(Setting::Fixed)),
            Some(Toml::Table(table)) => {
                let keys = Keys::of(&self.keys.at("tolerance"), table);
                let name = keys.declared("cfg", self.place)?;
                let default = keys.number("default")?.unwrap_or(300);
                keys.finish()?;
                Ok(Some(Setting::Cfg { name, default }))
            }
            Some(_) => self
                .keys
                .problem("tolerance", "write seconds, or false for any age"),
        }
    }

    fn algorithm(&self) -> Read<Algorithm> {
        let Some(Toml::Table(table)) = self.keys.raw("algorithm") else {
            let algorithm = self.keys.word("algorithm")?;
            return algorithm
                .map(Algorithm::Fixed)
                .map_or_else(|| self.keys.problem("algorithm", "is required"), Ok);
        };
        let keys = Keys::of(&self.keys.at("algorithm"), table);
        let Some(by) = keys.value("by", self.place)? else {
            return keys.problem("by", "this key is required");
        };
        let known = keys.names().into_iter().filter(|name| *name != "by");
        let known = known.map(|name| Ok((name.to_owned(), keys.word_of(name, keys.required(name)?)?)));
        Ok(Algorithm::By(by, known.collect::<Read<_>>()?))
    }
}

fn list(keys: Keys<'_>, terms: Terms<'_>) -> Read<List> {
    let position = keys
        .number("position")?
        .map(|position| usize::try_from(position).unwrap_or(usize::MAX));
    let which = match (keys.text("name")?, position) {
        (Some("*"), None) => Which::Every,
        (Some(name), None) => Which::Named(keys.template_of("name", name, terms)?),
        (None, Some(position)) => Which::From(position),
        _ => {
            return keys.problem(
                "name",
                "write the name of the signatures' entries, or their position",
            );
        }
    };
    let list = List {
        sets: keys.owned("sets")?,
        separator: keys.text("separator")?.unwrap_or(",").to_owned(),
        assign: keys.text("assign")?.unwrap_or("=").to_owned(),
        which,
    };
    if list.separator.is_empty() || list.assign.is_empty() || list.sets.as_deref() == Some("") {
        return keys.problem("separator", "an empty text separates nothing");
    }
    keys.finish()?;
    Ok(list)
}

fn proof_of(signed: &Signed) -> Proof {
    if signed.templates().iter().all(Template::binds_body) {
        Proof::Body
    } else {
        Proof::Fields
    }
}
