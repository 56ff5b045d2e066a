//! Making what verifying compares: message codes, digests, signatures by a private key, the text of a token. In: a scheme
//! and a scope. Out: bytes. A forgery is the same over something else than what is sent.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use tidegate_schemas::Secret;

use super::{Sample, SignError, Signing, unsupported};
use crate::encoding::Encoding;
use crate::key_set::NoKeySets;
use crate::map::Text;
use crate::pick::Scope;
use crate::request::ActiveSecret;
use crate::setting::word;
use crate::signature::Proving;
use crate::signature::asymmetric::PublicKeyScheme;
use crate::signature::digest::DigestScheme;
use crate::signature::hash::Hash;
use crate::signature::hmac::HmacScheme;
use crate::signature::key::Key;
use crate::signature::public_key::KeyAlgorithm;
use crate::signature::signed::Signed;
use crate::signature::standard_webhooks::StandardWebhooks;
use crate::signature::token::TokenScheme;

/// What a forgery has behind all that is signed, and behind a token.
pub(super) const FORGED: &[u8] = b"-forged";

impl Signing<'_> {
    pub fn hmac(
        &self,
        scheme: &HmacScheme,
        scope: &Scope<'_>,
        proving: Proving<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let hash = scheme.hash.of(scope.request, word);
        let hash = hash.map_err(|_| unsupported("the hash of the integration's choice"))?;
        let key = key_bytes(&scheme.key, (scope, proving)).ok_or(SignError::SecretUnusable)?;
        self.signed(&scheme.signed, scope, |pieces| {
            Some(hash.mac(&key, pieces).to_vec())
        })
    }

    pub fn digest(&self, scheme: &DigestScheme, scope: &Scope<'_>) -> Result<Vec<u8>, SignError> {
        let hash = scheme.hash.of(scope.request, word);
        let hash = hash.map_err(|_| unsupported("the hash of the integration's choice"))?;
        self.signed(&scheme.signed, scope, |pieces| Some(hash.digest(pieces).to_vec()))
    }

    pub fn public_key(&self, scheme: &PublicKeyScheme, scope: &Scope<'_>) -> Result<Vec<u8>, SignError> {
        let algorithm = scheme.algorithm.of(scope);
        let algorithm = algorithm.map_err(|_| unsupported("a way of signing that the definition lacks"))?;
        let key = self.private_key()?;
        self.signed(&scheme.signed, scope, |pieces| {
            private_signature(key, algorithm, &pieces.concat())
        })
    }

    pub fn private_key(&self) -> Result<&[u8], SignError> {
        let missing = unsupported("a signature without the private key");
        self.signer.private_key.ok_or(missing)
    }

    /// What `make` gives for the first text that can be written.
    fn signed(
        &self,
        signed: &Signed,
        scope: &Scope<'_>,
        make: impl Fn(&[&[u8]]) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, SignError> {
        let mut made = None;
        let written = signed.any(scope, |pieces: &[Text<'_>]| {
            let mut pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
            pieces.push(self.ending());
            made = make(&pieces);
            true
        });
        written.map_err(|_| unsupported("a signature over what the sample lacks"))?;
        made.ok_or(SignError::SecretUnusable)
    }

    /// The signature header of Standard Webhooks.
    pub fn standard_entry(&self, scheme: &StandardWebhooks, sample: &Sample) -> Result<String, SignError> {
        let header = |name: &str| sample.headers.get(name).unwrap_or_default().as_bytes();
        let (id, timestamp) = (header(&scheme.id), header(&scheme.timestamp));
        let pieces = [id, b".", timestamp, b".", &sample.body, self.ending()];
        let secret = self.signer.secret.expose();
        if secret.starts_with(b"whpk_") {
            let signature = private_signature(self.private_key()?, KeyAlgorithm::Ed25519, &pieces.concat());
            let signature = signature.ok_or(SignError::SecretUnusable)?;
            return Ok(format!("v1a,{}", Encoding::Base64.encode(&signature)));
        }
        let key = scheme.decode.decode(secret.into());
        let code = Hash::Sha256.mac(&key.ok_or(SignError::SecretUnusable)?, &pieces);
        Ok(format!("v1,{}", Encoding::Base64.encode(&code)))
    }

    /// The token as a secret's owner writes it, with its prefix.
    pub fn token_text(
        &self,
        (scheme, sample): (&TokenScheme, &Sample),
        secret: &Secret,
    ) -> Result<String, SignError> {
        let secrets = [ActiveSecret { secret, label: None }];
        let proving = Proving {
            secrets: &secrets,
            keys: &NoKeySets,
            received_at: self.signer.now,
        };
        self.ask(sample, |scope| {
            let token = key_bytes(&scheme.key, (scope, proving)).ok_or(SignError::SecretUnusable)?;
            let token = String::from_utf8(token).map_err(|_| SignError::SecretUnusable)?;
            let prefix = scheme.prefix.as_ref();
            let prefix = prefix.and_then(|prefix| prefix.render_str(scope));
            Ok(format!("{}{token}", prefix.unwrap_or_default()))
        })
    }
}

/// The first key that the secret is.
pub(super) fn key_bytes(key: &Key, at: (&Scope<'_>, Proving<'_>)) -> Option<Vec<u8>> {
    let mut found = None;
    let keep = |key: &[u8]| {
        found = Some(key.to_vec());
        Ok(true)
    };
    key.any(at, keep).ok()?;
    found
}

/// A signature by a PKCS#8 key; none for a key of another kind than the algorithm's.
pub(super) fn private_signature(pkcs8: &[u8], algorithm: KeyAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
    use KeyAlgorithm as A;
    match algorithm {
        A::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()?;
            Some(pair.sign(message).as_ref().to_vec())
        }
        A::P256 => ecdsa(pkcs8, &ECDSA_P256_SHA256_ASN1_SIGNING, message),
        A::P256Fixed => ecdsa(pkcs8, &ECDSA_P256_SHA256_FIXED_SIGNING, message),
        A::P384 => ecdsa(pkcs8, &ECDSA_P384_SHA384_ASN1_SIGNING, message),
        A::P384Fixed => ecdsa(pkcs8, &ECDSA_P384_SHA384_FIXED_SIGNING, message),
        A::RsaSha256 => rsa(pkcs8, &RSA_PKCS1_SHA256, message),
        A::RsaSha384 => rsa(pkcs8, &RSA_PKCS1_SHA384, message),
        A::RsaSha512 => rsa(pkcs8, &RSA_PKCS1_SHA512, message),
        A::PssSha256 => rsa(pkcs8, &RSA_PSS_SHA256, message),
        A::PssSha384 => rsa(pkcs8, &RSA_PSS_SHA384, message),
        A::PssSha512 => rsa(pkcs8, &RSA_PSS_SHA512, message),
        // What nobody needs to send here, only to verify.
        A::RsaSha1 | A::P256Sha1 | A::P521 | A::P521Fixed => None,
    }
}

fn ecdsa(pkcs8: &[u8], algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).ok()?;
    Some(pair.sign(&random, message).ok()?.as_ref().to_vec())
}

fn rsa(pkcs8: &[u8], encoding: &'static dyn RsaEncoding, message: &[u8]) -> Option<Vec<u8>> {
    let pair = RsaKeyPair::from_pkcs8(pkcs8).ok()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .ok()?;
    Some(signature)
}
