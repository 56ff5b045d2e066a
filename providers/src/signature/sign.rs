//! Signing a sample as its provider would, now: the way back of verifying, for `tidegate send`, the demo, load and
//! tests of the house. In: a request without a fresh signature, and the secret. Out: the same with signature and time
//! in place. It proves nothing about the definitions: their fixtures are signed by somebody else's code.

use std::collections::BTreeMap;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use tidegate_schemas::{Headers, Secret, UnixMillis};

use super::hash::Hash;
use super::hmac::HmacScheme;
use super::presented::{List, Presented, Which};
use super::signed::Signed;
use super::standard_webhooks::StandardWebhooks;
use super::timestamp::Timestamp;
use super::token::TokenScheme;
use super::{Block, Proving, Scheme};
use crate::definition::Definition;
use crate::encoding::Encoding;
use crate::key_set::NoKeySets;
use crate::map::Text;
use crate::pick::{Parts, Scope, Where};
use crate::request::{ActiveSecret, RawRequest};
use crate::selector::{Name, PartName, Selector, Source};
use crate::setting::word;

/// A request that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The method, upper case.
    pub method: String,
    /// The public URL as registered at the provider.
    pub url: String,
    /// The headers, names in lower case; a stale signature or time among them is replaced.
    pub headers: Headers,
    /// The body; a signed time in it is replaced.
    pub body: Vec<u8>,
}

/// What a sample is signed with.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The secret that the integration has.
    pub secret: &'a Secret,
    /// The private half (PKCS#8) where the integration only has a public key.
    pub private_key: Option<&'a [u8]>,
    /// The integration's constants.
    pub cfg: &'a BTreeMap<String, String>,
    /// The time to be signed.
    pub now: UnixMillis,
}

/// A sample that cannot be signed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// No block of the definition applies to the sample and the secret.
    #[error("no [[verify]] block applies to this request and secret")]
    NoBlock,
    /// The scheme cannot be made here: the key is the provider's own, or the signature's place is none that is written.
    #[error("{what} cannot be made here: only the provider can")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// The secret is not written as the definition says.
    #[error("the secret cannot be used as this provider's key")]
    SecretUnusable,
}

const fn unsupported(what: &'static str) -> SignError {
    SignError::Unsupported { what }
}

impl Sample {
    fn raw<'a>(&'a self, signer: &Signer<'a>) -> RawRequest<'a> {
        let rest = self
            .url
            .split_once("://")
            .map_or(self.url.as_str(), |(_, rest)| rest);
        let target = rest.find('/').map_or("/", |at| &rest[at..]);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RawRequest {
            method: &self.method,
            path,
            query,
            headers: &self.headers,
            body: &self.body,
            url: &self.url,
            received_at: signer.now,
            cfg: signer.cfg,
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.headers.0.iter_mut().find(|(have, _)| have == name) {
            Some((_, have)) => *have = value.into(),
            None => self.headers.push(name, value),
        }
    }
}

impl Definition {
    /// Signs a sample anew. What needs no signature, or carries its token in the body, stays as it is.
    ///
    /// # Errors
    /// [`SignError`] when no block applies, or the signature is one that only the provider can make.
    pub fn sign(&self, mut sample: Sample, signer: &Signer<'_>) -> Result<Sample, SignError> {
        let applies = |block: &&Block| {
            let parsed = self.parse(sample.raw(signer));
            let fits = block
                .secrets
                .as_ref()
                .is_none_or(|glob| glob.fits(signer.secret.expose()));
            fits && block
                .when
                .as_ref()
                .is_none_or(|when| when.holds(&Scope::of(&parsed)))
        };
        let block = self.verify.iter().find(applies).ok_or(SignError::NoBlock)?;
        match &block.scheme {
            Scheme::None => {}
            Scheme::Hmac(scheme) => {
                let make = |scope: &Scope<'_>, proving: Proving<'_>| mac(scheme, scope, proving);
                sign_presented(
                    self,
                    &mut sample,
                    (&scheme.presented, scheme.timestamp.as_ref(), signer),
                    make,
                )?;
            }
            Scheme::Digest(scheme) => {
                let make = |scope: &Scope<'_>, _: Proving<'_>| {
                    let hash = scheme.hash.of(scope.request, word).ok()?;
                    first_of(&scheme.signed, scope, |pieces| Some(hash.digest(pieces).to_vec()))
                };
                sign_presented(
                    self,
                    &mut sample,
                    (&scheme.presented, scheme.timestamp.as_ref(), signer),
                    make,
                )?;
            }
            Scheme::PublicKey(scheme) => {
                let private_key = signer
                    .private_key
                    .ok_or(unsupported("a signature without the private key"))?;
                let make = |scope: &Scope<'_>, _: Proving<'_>| {
                    first_of(&scheme.signed, scope, |pieces| {
                        private_signature(private_key, &pieces.concat())
                    })
                };
                sign_presented(
                    self,
                    &mut sample,
                    (&scheme.presented, scheme.timestamp.as_ref(), signer),
                    make,
                )?;
            }
            Scheme::StandardWebhooks(scheme) => sign_standard(&mut sample, scheme, signer)?,
            Scheme::Token(scheme) => present_token(self, &mut sample, (scheme, signer))?,
            Scheme::Basic => {
                let credentials = Encoding::Base64.encode(signer.secret.expose());
                sample.set("authorization", &format!("Basic {credentials}"));
            }
            Scheme::Jwt(_) => return Err(unsupported("a JWT under the provider's key")),
        }
        Ok(sample)
    }
}

/// Puts a signature that `make` gives, and its time, where the definition looks for them.
fn sign_presented(
    definition: &Definition,
    sample: &mut Sample,
    (presented, timestamp, signer): (&Presented, Option<&Timestamp>, &Signer<'_>),
    make: impl FnOnce(&Scope<'_>, Proving<'_>) -> Option<Vec<u8>>,
) -> Result<(), SignError> {
    let part = stamp(definition, sample, (timestamp, signer))?;
    let text = written(definition, sample, (signer, part.as_ref(), presented), make)?;
    match presented.at.first().map(|at| &at.source) {
        Some(Source::Header(Name::Fixed(name))) => {
            sample.set(name, &text);
            Ok(())
        }
        _ => Err(unsupported("a signature that stands in no header")),
    }
}

fn mac(scheme: &HmacScheme, scope: &Scope<'_>, proving: Proving<'_>) -> Option<Vec<u8>> {
    let hash = scheme.hash.of(scope.request, word).ok()?;
    let mut code = None;
    let mut keep = |key: &[u8]| {
        code = first_of(&scheme.signed, scope, |pieces| {
            Some(hash.mac(key, pieces).to_vec())
        });
        Ok(true)
    };
    scheme.key.any((scope, proving), &mut keep).ok()?;
    code
}

/// What `make` gives for the first text that can be written.
fn first_of(
    signed: &Signed,
    scope: &Scope<'_>,
    make: impl Fn(&[Text<'_>]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut made = None;
    let keep = |pieces: &[Text<'_>]| {
        made = make(pieces);
        true
    };
    signed.any(scope, keep).ok()?;
    made
}

fn sign_standard(
    sample: &mut Sample,
    scheme: &StandardWebhooks,
    signer: &Signer<'_>,
) -> Result<(), SignError> {
    if sample.headers.get(&scheme.id).is_none() {
        sample.set(&scheme.id, &format!("msg_{}", signer.now.0));
    }
    let seconds = signer.now.seconds().to_string();
    sample.set(&scheme.timestamp, &seconds);
    let id = sample.headers.get(&scheme.id).unwrap_or_default();
    let pieces = [id.as_bytes(), b".", seconds.as_bytes(), b".", &sample.body];
    let entry = if signer.secret.expose().starts_with(b"whpk_") {
        let private_key = signer
            .private_key
            .ok_or(unsupported("a signature without the private key"))?;
        let signature = private_signature(private_key, &pieces.concat()).ok_or(SignError::SecretUnusable)?;
        format!("v1a,{}", Encoding::Base64.encode(&signature))
    } else {
        let key = scheme
            .decode
            .decode(signer.secret.expose().into())
            .ok_or(SignError::SecretUnusable)?;
        format!("v1,{}", Encoding::Base64.encode(&Hash::Sha256.mac(&key, &pieces)))
    };
    sample.set(&scheme.signature, &entry);
    Ok(())
}

/// A token in a header is the secret; one in the body or the query stays as the sample has it.
fn present_token(
    definition: &Definition,
    sample: &mut Sample,
    (scheme, signer): (&TokenScheme, &Signer<'_>),
) -> Result<(), SignError> {
    let Some(Source::Header(Name::Fixed(name))) = scheme.at.first().map(|at| &at.source) else {
        return Ok(());
    };
    let prefix = {
        let parsed = definition.parse(sample.raw(signer));
        let prefix = scheme
            .prefix
            .as_ref()
            .and_then(|prefix| prefix.render_str(&Scope::of(&parsed)));
        prefix.map(|prefix| prefix.into_owned()).unwrap_or_default()
    };
    sample.set(name, &format!("{prefix}{}", text_of(signer.secret)?));
    Ok(())
}

fn text_of(secret: &Secret) -> Result<&str, SignError> {
    std::str::from_utf8(secret.expose()).map_err(|_| SignError::SecretUnusable)
}

/// Writes the signed time where the definition reads it; one that is a part of the signature's list is handed back.
fn stamp(
    definition: &Definition,
    sample: &mut Sample,
    (timestamp, signer): (Option<&Timestamp>, &Signer<'_>),
) -> Result<Option<(String, String)>, SignError> {
    let Some(timestamp) = timestamp else {
        return Ok(None);
    };
    let (text, target) = {
        let parsed = definition.parse(sample.raw(signer));
        let format = timestamp
            .format
            .of(&parsed, word)
            .map_err(|_| unsupported("the time's format"))?;
        let text = format.write(signer.now);
        let selectors = timestamp.value.selectors();
        let Some(selector) = selectors.first() else {
            return Ok(None);
        };
        (text, target(selector, &Scope::of(&parsed)))
    };
    match target {
        Some(Target::Part(name)) => return Ok(Some((name, text))),
        Some(Target::Header(name)) => sample.set(&name, &text),
        Some(Target::Body(range)) if range.len() == text.len() => {
            sample.body[range].copy_from_slice(text.as_bytes())
        }
        _ => return Err(unsupported("the signed time")),
    }
    Ok(None)
}

/// Where a value is to be written.
enum Target {
    Part(String),
    Header(String),
    Body(std::ops::Range<usize>),
}

fn target(selector: &Selector, scope: &Scope<'_>) -> Option<Target> {
    match &selector.source {
        Source::Part(PartName::Named(name)) => Some(Target::Part(name.clone())),
        Source::Header(Name::Fixed(name)) => Some(Target::Header(name.clone())),
        _ => selector.place(scope).into_iter().find_map(|place| match place {
            Where::Body { range, .. } => Some(Target::Body(range)),
            _ => None,
        }),
    }
}

/// The signature's text: the code that `make` gives, encoded, in its list, behind its prefix.
fn written(
    definition: &Definition,
    sample: &Sample,
    (signer, part, presented): (&Signer<'_>, Option<&(String, String)>, &Presented),
    make: impl FnOnce(&Scope<'_>, Proving<'_>) -> Option<Vec<u8>>,
) -> Result<String, SignError> {
    let parsed = definition.parse(sample.raw(signer));
    let parts = Parts {
        entries: part
            .iter()
            .map(|(name, value)| (Some(name.as_str()), value.as_str()))
            .collect(),
    };
    let scope = Scope {
        parts: Some(&parts),
        secret: Some(signer.secret.expose()),
        ..Scope::of(&parsed)
    };
    let secrets = [ActiveSecret {
        secret: signer.secret,
        label: None,
    }];
    let proving = Proving {
        secrets: &secrets,
        keys: &NoKeySets,
        received_at: signer.now,
    };
    let code = make(&scope, proving).ok_or(SignError::SecretUnusable)?;
    let encoding = presented
        .encoding
        .of(&parsed, word)
        .map_err(|_| unsupported("the signature's encoding"))?;
    let code = encoding.encode(&code);
    let prefix = presented
        .prefix
        .as_ref()
        .and_then(|prefix| prefix.render_str(&scope))
        .unwrap_or_default();
    let code = match &presented.list {
        None => code,
        Some(List {
            which: Which::Named(name),
            assign,
            separator,
            ..
        }) => {
            let name = name
                .render_str(&scope)
                .ok_or(unsupported("the name of the signature's entry"))?;
            let parts = parts
                .entries
                .iter()
                .map(|(name, value)| format!("{}{assign}{value}{separator}", name.unwrap_or_default()));
            format!("{}{name}{assign}{code}", parts.collect::<String>())
        }
        Some(_) => return Err(unsupported("a signature list without names")),
    };
    Ok(format!("{prefix}{code}"))
}

/// The kind of key says which signature is made: Ed25519, or ECDSA over P-256 with SHA-256 in DER.
fn private_signature(pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8) {
        return Some(pair.sign(message).as_ref().to_vec());
    }
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random).ok()?;
    pair.sign(&random, message)
        .ok()
        .map(|signature| signature.as_ref().to_vec())
}
