//! `scheme = "jwt"`: a signed token in a header, or the whole body; or a token whose payload is the body, which does not
//! travel in it. In: a scope, secrets or fetched keys. Out: a proof that the token is genuine, timely, and says what the
//! definition demands of its claims. Only listed algorithms count.

use std::borrow::Cow;

use serde::Deserialize;
use tidegate_schemas::Reason;

use super::hash::Hash;
use super::key::Key;
use super::public_key::KeyAlgorithm;
use super::timestamp::{Timestamp, around};
use super::{Proving, refused, same};
use crate::encoding::Encoding;
use crate::json::{Json, Kind};
use crate::map::Text;
use crate::pick::Scope;
use crate::selector::Selector;
use crate::template::Template;
use crate::time::TimeFormat;
use crate::verdict::{Refusal, Unverified};

/// A block of this scheme.
#[derive(Debug)]
pub(crate) struct JwtScheme {
    pub token: Selector,
    pub prefix: String,
    pub algorithms: Vec<JwtAlgorithm>,
    pub key: Key,
    pub leeway_millis: u64,
    pub require_claims: Vec<String>,
    /// Claim, and the templates of which one must equal it.
    pub claims: Vec<(String, Vec<Template>)>,
    pub claims_with_body: Vec<(String, Vec<Template>)>,
    pub timestamp: Option<Timestamp>,
    /// What is signed in place of claims, and does not travel in the token.
    pub payload: Option<Template>,
}

/// The algorithms of RFC 7518 and 8037 that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Vec<String>>,
    /// `false`: the payload is signed as it is (RFC 7797).
    b64: Option<bool>,
}

/// A token, cut and decoded.
struct Token<'t> {
    header: Header,
    /// Header and claims as they are signed.
    signed: &'t [u8],
    signature: Vec<u8>,
}

impl JwtAlgorithm {
    /// The hash of a symmetric algorithm.
    pub fn hash(self) -> Option<Hash> {
        Some(match self {
            JwtAlgorithm::HS256 => Hash::Sha256,
            JwtAlgorithm::HS384 => Hash::Sha384,
            JwtAlgorithm::HS512 => Hash::Sha512,
            _ => return None,
        })
    }

    /// The way of signing of an asymmetric algorithm.
    pub fn of_public_key(self) -> Option<KeyAlgorithm> {
        Some(match self {
            JwtAlgorithm::RS256 => KeyAlgorithm::RsaSha256,
            JwtAlgorithm::RS384 => KeyAlgorithm::RsaSha384,
            JwtAlgorithm::RS512 => KeyAlgorithm::RsaSha512,
            JwtAlgorithm::PS256 => KeyAlgorithm::PssSha256,
            JwtAlgorithm::PS384 => KeyAlgorithm::PssSha384,
            JwtAlgorithm::PS512 => KeyAlgorithm::PssSha512,
            JwtAlgorithm::ES256 => KeyAlgorithm::P256Fixed,
            JwtAlgorithm::ES384 => KeyAlgorithm::P384Fixed,
            JwtAlgorithm::ES512 => KeyAlgorithm::P521Fixed,
            JwtAlgorithm::EdDsa => KeyAlgorithm::Ed25519,
            JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512 => return None,
        })
    }
}

impl JwtScheme {
    /// The token's text, without its prefix.
    pub fn token<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        let prefix = self.prefix.len();
        Some(match self.token.pick(scope)? {
            Cow::Borrowed(text) => Cow::Borrowed(self.bare(text, prefix).trim_ascii()),
            Cow::Owned(text) => Cow::Owned(self.bare(&text, prefix).trim_ascii().to_vec()),
        })
    }

    fn bare<'t>(&self, text: &'t [u8], length: usize) -> &'t [u8] {
        match text.split_at_checked(length) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(self.prefix.as_bytes()) => rest,
            _ => text,
        }
    }

    /// Proves the request.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Unverified> {
        let Some(token) = self.token(scope) else {
            let detail = format!("no token in `{}`", self.token.text);
            return Err(refused(Reason::SignatureMissing, detail));
        };
        let token = Token::read(&token).map_err(malformed)?;
        let algorithm = self.algorithm(&token.header)?;
        if let Some(payload) = &self.payload {
            let signed = token.with_payload(payload, scope).map_err(malformed)?;
            return around(self.timestamp.as_ref(), scope, || {
                self.verify_signature((scope, proving), &token, (algorithm, &signed))
            });
        }
        self.verify_signature((scope, proving), &token, (algorithm, token.signed))?;
        let claims = scope
            .request
            .claims()
            .ok_or_else(|| malformed("the token's claims are no JSON"))?;
        let own = token
            .signed
            .split(|byte| *byte == b'.')
            .nth(1)
            .and_then(|part| Encoding::Base64Url.decode(part));
        if own.as_deref().map(<[u8]>::trim_ascii) != Some(claims.raw(claims.root())) {
            return Err(malformed(
                "another token's claims stand where a scheme of the definition reads them",
            ));
        }
        let scope = Scope {
            claims: true,
            ..*scope
        };
        around(self.timestamp.as_ref(), &scope, || {
            self.check_claims(claims, &scope)
        })
        .map_err(Unverified::from)
    }

    fn algorithm(&self, header: &Header) -> Result<JwtAlgorithm, Unverified> {
        let known = |extension: &String| self.payload.is_some() && extension == "b64";
        if header.crit.iter().flatten().any(|extension| !known(extension)) {
            return Err(refused(Reason::JwtAlgorithm, "the token has critical extensions"));
        }
        let algorithm =
            crate::setting::word(&header.alg).filter(|algorithm| self.algorithms.contains(algorithm));
        algorithm.ok_or_else(|| {
            refused(
                Reason::JwtAlgorithm,
                "the token's algorithm is not one that the definition lists",
            )
        })
    }

    fn verify_signature(
        &self,
        at: (&Scope<'_>, Proving<'_>),
        token: &Token<'_>,
        (algorithm, signed): (JwtAlgorithm, &[u8]),
    ) -> Result<(), Unverified> {
        let (header, signature) = (&token.header, token.signature.as_slice());
        let proved = match (algorithm.hash(), algorithm.of_public_key()) {
            (Some(hash), _) => self
                .key
                .any(at, |key| Ok(same(&hash.mac(key, &[signed]), signature)))?,
            (None, Some(algorithm)) => {
                let keys = self.key.public_keys(at, header.kid.as_deref())?;
                keys.iter().any(|key| key.verifies(algorithm, signed, signature))
            }
            (None, None) => false,
        };
        if proved {
            Ok(())
        } else {
            Err(refused(
                Reason::SignatureWrong,
                "no key makes the token's signature",
            ))
        }
    }

    fn check_claims(&self, claims: Json<'_>, scope: &Scope<'_>) -> Result<(), Refusal> {
        let find = |name: &str| claims.member(claims.root(), name);
        let wrong =
            |name: &str, what: &str| Refusal::new(Reason::ClaimWrong, format!("the claim `{name}` {what}"));
        for name in &self.require_claims {
            if find(name).and_then(|at| claims.text(at)).is_none() {
                return Err(wrong(name, "is missing"));
            }
        }
        let now = scope.request.raw.received_at.0;
        let time = |name: &str| match find(name).and_then(|at| claims.text(at)) {
            None => Ok(None),
            Some(text) => TimeFormat::Seconds
                .read(&text)
                .map(Some)
                .ok_or_else(|| wrong(name, "is no time")),
        };
        if time("exp")?.is_some_and(|exp| now > exp.0.saturating_add(self.leeway_millis)) {
            return Err(Refusal::new(
                Reason::Expired,
                "the token had expired when it was received",
            ));
        }
        if time("nbf")?.is_some_and(|nbf| now.saturating_add(self.leeway_millis) < nbf.0) {
            return Err(Refusal::new(
                Reason::Expired,
                "the token was not valid yet when it was received",
            ));
        }
        let with_body = if scope.request.raw.body.is_empty() {
            &[][..]
        } else {
            &self.claims_with_body
        };
        for (name, templates) in self.claims.iter().chain(with_body) {
            let expected: Vec<_> = templates
                .iter()
                .filter_map(|template| template.render(scope))
                .collect();
            if expected.is_empty() {
                return Err(wrong(
                    name,
                    "has nothing to be compared with: a constant of the integration is missing",
                ));
            }
            if !claim_values(claims, name)
                .iter()
                .any(|have| expected.iter().any(|expected| same(have, expected)))
            {
                return Err(wrong(name, "is not what the definition demands"));
            }
        }
        Ok(())
    }
}

impl<'t> Token<'t> {
    fn read(token: &'t [u8]) -> Result<Self, &'static str> {
        let cut = "the token is not three parts with dots between";
        let at = token.iter().rposition(|byte| *byte == b'.').ok_or(cut)?;
        let (signed, signature) = token.split_at(at);
        let mut parts = signed.split(|byte| *byte == b'.');
        let (Some(header), Some(_), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(cut);
        };
        let header = Encoding::Base64Url
            .decode(header)
            .ok_or("the token's header is no base64url")?;
        let header =
            serde_json::from_slice(&header).map_err(|_| "the token's header is no JSON with `alg`")?;
        let signature = signature.strip_prefix(b".").unwrap_or_default();
        let signature = Encoding::Base64Url
            .decode(signature)
            .ok_or("the token's signature is no base64url")?;
        Ok(Self {
            header,
            signed,
            signature,
        })
    }

    /// What is signed when the payload does not travel in the token.
    fn with_payload(&self, payload: &Template, scope: &Scope<'_>) -> Result<Vec<u8>, &'static str> {
        let header = self.signed.strip_suffix(b".");
        let header =
            header.ok_or("the token carries claims where the definition says that it is detached")?;
        let mut pieces = Vec::new();
        let missing = |_| "a part of what is signed is missing";
        payload.collect(scope, &mut pieces).map_err(missing)?;
        let payload = pieces.concat();
        let as_it_is = self.header.b64 == Some(false) && self.header.crit.is_some();
        Ok(match as_it_is {
            true => [header, b".", &payload].concat(),
            false => [header, b".", Encoding::Base64Url.encode(&payload).as_bytes()].concat(),
        })
    }
}

fn malformed(what: &'static str) -> Unverified {
    refused(Reason::JwtMalformed, what)
}

/// A claim's text, or the texts of a claim that is a list.
fn claim_values<'r>(claims: Json<'r>, name: &str) -> Vec<Text<'r>> {
    let Some(at) = claims.member(claims.root(), name) else {
        return Vec::new();
    };
    if claims.kind(at) == Kind::Array {
        let elements = claims.elements(at, 64).unwrap_or_default();
        return elements
            .into_iter()
            .filter_map(|element| claims.text(element))
            .collect();
    }
    claims.text(at).into_iter().collect()
}
