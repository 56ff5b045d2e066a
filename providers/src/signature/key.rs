//! From a secret's text to the key: decoded, joined with constants, chosen by a label; or a constant of the definition, or
//! fetched under a closed rule of hosts. In: the active secrets and fetched keys. Out: key bytes or public keys.

use std::borrow::Cow;

use serde::Deserialize;
use tidegate_schemas::{Reason, UnixMillis};
use unicode_normalization::UnicodeNormalization as _;

use super::chain::ChainRule;
use super::public_key::PublicKey;
use super::{Proving, refused, secret_missing};
use crate::address::AddressRule;
use crate::encoding::{Encoding, decode_base64};
use crate::key_set::{FetchedKey, KeyKind, KeyLookup, KeyMaterial, KeyRequest};
use crate::pick::Scope;
use crate::request::ActiveSecret;
use crate::signature::hash::Hash;
use crate::template::{Template, Value};
use crate::verdict::{Refusal, Unverified};

/// Where a key comes from and how its text becomes one.
#[derive(Debug)]
pub(crate) struct Key {
    pub from: KeyFrom,
    pub decode: KeyDecode,
    /// The key's text around `{secret}`.
    pub text: Option<Template>,
    /// The label of the secret to use.
    pub by: Option<Value>,
}

/// Where a key comes from.
#[derive(Debug)]
pub(crate) enum KeyFrom {
    Secret,
    /// A public key that stands in the definition.
    Constant(PublicKey),
    /// A secret's text that stands in the definition.
    ConstantText(String),
    Fetched {
        kind: KeyKind,
        url: Template,
        rule: AddressRule,
        key_id: Option<Value>,
        /// What a certificate's chain must end in.
        chain: Option<ChainRule>,
    },
}

/// How a secret's text becomes key bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyDecode {
    Utf8,
    /// UTF-8 of the text in the Unicode normal form NFKD.
    Nfkd,
    Hex,
    Base64,
    Whsec,
    WhsecOrUtf8,
    Sha1,
    Sha256,
}

impl KeyDecode {
    /// The key that a text stands for; none when it is not written so.
    pub fn decode(self, text: Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
        let behind_prefix = |text: &[u8]| {
            let start = memchr::memrchr(b'_', text).map_or(0, |at| at + 1);
            decode_base64(text.get(start..)?)
        };
        let key = match self {
            KeyDecode::Utf8 => return Some(text),
            KeyDecode::WhsecOrUtf8 if !text.starts_with(b"whsec_") => return Some(text),
            KeyDecode::Nfkd => std::str::from_utf8(&text)
                .ok()?
                .nfkd()
                .collect::<String>()
                .into_bytes(),
            KeyDecode::Hex => Encoding::Hex.decode(text.trim_ascii())?,
            KeyDecode::Base64 => decode_base64(&text)?,
            KeyDecode::Whsec | KeyDecode::WhsecOrUtf8 => behind_prefix(&text)?,
            KeyDecode::Sha1 => Hash::Sha1.digest(&[text]).to_vec(),
            KeyDecode::Sha256 => Hash::Sha256.digest(&[text]).to_vec(),
        };
        (!key.is_empty()).then_some(Cow::Owned(key))
    }
}

impl Key {
    /// Whether the integration's or connection's secret is the key.
    pub fn is_from_secret(&self) -> bool {
        matches!(self.from, KeyFrom::Secret)
    }

    /// Whether the key stands elsewhere.
    pub fn is_fetched(&self) -> bool {
        matches!(self.from, KeyFrom::Fetched { .. })
    }

    /// Runs `proves` with each key's bytes until one proves; `SecretUnusable` when none can be used.
    pub fn any(
        &self,
        (scope, proving): (&Scope<'_>, Proving<'_>),
        mut proves: impl FnMut(&[u8]) -> Result<bool, Refusal>,
    ) -> Result<bool, Unverified> {
        let mut usable = false;
        for text in self.texts(scope, proving)? {
            let Some(key) = self.key_of(&text, scope) else {
                continue;
            };
            usable = true;
            if proves(&key)? {
                return Ok(true);
            }
        }
        if usable { Ok(false) } else { Err(unusable()) }
    }

    /// The texts of the secrets to try.
    fn texts<'s>(
        &'s self,
        scope: &Scope<'_>,
        proving: Proving<'s>,
    ) -> Result<Vec<Cow<'s, [u8]>>, Unverified> {
        match &self.from {
            KeyFrom::Secret => {
                let secrets = self.labelled(scope, proving.secrets);
                if secrets.is_empty() {
                    return Err(secret_missing().into());
                }
                Ok(secrets
                    .iter()
                    .map(|active| Cow::Borrowed(active.secret.expose()))
                    .collect())
            }
            KeyFrom::ConstantText(text) => Ok(vec![Cow::Borrowed(text.as_bytes())]),
            KeyFrom::Constant(_) => Ok(Vec::new()),
            KeyFrom::Fetched { .. } => {
                let fetched = self.fetched((scope, proving), None)?;
                Ok(fetched
                    .iter()
                    .filter_map(|key| match &key.key {
                        KeyMaterial::Text(secret) => Some(Cow::Owned(secret.expose().to_vec())),
                        KeyMaterial::Public(_) => None,
                    })
                    .collect())
            }
        }
    }

    /// The secrets of the label that the request names; those without a label serve all.
    fn labelled<'s>(&self, scope: &Scope<'_>, secrets: &[ActiveSecret<'s>]) -> Vec<ActiveSecret<'s>> {
        let filled = secrets.iter().filter(|active| !active.secret.is_empty()).copied();
        let Some(by) = &self.by else {
            return filled.collect();
        };
        let wanted = by.pick_str(scope);
        let (named, others): (Vec<_>, Vec<_>) = filled.partition(|active| active.label.is_some());
        let fitting: Vec<_> = named
            .into_iter()
            .filter(|active| active.label == wanted.as_deref())
            .collect();
        if fitting.is_empty() { others } else { fitting }
    }

    /// The key that a secret's text stands for.
    fn key_of<'s>(&self, text: &'s [u8], scope: &Scope<'_>) -> Option<Cow<'s, [u8]>> {
        let text = match &self.text {
            None => Cow::Borrowed(text),
            Some(template) => {
                let scope = Scope {
                    secret: Some(text),
                    ..*scope
                };
                Cow::Owned(template.render(&scope)?.into_owned())
            }
        };
        self.decode.decode(text)
    }

    /// The public keys that may have signed, by the id that the signature names.
    pub fn public_keys(
        &self,
        (scope, proving): (&Scope<'_>, Proving<'_>),
        key_id: Option<&str>,
    ) -> Result<Vec<PublicKey>, Unverified> {
        let keys: Vec<_> = match &self.from {
            KeyFrom::Constant(key) => return Ok(vec![key.clone()]),
            KeyFrom::Secret | KeyFrom::ConstantText(_) => {
                let texts = self.texts(scope, proving)?;
                texts
                    .iter()
                    .filter_map(|text| PublicKey::parse(&self.key_of(text, scope)?))
                    .collect()
            }
            KeyFrom::Fetched { .. } => {
                let fetched = self.fetched((scope, proving), key_id)?;
                fetched
                    .iter()
                    .filter_map(|key| match &key.key {
                        KeyMaterial::Public(public) => Some(public.clone()),
                        KeyMaterial::Text(_) => None,
                    })
                    .collect()
            }
        };
        if keys.is_empty() {
            Err(unusable())
        } else {
            Ok(keys)
        }
    }

    fn fetched(
        &self,
        (scope, proving): (&Scope<'_>, Proving<'_>),
        key_id: Option<&str>,
    ) -> Result<Vec<FetchedKey>, Unverified> {
        let request = self.request(scope, key_id)?;
        let keys = match proving.keys.lookup(&request) {
            KeyLookup::Found(keys) => keys,
            KeyLookup::KeyIdUnknown { fetched_at } if fetched_at >= proving.received_at => {
                let detail = "the key set fetched after the request came does not hold the key id it names";
                return Err(refused(Reason::KeyUnknown, detail));
            }
            KeyLookup::KeyIdUnknown { .. } | KeyLookup::NotFetched => {
                return Err(Unverified::Undecided(request));
            }
        };
        let valid = |(from, to): (UnixMillis, UnixMillis)| (from..=to).contains(&proving.received_at);
        let usable: Vec<_> = keys
            .iter()
            .filter(|key| key.valid.is_none_or(valid))
            .cloned()
            .collect();
        if usable.is_empty() && !keys.is_empty() {
            return Err(refused(
                Reason::KeyUnknown,
                "the certificate was not valid when the request was received",
            ));
        }
        if let KeyFrom::Fetched {
            chain: Some(chain), ..
        } = &self.from
        {
            let untrusted = |problem| {
                refused(
                    Reason::KeyUntrusted,
                    format!("the certificate's chain: {problem}"),
                )
            };
            for key in &usable {
                chain.check(&key.chain, proving.received_at).map_err(untrusted)?;
            }
        }
        Ok(usable)
    }

    /// What to fetch for this request.
    fn request(&self, scope: &Scope<'_>, key_id: Option<&str>) -> Result<KeyRequest, Unverified> {
        let KeyFrom::Fetched {
            kind,
            url,
            rule,
            key_id: named,
            ..
        } = &self.from
        else {
            return Err(unusable());
        };
        let Some(url) = url.render_str(scope) else {
            return Err(refused(
                Reason::KeyAddressRefused,
                "the address of the key is missing",
            ));
        };
        if !rule.allows(&url) {
            let detail = "the address of the key is outside the definition's rule of hosts";
            return Err(refused(Reason::KeyAddressRefused, detail));
        }
        let named = named
            .as_ref()
            .and_then(|named| named.pick_str(scope))
            .map(Cow::into_owned);
        let key_id = named.or_else(|| key_id.map(str::to_owned));
        Ok(KeyRequest {
            kind: kind.clone(),
            url: url.into_owned(),
            key_id,
        })
    }
}

fn unusable() -> Unverified {
    refused(
        Reason::SecretUnusable,
        "no secret or key is written as the definition's `key` expects",
    )
}
