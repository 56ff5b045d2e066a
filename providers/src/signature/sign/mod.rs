//! Signing a sample as its provider would, now: the way back of verifying, for `tidegate send`, the demo, load and
//! tests of the house. In: a request without a fresh signature, and the secret. Out: the same with signature and time
//! in place, or on purpose with a wrong one. It proves nothing about the definitions: their fixtures are signed by
//! somebody else's code.

mod jwt;
mod list;
mod make;
mod place;

use std::collections::BTreeMap;

use tidegate_schemas::{Headers, Secret, UnixMillis};

use self::make::FORGED;
use super::presented::Presented;
use super::standard_webhooks::StandardWebhooks;
use super::timestamp::Timestamp;
use super::token::TokenScheme;
use super::{Block, Proving, Scheme};
use crate::body::Element;
use crate::definition::Definition;
use crate::encoding::Encoding;
use crate::key_set::NoKeySets;
use crate::pick::{Parts, Scope};
use crate::request::{ActiveSecret, RawRequest};
use crate::selector::{PartName, Source};
use crate::setting::word;
use crate::verify::secrets_of;

/// A request that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The method, upper case.
    pub method: String,
    /// The public URL as registered at the provider.
    pub url: String,
    /// The headers, names in lower case; a stale signature or time among them is replaced.
    pub headers: Headers,
    /// The body; a signed time or a token in it is replaced.
    pub body: Vec<u8>,
}

/// What a sample is signed with.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The secret that the integration has.
    pub secret: &'a Secret,
    /// The private half (PKCS#8) where the integration or the provider's key set only has a public key.
    pub private_key: Option<&'a [u8]>,
    /// The integration's constants.
    pub cfg: &'a BTreeMap<String, String>,
    /// The time to be signed.
    pub now: UnixMillis,
    /// The secrets that the sample was recorded with: a token in it that is none of them is wrong on purpose, and stays.
    /// Empty: every token is replaced.
    pub recorded: &'a [String],
    /// Whether to make a forgery: something else is signed than is sent, and a token is not the secret.
    pub forge: bool,
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
    /// Nothing proves such a request, so that nothing in it can be forged.
    #[error("nothing proves this request, so that nothing in it can be forged")]
    NothingToForge,
}

const fn unsupported(what: &'static str) -> SignError {
    SignError::Unsupported { what }
}

impl Sample {
    fn raw<'a>(&'a self, signer: &Signer<'a>) -> RawRequest<'a> {
        let (_, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let target = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
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
    /// Signs a sample anew. What needs no signature stays as it is.
    ///
    /// # Errors
    /// [`SignError`] when no block applies, or the signature is one that only the provider can make.
    pub fn sign(&self, mut sample: Sample, signer: &Signer<'_>) -> Result<Sample, SignError> {
        let block = self.block_for(&sample, signer).ok_or(SignError::NoBlock)?;
        if signer.forge && matches!(block.scheme, Scheme::None) {
            return Err(SignError::NothingToForge);
        }
        let mut signing = Signing {
            definition: self,
            signer,
            element: None,
        };
        if !block.per_event {
            signing.sign(block, &mut sample)?;
            return Ok(sample);
        }
        // From the last element on, so that the places of those before it stay true.
        for position in (0..signing.elements(&sample).len()).rev() {
            signing.element = Some(position);
            signing.sign(block, &mut sample)?;
        }
        Ok(sample)
    }

    /// The block that the sample was recorded for, else the first that applies to the secret.
    fn block_for(&self, sample: &Sample, signer: &Signer<'_>) -> Option<&Block> {
        let parsed = self.parse(sample.raw(signer));
        let scope = Scope::of(&parsed);
        let secrets = [active(signer)];
        let places = (0..self.verify.len()).filter(|place| {
            let uses = secrets_of(&self.verify, *place, &secrets);
            let applies = |block: &Block| block.when.as_ref().is_none_or(|when| when.holds(&scope));
            !uses.is_empty() && self.verify.get(*place).is_some_and(applies)
        });
        let applying: Vec<_> = places.filter_map(|place| self.verify.get(place)).collect();
        let recorded = applying.iter().find(|block| block.is_presented(&scope));
        recorded.or(applying.first()).copied()
    }
}

fn active<'a>(signer: &Signer<'a>) -> ActiveSecret<'a> {
    ActiveSecret {
        secret: signer.secret,
        label: None,
    }
}

/// A sample that is being signed, or one element of it.
struct Signing<'s> {
    definition: &'s Definition,
    signer: &'s Signer<'s>,
    element: Option<usize>,
}

impl Signing<'_> {
    fn elements(&self, sample: &Sample) -> Vec<Element> {
        let parsed = self.definition.parse(sample.raw(self.signer));
        parsed.elements().map(<[_]>::to_vec).unwrap_or_default()
    }

    /// Asks of the sample as it is now.
    fn ask<T>(&self, sample: &Sample, ask: impl FnOnce(&Scope<'_>) -> T) -> T {
        let parsed = self.definition.parse(sample.raw(self.signer));
        let elements = parsed.elements().unwrap_or_default();
        let element = self.element.and_then(|position| elements.get(position).copied());
        ask(&Scope {
            element,
            secret: Some(self.signer.secret.expose()),
            ..Scope::of(&parsed)
        })
    }

    /// The same with the secret as what proves.
    fn prove<T>(
        &self,
        (sample, parts): (&Sample, &Parts<'_>),
        make: impl FnOnce(&Scope<'_>, Proving<'_>) -> T,
    ) -> T {
        let secrets = [active(self.signer)];
        let proving = Proving {
            secrets: &secrets,
            keys: &NoKeySets,
            received_at: self.signer.now,
        };
        self.ask(sample, |scope| {
            let parts = Some(parts);
            make(&Scope { parts, ..*scope }, proving)
        })
    }

    fn sign(&self, block: &Block, sample: &mut Sample) -> Result<(), SignError> {
        match &block.scheme {
            Scheme::None => Ok(()),
            Scheme::Hmac(scheme) => {
                let places = (&scheme.presented, scheme.timestamp.as_ref());
                self.present(sample, places, |scope, proving| self.hmac(scheme, scope, proving))
            }
            Scheme::Digest(scheme) => {
                let places = (&scheme.presented, scheme.timestamp.as_ref());
                self.present(sample, places, |scope, _| self.digest(scheme, scope))
            }
            Scheme::PublicKey(scheme) => {
                let places = (&scheme.presented, scheme.timestamp.as_ref());
                self.present(sample, places, |scope, _| self.public_key(scheme, scope))
            }
            Scheme::StandardWebhooks(scheme) => self.standard_webhooks(scheme, sample),
            Scheme::Token(scheme) => self.token(scheme, sample),
            Scheme::Basic => {
                let credentials = [self.signer.secret.expose(), self.ending()].concat();
                let credentials = Encoding::Base64.encode(&credentials);
                sample.set("authorization", &format!("Basic {credentials}"));
                Ok(())
            }
            Scheme::Jwt(scheme) => self.jwt(scheme, sample),
        }
    }

    /// What is behind all that is signed.
    fn ending(&self) -> &'static [u8] {
        if self.signer.forge { FORGED } else { b"" }
    }

    /// Puts the signature that `make` gives, and its time, where the definition looks for them.
    fn present(
        &self,
        sample: &mut Sample,
        (presented, timestamp): (&Presented, Option<&Timestamp>),
        make: impl FnOnce(&Scope<'_>, Proving<'_>) -> Result<Vec<u8>, SignError>,
    ) -> Result<(), SignError> {
        let part = self.stamp(sample, timestamp)?;
        let text = self.written((sample, part.as_ref()), presented, make)?;
        let at = presented.at.first().ok_or(SignError::NoBlock)?;
        if self.put(sample, at, &text)? {
            Ok(())
        } else {
            Err(unsupported("a signature whose place is not in the sample"))
        }
    }

    /// Writes the signed time where the definition reads it; one that is a part of the signature's list is handed back.
    fn stamp(
        &self,
        sample: &mut Sample,
        timestamp: Option<&Timestamp>,
    ) -> Result<Option<(PartName, String)>, SignError> {
        let Some(timestamp) = timestamp else {
            return Ok(None);
        };
        let format = self.ask(sample, |scope| timestamp.format.of(scope.request, word).ok());
        let format = format.ok_or(unsupported("the time's format"))?;
        let text = format.write(self.signer.now);
        let selectors = timestamp.value.selectors();
        let Some(selector) = selectors.first() else {
            return Ok(None);
        };
        if let Source::Part(name) = &selector.source {
            return Ok(Some((name.clone(), text)));
        }
        if self.put(sample, selector, &text)? {
            Ok(None)
        } else {
            Err(unsupported("the signed time"))
        }
    }

    fn standard_webhooks(&self, scheme: &StandardWebhooks, sample: &mut Sample) -> Result<(), SignError> {
        if sample.headers.get(&scheme.id).is_none() {
            sample.set(&scheme.id, &format!("msg_{}", self.signer.now.0));
        }
        sample.set(&scheme.timestamp, &self.signer.now.seconds().to_string());
        let entry = self.standard_entry(scheme, sample)?;
        sample.set(&scheme.signature, &entry);
        Ok(())
    }

    /// Writes the token wherever the recording has it; where it has none, into the first place that can be written.
    fn token(&self, scheme: &TokenScheme, sample: &mut Sample) -> Result<(), SignError> {
        let token = self.token_text((scheme, sample), self.signer.secret)?;
        let recorded = self
            .signer
            .recorded
            .iter()
            .map(|secret| Secret::new(secret.as_str()));
        let recorded: Vec<_> = recorded
            .filter_map(|secret| self.token_text((scheme, sample), &secret).ok())
            .collect();
        let token = format!("{token}{}", String::from_utf8_lossy(self.ending()));
        let mut is_there = self.element.is_some();
        for selector in &scheme.at {
            let have = self.ask(sample, |scope| {
                selector.pick_str(scope).map(std::borrow::Cow::into_owned)
            });
            let Some(have) = have else { continue };
            is_there = true;
            if recorded.is_empty() || recorded.contains(&have) {
                self.put(sample, selector, &token)?;
            }
        }
        match scheme.at.first() {
            Some(selector) if !is_there => self.put(sample, selector, &token).map(|_| ()),
            _ => Ok(()),
        }
    }
}
