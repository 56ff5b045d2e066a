//! Public keys and what they verify: Ed25519, ECDSA on P-256, P-384 and P-521, RSA. In: a key as users paste it (PEM, or hex
//! or base64 of its DER or raw bytes) or as a JWKS names it. Out: whether a signature is its. The sums are ring's; what ring
//! does not do (SHA-1 with ECDSA, P-521) is `curves.rs`.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED,
    ED25519, RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

use super::der::{self, KeyType, Validity};
use super::{curves, pem};
use crate::encoding::{Encoding, decode_base64};

/// A public key, ready to verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Bits);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Bits {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    /// PKCS#1 `RSAPublicKey`.
    Rsa(Vec<u8>),
    /// Modulus and exponent, big-endian.
    RsaNumbers(Vec<u8>, Vec<u8>),
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum KeyAlgorithm {
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ecdsa-p256-sha256")]
    P256,
    #[serde(rename = "ecdsa-p256-sha1")]
    P256Sha1,
    #[serde(rename = "ecdsa-p384-sha384")]
    P384,
    #[serde(rename = "ecdsa-p521-sha512")]
    P521,
    #[serde(rename = "rsa-sha1")]
    RsaSha1,
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
    #[serde(rename = "rsa-sha384")]
    RsaSha384,
    #[serde(rename = "rsa-sha512")]
    RsaSha512,
    #[serde(rename = "rsa-pss-sha256")]
    PssSha256,
    #[serde(rename = "rsa-pss-sha384")]
    PssSha384,
    #[serde(rename = "rsa-pss-sha512")]
    PssSha512,
    /// The two halves of the signature side by side, as JWTs have it.
    #[serde(skip)]
    P256Fixed,
    #[serde(skip)]
    P384Fixed,
    #[serde(skip)]
    P521Fixed,
}

impl PublicKey {
    /// Reads a key as it is pasted: PEM (a public key or a certificate), or hex or base64 of the SPKI or raw key.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if text.starts_with(b"-----BEGIN ") {
            return Self::from_pem(text).map(|(key, _)| key);
        }
        let text = text.strip_prefix(b"whpk_").unwrap_or(text);
        let plain_hex = text.len().is_multiple_of(2) && text.iter().all(u8::is_ascii_hexdigit);
        let bytes = if plain_hex {
            Encoding::Hex.decode(text)
        } else {
            decode_base64(text)
        }?;
        Self::from_raw(&bytes).or_else(|| Self::from_der(&bytes))
    }

    /// Reads the first key or certificate of a PEM text; of a certificate with its validity.
    pub(crate) fn from_pem(text: &[u8]) -> Option<(Self, Option<Validity>)> {
        let block = pem::blocks(text).into_iter().next()?;
        if block.label == "CERTIFICATE" {
            Self::from_certificate(&block.der)
        } else {
            Some((Self::from_der(&block.der)?, None))
        }
    }

    /// Reads a DER certificate, with its validity.
    pub(crate) fn from_certificate(der: &[u8]) -> Option<(Self, Option<Validity>)> {
        let ((key_type, bits), valid) = der::certificate(der)?;
        Some((Self::of(key_type, bits), Some(valid)))
    }

    fn from_der(bytes: &[u8]) -> Option<Self> {
        if der::is_pkcs1(bytes) {
            return Some(Self(Bits::Rsa(bytes.to_vec())));
        }
        let (key_type, bits) = der::public_key(bytes)?;
        Some(Self::of(key_type, bits))
    }

    /// Raw keys tell their kind by their length.
    fn from_raw(bytes: &[u8]) -> Option<Self> {
        let key_type = match (bytes.len(), bytes.first()) {
            (32, _) => KeyType::Ed25519,
            (65, Some(4)) => KeyType::P256,
            (97, Some(4)) => KeyType::P384,
            (133, Some(4)) => KeyType::P521,
            _ => return None,
        };
        Some(Self::of(key_type, bytes))
    }

    fn of(key_type: KeyType, bits: &[u8]) -> Self {
        let bits = bits.to_vec();
        Self(match key_type {
            KeyType::Rsa => Bits::Rsa(bits),
            KeyType::P256 => Bits::P256(bits),
            KeyType::P384 => Bits::P384(bits),
            KeyType::P521 => Bits::P521(bits),
            KeyType::Ed25519 => Bits::Ed25519(bits),
        })
    }

    /// A key of a JWKS; none of a kind that nothing here verifies.
    pub(crate) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let part = |text: &Option<String>| Encoding::Base64Url.decode(text.as_deref()?.as_bytes());
        let bits = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Bits::RsaNumbers(part(&jwk.n)?, part(&jwk.e)?),
            ("OKP", Some("Ed25519")) => Bits::Ed25519(part(&jwk.x)?),
            ("EC", Some("P-256")) => Bits::P256([vec![4], part(&jwk.x)?, part(&jwk.y)?].concat()),
            ("EC", Some("P-384")) => Bits::P384([vec![4], part(&jwk.x)?, part(&jwk.y)?].concat()),
            ("EC", Some("P-521")) => Bits::P521([vec![4], part(&jwk.x)?, part(&jwk.y)?].concat()),
            _ => return None,
        };
        Some(Self(bits))
    }

    /// Whether this key made the signature over the message; never for an algorithm of another kind of key.
    pub(crate) fn verifies(&self, algorithm: KeyAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        use KeyAlgorithm as A;
        let whole = |bits: &[u8], algorithm: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, bits)
                .verify(message, signature)
                .is_ok()
        };
        match (&self.0, algorithm) {
            (Bits::Ed25519(bits), A::Ed25519) => whole(bits, &ED25519),
            (Bits::P256(bits), A::P256) => whole(bits, &ECDSA_P256_SHA256_ASN1),
            (Bits::P256(bits), A::P256Fixed) => whole(bits, &ECDSA_P256_SHA256_FIXED),
            (Bits::P256(bits), A::P256Sha1) => curves::p256_sha1(bits, message, signature),
            (Bits::P521(bits), A::P521) => curves::p521(bits, message, signature),
            (Bits::P521(bits), A::P521Fixed) => curves::p521_fixed(bits, message, signature),
            (Bits::P384(bits), A::P384) => whole(bits, &ECDSA_P384_SHA384_ASN1),
            (Bits::P384(bits), A::P384Fixed) => whole(bits, &ECDSA_P384_SHA384_FIXED),
            (Bits::Rsa(bits), _) => rsa(algorithm).is_some_and(|rsa| whole(bits, rsa)),
            (Bits::RsaNumbers(n, e), _) => rsa(algorithm).is_some_and(|rsa| {
                RsaPublicKeyComponents { n, e }
                    .verify(rsa, message, signature)
                    .is_ok()
            }),
            _ => false,
        }
    }
}

fn rsa(algorithm: KeyAlgorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        KeyAlgorithm::RsaSha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        KeyAlgorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::RsaSha384 => &RSA_PKCS1_2048_8192_SHA384,
        KeyAlgorithm::RsaSha512 => &RSA_PKCS1_2048_8192_SHA512,
        KeyAlgorithm::PssSha256 => &RSA_PSS_2048_8192_SHA256,
        KeyAlgorithm::PssSha384 => &RSA_PSS_2048_8192_SHA384,
        KeyAlgorithm::PssSha512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// A key of a JWKS, as far as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Jwk {
    pub kty: String,
    pub kid: Option<String>,
    #[serde(rename = "use")]
    pub use_: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}
