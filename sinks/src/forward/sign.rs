//! Outgoing signatures: Standard Webhooks by every active secret, and the two legacy headers. The only place that
//! makes them. In: secrets as stored, and what is sent. Out: header values. Verifies nothing.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use ring::signature::Ed25519KeyPair;
use sha2::{Digest, Sha256};
use tidegate_registry::StoredSecret;
use tidegate_schemas::{EventId, Secret, UnixMillis};

/// Secrets are written with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An endpoint's secrets, ready to sign.
pub(crate) struct Signers(Vec<(StoredSecret, Signer)>);

enum Signer {
    /// `v1`: HMAC-SHA256 with the decoded part of a `whsec_…` secret.
    Hmac(Hmac<Sha256>),
    /// `v1a`: Ed25519 with a `whsk_…` key.
    Ed25519(Ed25519KeyPair),
}

impl Signers {
    /// Those of `secrets` that are well-formed.
    pub(crate) fn of(secrets: &[StoredSecret]) -> Self {
        let ready = secrets
            .iter()
            .filter_map(|stored| Some((stored.clone(), Signer::of(stored.secret())?)));
        Self(ready.collect())
    }

    /// The value of `webhook-signature`: one signature for each secret that is active `now`, over
    /// `id.timestamp.body`, the timestamp being `now` in seconds. `None` when no secret is.
    pub(crate) fn sign(&self, id: EventId, now: UnixMillis, body: &[u8]) -> Option<HeaderValue> {
        let head = format!("{id}.{}.", now.seconds());
        let mut value = String::new();
        for (_, signer) in self.0.iter().filter(|(stored, _)| stored.is_active_at(now)) {
            if !value.is_empty() {
                value.push(' ');
            }
            match signer {
                Signer::Hmac(keyed) => {
                    let tag = keyed
                        .clone()
                        .chain_update(head.as_bytes())
                        .chain_update(body)
                        .finalize();
                    value.push_str("v1,");
                    STANDARD.encode_string(tag.into_bytes(), &mut value);
                }
                Signer::Ed25519(pair) => {
                    let signature = pair.sign(&[head.as_bytes(), body].concat());
                    value.push_str("v1a,");
                    STANDARD.encode_string(signature.as_ref(), &mut value);
                }
            }
        }
        let value = HeaderValue::from_str(&value).expect("base64, commas and spaces");
        (!value.is_empty()).then_some(value)
    }
}

impl Signer {
    fn of(secret: &Secret) -> Option<Self> {
        let text = std::str::from_utf8(secret.expose()).ok()?.trim();
        if let Some(encoded) = text.strip_prefix("whsk_") {
            // A seed of 32 bytes, the public half behind it in the 64-byte form.
            let bytes = LENIENT.decode(encoded).ok()?;
            let seed = bytes.get(..32).filter(|_| matches!(bytes.len(), 32 | 64))?;
            return Ed25519KeyPair::from_seed_unchecked(seed)
                .ok()
                .map(Signer::Ed25519);
        }
        let key = LENIENT.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
        if key.is_empty() {
            return None;
        }
        Hmac::new_from_slice(&key).ok().map(Signer::Hmac)
    }
}

/// The legacy headers' values.
#[derive(Clone)]
pub(crate) struct Legacy {
    /// `X-Nango-Signature`: hex SHA-256 of key and body.
    pub(crate) signature: HeaderValue,
    /// `X-Nango-Hmac-Sha256`: hex HMAC-SHA256 of the body.
    pub(crate) hmac: HeaderValue,
}

/// Signs for the legacy headers with the environment's key, as the text that its user was given.
pub(crate) fn legacy(key: &Secret, body: &[u8]) -> Legacy {
    let digest = Sha256::new()
        .chain_update(key.expose())
        .chain_update(body)
        .finalize();
    let keyed = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    let tag = keyed.chain_update(body).finalize().into_bytes();
    let value = |bytes: &[u8]| HeaderValue::from_str(&hex::encode(bytes)).expect("hex");
    Legacy {
        signature: value(&digest),
        hmac: value(&tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};
    use std::time::{Duration, SystemTime};

    fn stored(text: &str) -> StoredSecret {
        StoredSecret::new(Secret::new(text.as_bytes()))
    }

    fn id() -> EventId {
        "0192f0c1-2b3c-8dd6-9bbe-7fea0a7a24bc"
            .parse()
            .expect("a literal UUID")
    }

    #[test]
    fn the_official_library_accepts_each_active_secret_and_no_other() {
        let texts = [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_dGhpcyBpcyBhbm90aGVyIHNlY3JldCE=",
            "whsec_Zm9ybWVybHkgaW4gdXNlISEhISE=",
        ];
        let now = UnixMillis::from(SystemTime::now());
        let mut former = stored(texts[2]);
        former.not_after = Some(now.before(Duration::from_secs(1)));
        let body = br#"{"a":1}"#;
        let signers = Signers::of(&[stored(texts[0]), stored(texts[1]), former]);
        let mut headers = http::HeaderMap::new();
        headers.insert(
            "webhook-id",
            HeaderValue::from_str(&id().to_string()).expect("a UUID"),
        );
        headers.insert("webhook-timestamp", HeaderValue::from(now.seconds()));
        headers.insert(
            "webhook-signature",
            signers.sign(id(), now, body).expect("two are active"),
        );
        let accepted = texts.map(|text| {
            let official = standardwebhooks::Webhook::new(text).expect("a secret");
            official.verify(body, &headers).is_ok()
        });
        assert_eq!(accepted, [true, true, false]);
        let official = standardwebhooks::Webhook::new(texts[0]).expect("a secret");
        assert!(official.verify(br#"{"a":2}"#, &headers).is_err());
    }

    #[test]
    fn ed25519_keys_sign_as_v1a() {
        let seed = [9u8; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed");
        use ring::signature::KeyPair as _;
        let signers = Signers::of(&[stored(&format!("whsk_{}", STANDARD.encode(seed)))]);
        let value = signers
            .sign(id(), UnixMillis(5_000), b"body")
            .expect("an active key");
        let signature = value
            .to_str()
            .expect("text")
            .strip_prefix("v1a,")
            .expect("the scheme")
            .to_owned();
        let signature = STANDARD.decode(signature).expect("base64");
        let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        key.verify(format!("{}.5.body", id()).as_bytes(), &signature)
            .expect("its own signature");
    }

    #[test]
    fn nothing_signs_without_a_usable_secret() {
        for text in ["", "whsec_", "whsec_!!!", "whsk_AAAA"] {
            assert!(
                Signers::of(&[stored(text)])
                    .sign(id(), UnixMillis(1), b"")
                    .is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn legacy_values_are_those_that_openssl_makes() {
        // printf 'keybody' | openssl dgst -sha256; printf 'body' | openssl dgst -sha256 -hmac key
        let made = legacy(&Secret::new(b"key".as_slice()), b"body");
        assert_eq!(made.signature, LEGACY_SIGNATURE);
        assert_eq!(made.hmac, LEGACY_HMAC);
    }

    const LEGACY_SIGNATURE: &str = "1bae80b75a57754f86b3908413e62372297b9c7d6a25568bcb82675d155d149c";
    const LEGACY_HMAC: &str = "515aae133b435d4000956731f68ae5cf5eb85d4f0dc6a546d2bfcd3595ec1ae1";
}
