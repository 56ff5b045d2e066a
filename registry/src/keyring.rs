//! Sealing secrets for the journal: XChaCha20-Poly1305 under keys that rotate.
//! In: key bytes, plaintexts. Out: texts `<key id>.<base64 of nonce and ciphertext>`, and the plaintexts again. The
//! ciphertext is bound to its entity and purpose, so that one cannot be put in another's place. Reads no file: see
//! `key_file`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use tidegate_schemas::Secret;

use crate::entity::{Entity, EntityRef};

/// Bytes of an encryption key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// A secret that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed under a key that is not at hand.
    #[error(
        "a secret of {of} is sealed under key {key_id}, which is not among the configured keys ({known}): add that key \
         below the current one"
    )]
    UnknownKey {
        /// Whose secret.
        of: EntityRef,
        /// The key it names.
        key_id: String,
        /// The ids of the keys at hand.
        known: String,
    },
    /// The ciphertext is damaged, or was made for another entity.
    #[error(
        "a secret of {of} does not open under its key {key_id}: it is damaged or was sealed for another entity"
    )]
    Forged {
        /// Whose secret.
        of: EntityRef,
        /// The key it names.
        key_id: String,
    },
    /// A configured key has the wrong size.
    #[error(
        "an encryption key has {found} bytes: give {KEY_BYTES} bytes, for example from `openssl rand -base64 32`"
    )]
    KeySize {
        /// Its bytes.
        found: usize,
    },
    /// No key was given.
    #[error(
        "there is no encryption key: give one of {KEY_BYTES} bytes, for example from `openssl rand -base64 32`"
    )]
    NoKey,
}

/// The keys that secrets are sealed under: the first seals, all of them open.
pub struct Keyring {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
    derivation: Secret,
}

impl Keyring {
    /// A keyring of `keys`, 32 bytes each, the current one first.
    ///
    /// # Errors
    /// [`SealError::NoKey`] without any, [`SealError::KeySize`] when one is not 32 bytes long.
    pub fn new(keys: &[Secret]) -> Result<Self, SealError> {
        let keys = keys.iter().map(Key::new).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SealError::NoKey);
        }
        Ok(Self { keys })
    }

    /// The id of the key that seals now.
    #[must_use]
    pub fn current_id(&self) -> &str {
        &self.current().id
    }

    /// A key for another use, which reveals nothing of the encryption key: equal in all processes that share the
    /// current one. `purpose` must be a constant text of the program.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> Secret {
        self.current().derive(purpose)
    }

    /// The same from the key of this id; `None` when that is not at hand.
    pub(crate) fn derive_from(&self, key_id: &str, purpose: &'static str) -> Option<Secret> {
        let key = self.keys.iter().find(|key| key.id == key_id)?;
        Some(key.derive(purpose))
    }

    /// Seals every secret of `entity` that is not sealed yet.
    pub(crate) fn seal(&self, entity: &mut Entity) {
        let of = entity.reference();
        for (purpose, secret) in entity.secrets_mut() {
            if secret.sealed.is_empty() {
                secret.sealed = self.seal_text(&of, &purpose, &secret.secret);
            }
        }
    }

    /// Opens every secret of `entity`.
    pub(crate) fn open(&self, entity: &mut Entity) -> Result<(), SealError> {
        let of = entity.reference();
        for (purpose, secret) in entity.secrets_mut() {
            secret.secret = self.open_text(&of, &purpose, &secret.sealed)?;
        }
        if let Entity::Integration(integration) = entity {
            integration.join_constants();
        }
        Ok(())
    }

    /// Whether a secret of `entity` is not sealed under the current key.
    pub(crate) fn is_outdated(&self, entity: &mut Entity) -> bool {
        let current = format!("{}.", self.current_id());
        let mut secrets = entity.secrets_mut().into_iter();
        secrets.any(|(_, secret)| !secret.sealed.starts_with(&current))
    }

    /// Takes the seal off every secret of `entity` whose key is not the current one, or whose purpose has changed,
    /// so that the next [`Keyring::seal`] seals it anew.
    pub(crate) fn unseal_outdated(&self, entity: &mut Entity) {
        let of = entity.reference();
        for (purpose, secret) in entity.secrets_mut() {
            let current = secret.sealed.starts_with(&format!("{}.", self.current_id()));
            if !current || self.open_text(&of, &purpose, &secret.sealed).is_err() {
                secret.sealed.clear();
            }
        }
    }

    fn current(&self) -> &Key {
        self.keys.first().expect("a keyring is made of at least one key")
    }

    fn seal_text(&self, of: &EntityRef, purpose: &str, secret: &Secret) -> String {
        let key = self.current();
        let mut sealed = vec![0u8; NONCE_BYTES];
        getrandom::fill(&mut sealed).expect("the operating system gives randomness");
        let bound_to = bound_to(of, purpose);
        let payload = Payload {
            msg: secret.expose(),
            aad: &bound_to,
        };
        let nonce = XNonce::try_from(sealed.as_slice()).expect("the nonce has 24 bytes");
        let ciphertext = key
            .cipher
            .encrypt(&nonce, payload)
            .expect("a secret is far below the cipher's limit");
        sealed.extend_from_slice(&ciphertext);
        format!("{}.{}", key.id, STANDARD_NO_PAD.encode(sealed))
    }

    fn open_text(&self, of: &EntityRef, purpose: &str, sealed: &str) -> Result<Secret, SealError> {
        let (key_id, text) = sealed.split_once('.').unwrap_or((sealed, ""));
        let Some(key) = self.keys.iter().find(|key| key.id == key_id) else {
            let known: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
            return Err(SealError::UnknownKey {
                of: of.clone(),
                key_id: key_id.to_owned(),
                known: known.join(", "),
            });
        };
        key.open(&bound_to(of, purpose), text)
            .ok_or_else(|| SealError::Forged {
                of: of.clone(),
                key_id: key_id.to_owned(),
            })
    }
}

impl Key {
    fn new(bytes: &Secret) -> Result<Self, SealError> {
        let size_error = SealError::KeySize {
            found: bytes.expose().len(),
        };
        let cipher = XChaCha20Poly1305::new_from_slice(bytes.expose()).map_err(|_| size_error)?;
        let mut hash = Sha256::new();
        hash.update(b"tidegate key id\0");
        hash.update(bytes.expose());
        let id = hex::encode(&hash.finalize()[..4]);
        Ok(Self {
            id,
            cipher,
            derivation: bytes.clone(),
        })
    }

    /// HKDF-SHA256; the encryption key itself seals secrets and nothing else.
    fn derive(&self, purpose: &'static str) -> Secret {
        let mut derived = [0u8; KEY_BYTES];
        Hkdf::<Sha256>::new(Some(b"tidegate"), self.derivation.expose())
            .expand(purpose.as_bytes(), &mut derived)
            .expect("32 bytes are far below the limit of an expansion");
        Secret::new(derived)
    }

    fn open(&self, bound_to: &[u8], text: &str) -> Option<Secret> {
        let sealed = STANDARD_NO_PAD.decode(text).ok()?;
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload {
            msg: ciphertext,
            aad: bound_to,
        };
        let nonce = XNonce::try_from(nonce).ok()?;
        self.cipher.decrypt(&nonce, payload).ok().map(Secret::new)
    }
}

/// What a ciphertext is bound to: its parts, each with its length, so that no two entities yield the same bytes.
fn bound_to(of: &EntityRef, purpose: &str) -> Vec<u8> {
    let reference = serde_json::to_vec(of).expect("a reference has only text");
    let mut bytes = b"tidegate secret v1".to_vec();
    for part in [reference.as_slice(), purpose.as_bytes()] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::{EnvironmentId, UnixMillis};

    use super::*;
    use crate::entity::{Integration, StoredSecret};

    const PLAINTEXT: &[u8] = b"whsec_plaintext";

    fn keyring(keys: &[u8]) -> Keyring {
        let keys: Vec<Secret> = keys.iter().map(|byte| Secret::new([*byte; KEY_BYTES])).collect();
        Keyring::new(&keys).expect("keys of 32 bytes")
    }

    fn sealed_integration(keyring: &Keyring) -> Integration {
        let now = UnixMillis(1);
        let mut integration = Integration::new(EnvironmentId::new(now), "crm", "any", now);
        integration.secrets = vec![StoredSecret::new(Secret::new(PLAINTEXT))];
        let mut entity = Entity::Integration(integration);
        keyring.seal(&mut entity);
        let Entity::Integration(integration) = entity else {
            unreachable!("it was one")
        };
        integration
    }

    /// Opens the integration as read back from JSON; gives its secret's bytes.
    fn reopened(keyring: &Keyring, integration: &Integration) -> Result<Vec<u8>, SealError> {
        let json = serde_json::to_string(integration).expect("serializes");
        assert!(!json.contains("plaintext"), "{json}");
        let mut entity = Entity::Integration(serde_json::from_str(&json).expect("its own JSON"));
        keyring.open(&mut entity)?;
        let Entity::Integration(integration) = entity else {
            unreachable!("it was one")
        };
        Ok(integration.secrets[0].secret().expose().to_vec())
    }

    #[test]
    fn a_sealed_secret_opens_again() {
        let integration = sealed_integration(&keyring(&[1]));
        assert_eq!(reopened(&keyring(&[1]), &integration).expect("opens"), PLAINTEXT);
    }

    #[test]
    fn a_wrong_key_is_refused_by_name() {
        let integration = sealed_integration(&keyring(&[1]));
        let error = reopened(&keyring(&[2]), &integration).expect_err("another key");
        assert!(
            matches!(&error, SealError::UnknownKey { key_id, .. } if key_id == keyring(&[1]).current_id())
        );
    }

    #[test]
    fn keys_rotate() {
        let old = sealed_integration(&keyring(&[1]));
        let rotated = keyring(&[2, 1]);
        assert_eq!(
            reopened(&rotated, &old).expect("the old key is still there"),
            PLAINTEXT
        );
        let mut entity = Entity::Integration(old);
        assert!(rotated.is_outdated(&mut entity));
        rotated.open(&mut entity).expect("the old key is still there");
        rotated.unseal_outdated(&mut entity);
        rotated.seal(&mut entity);
        assert!(
            !rotated.is_outdated(&mut entity),
            "sealed under the current key now"
        );
        let Entity::Integration(new) = entity else {
            unreachable!("it was one")
        };
        assert_eq!(
            reopened(&keyring(&[2]), &new).expect("needs only the new key"),
            PLAINTEXT
        );
    }

    #[test]
    fn a_ciphertext_in_another_place_is_refused() {
        let ring = keyring(&[1]);
        let integration = sealed_integration(&ring);
        let mut other = sealed_integration(&ring);
        other.secrets[0].sealed.clone_from(&integration.secrets[0].sealed);
        assert!(
            matches!(reopened(&ring, &other), Err(SealError::Forged { .. })),
            "another entity"
        );
        let mut relabelled = integration.clone();
        relabelled.secrets[0].label = Some("hook-7".into());
        assert!(
            matches!(reopened(&ring, &relabelled), Err(SealError::Forged { .. })),
            "another label"
        );
    }

    #[test]
    fn every_damaged_character_is_refused() {
        let ring = keyring(&[1]);
        let integration = sealed_integration(&ring);
        for at in 0..integration.secrets[0].sealed.len() {
            let mut damaged = integration.clone();
            let mut bytes = damaged.secrets[0].sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            damaged.secrets[0].sealed = String::from_utf8(bytes).expect("ASCII");
            assert!(reopened(&ring, &damaged).is_err(), "character {at}");
        }
    }

    #[test]
    fn a_derived_key_depends_on_key_and_purpose() {
        let derived = |keys: &[u8], purpose| keyring(keys).derive(purpose).expose().to_vec();
        assert_eq!(derived(&[1], "a"), derived(&[1, 2], "a"));
        assert_ne!(derived(&[1], "a"), derived(&[2], "a"));
        assert_ne!(derived(&[1], "a"), derived(&[1], "b"));
    }

    #[test]
    fn keys_of_the_wrong_size_are_refused() {
        let short = Keyring::new(&[Secret::new([1u8; 31])]);
        assert_eq!(short.err(), Some(SealError::KeySize { found: 31 }));
        assert_eq!(Keyring::new(&[]).err(), Some(SealError::NoKey));
    }
}
