//! A call from a process that wants to write the registry to the one that may: sealed under a key derived from the
//! encryption key, so that whoever has not that key can make no call, read none and answer none.
//! In: what is asked, or sealed bytes. Out: sealed bytes, or what was asked; the reply the same way, bound to its call.
//! Sends nothing.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_schemas::{Secret, UnixMillis};

use crate::entity::{EntityRef, StoredSecret};
use crate::keyring::{Keyring, SealError};
use crate::writer::{Write, WriteError, Written};

const VERSION: u32 = 1;
const PURPOSE: &str = "tidegate calls of the registry's writer, version 1";
const CALL: &[u8] = b"call";
const NONCE_BYTES: usize = 24;
/// By how much two machines' clocks may differ, and how long a call is remembered so that it counts once.
const TOLERANCE_MS: u64 = 300_000;
/// Calls remembered at once.
const REMEMBERED_MAX: usize = 100_000;

/// What is asked of the writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Write all of these, or nothing.
    Write(Vec<Write>),
    /// Keep a secret that a handshake delivered.
    StoreSecret { at: EntityRef, secret: Plain },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It is written.
    Written {
        versions: Vec<u64>,
        generated: Vec<(EntityRef, Option<String>, Plain)>,
        end: u64,
    },
    /// This process does not write the registry; nothing was done.
    NotWriter,
    /// The writer refused it or has failed.
    Refused {
        label: String,
        text: String,
        is_retryable: bool,
    },
}

/// Bytes that are a secret, inside what is sealed as a whole.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Plain(String);

impl Plain {
    pub(crate) fn of(secret: &Secret) -> Self {
        Self(STANDARD_NO_PAD.encode(secret.expose()))
    }

    pub(crate) fn secret(&self) -> Result<Secret, CallError> {
        let bytes = STANDARD_NO_PAD.decode(&self.0);
        bytes.map(Secret::new).map_err(|_| CallError::Undecodable)
    }
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("…")
    }
}

/// A call that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Its key is not among this process's.
    #[error(
        "a call to the registry's writer is sealed under key {key_id}, which this process has not: give all processes \
         the same key file"
    )]
    UnknownKey {
        /// The key it names.
        key_id: String,
    },
    /// It does not open: made without the key, damaged, or an answer to something else.
    #[error(
        "a call to the registry's writer, or its answer, does not open under its key: it is forged or damaged"
    )]
    Forged,
    /// It opens and cannot be read.
    #[error(
        "a call to the registry's writer, or its answer, cannot be read: run the same version everywhere"
    )]
    Undecodable,
    /// Its time is not now.
    #[error(
        "a call to the registry's writer was made {differs_ms} ms away from this machine's time, at most \
         {TOLERANCE_MS} are allowed: set the clocks"
    )]
    Late {
        /// By how much.
        differs_ms: u64,
    },
    /// It came before.
    #[error("a call to the registry's writer came twice")]
    Repeated,
    /// Too many calls are remembered.
    #[error("more than {REMEMBERED_MAX} calls came to the registry's writer within minutes: try again later")]
    TooMany,
    /// A secret in it does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
}

#[derive(Serialize, Deserialize)]
struct Call {
    v: u32,
    at: UnixMillis,
    ask: Ask,
}

/// What ties a reply to its call: the call's key, and its random number.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    key_id: String,
    number: [u8; NONCE_BYTES],
}

/// Makes calls and opens them.
pub(crate) struct Calls {
    keyring: Arc<Keyring>,
    seen: Mutex<HashMap<[u8; NONCE_BYTES], UnixMillis>>,
}

impl Calls {
    pub(crate) fn new(keyring: Arc<Keyring>) -> Self {
        Self {
            keyring,
            seen: Mutex::default(),
        }
    }

    /// Seals what is asked. Secrets inside entities are sealed as in the journal.
    pub(crate) fn seal(&self, mut ask: Ask, now: UnixMillis) -> (Vec<u8>, Thread) {
        if let Ask::Write(writes) = &mut ask {
            for entity in writes.iter_mut().filter_map(Write::entity_mut) {
                self.keyring.unseal_outdated(entity);
                self.keyring.seal(entity);
            }
        }
        let call = Call {
            v: VERSION,
            at: now,
            ask,
        };
        let thread = Thread {
            key_id: self.keyring.current_id().to_owned(),
            number: random(),
        };
        let sealed = self.seal_under(&thread, (CALL, thread.number), &call);
        (sealed.unwrap_or_default(), thread)
    }

    /// Opens a call that came in at `now`; it counts once.
    pub(crate) fn open(&self, sealed: &[u8], now: UnixMillis) -> Result<(Ask, Thread), CallError> {
        let thread = thread_of(sealed)?;
        let call: Call = self.open_under(&thread.key_id, CALL, sealed)?;
        if call.v != VERSION {
            return Err(CallError::Undecodable);
        }
        let differs_ms = call.at.0.abs_diff(now.0);
        if differs_ms > TOLERANCE_MS {
            return Err(CallError::Late { differs_ms });
        }
        self.remember(thread.number, now)?;
        let mut ask = call.ask;
        if let Ask::Write(writes) = &mut ask {
            for entity in writes.iter_mut().filter_map(Write::entity_mut) {
                self.keyring.open(entity)?;
            }
        }
        Ok((ask, thread))
    }

    /// Seals the reply to a call.
    pub(crate) fn seal_reply(&self, reply: &Reply, to: &Thread) -> Result<Vec<u8>, CallError> {
        self.seal_under(to, (&to.number, random()), reply)
    }

    /// Opens the reply to a call.
    pub(crate) fn open_reply(&self, sealed: &[u8], to: &Thread) -> Result<Reply, CallError> {
        self.open_under(&to.key_id, &to.number, sealed)
    }

    fn remember(&self, number: [u8; NONCE_BYTES], now: UnixMillis) -> Result<(), CallError> {
        let mut seen = self.seen.lock();
        if seen.len() >= REMEMBERED_MAX {
            // One may be as far ahead of this clock as another is behind it.
            seen.retain(|_, at| at.0.abs_diff(now.0) <= 2 * TOLERANCE_MS);
        }
        if seen.len() >= REMEMBERED_MAX {
            return Err(CallError::TooMany);
        }
        match seen.insert(number, now) {
            None => Ok(()),
            Some(_) => Err(CallError::Repeated),
        }
    }

    fn cipher(&self, key_id: &str) -> Result<XChaCha20Poly1305, CallError> {
        let key = self.keyring.derive_from(key_id, PURPOSE);
        let key = key.ok_or_else(|| CallError::UnknownKey {
            key_id: key_id.to_owned(),
        })?;
        Ok(XChaCha20Poly1305::new_from_slice(key.expose()).expect("a derived key has the cipher's size"))
    }

    /// The key id's length, the key id, the nonce, the ciphertext.
    fn seal_under(
        &self,
        thread: &Thread,
        (bound_to, nonce): (&[u8], [u8; NONCE_BYTES]),
        content: &impl Serialize,
    ) -> Result<Vec<u8>, CallError> {
        let text = serde_json::to_vec(content).expect("a call has only text keys");
        let payload = Payload {
            msg: &text,
            aad: bound_to,
        };
        let cipher = self.cipher(&thread.key_id)?;
        let ciphertext = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a write is far below the cipher's limit");
        let length = u8::try_from(thread.key_id.len()).expect("a key's id has eight characters");
        Ok([&[length], thread.key_id.as_bytes(), &nonce, &ciphertext].concat())
    }

    fn open_under<T: DeserializeOwned>(
        &self,
        key_id: &str,
        bound_to: &[u8],
        sealed: &[u8],
    ) -> Result<T, CallError> {
        let (_, nonce, ciphertext) = parts_of(sealed)?;
        let payload = Payload {
            msg: ciphertext,
            aad: bound_to,
        };
        let opened = self.cipher(key_id)?.decrypt(&XNonce::from(*nonce), payload);
        let text = opened.map_err(|_| CallError::Forged)?;
        serde_json::from_slice(&text).map_err(|_| CallError::Undecodable)
    }
}

type Parts<'a> = (&'a str, &'a [u8; NONCE_BYTES], &'a [u8]);

fn parts_of(sealed: &[u8]) -> Result<Parts<'_>, CallError> {
    let parts = || {
        let (length, rest) = sealed.split_first()?;
        let (key_id, rest) = rest.split_at_checked(usize::from(*length))?;
        let (nonce, ciphertext) = rest.split_first_chunk()?;
        Some((std::str::from_utf8(key_id).ok()?, nonce, ciphertext))
    };
    parts().ok_or(CallError::Forged)
}

fn thread_of(sealed: &[u8]) -> Result<Thread, CallError> {
    let (key_id, number, _) = parts_of(sealed)?;
    Ok(Thread {
        key_id: key_id.to_owned(),
        number: *number,
    })
}

fn random() -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

impl Reply {
    /// What a write came to, where the writer says so itself.
    pub(crate) fn of(result: &Result<Written, WriteError>) -> Self {
        match result {
            Ok(written) => {
                let plain = |(entity, stored): &(EntityRef, StoredSecret)| {
                    (entity.clone(), stored.label.clone(), Plain::of(stored.secret()))
                };
                Reply::Written {
                    versions: written.versions.clone(),
                    generated: written.generated.iter().map(plain).collect(),
                    end: written.end,
                }
            }
            Err(error) => Reply::Refused {
                label: error.label().to_owned(),
                text: error.to_string(),
                is_retryable: error.is_retryable(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{Endpoint, Entity};
    use crate::keyring::KEY_BYTES;
    use tidegate_schemas::EnvironmentId;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn calls(keys: &[u8]) -> Calls {
        let keys: Vec<Secret> = keys.iter().map(|byte| Secret::new([*byte; KEY_BYTES])).collect();
        Calls::new(Arc::new(Keyring::new(&keys).expect("keys of 32 bytes")))
    }

    fn endpoint() -> Ask {
        let mut endpoint = Endpoint::new(EnvironmentId::new(NOW), "main", "https://example.com/", NOW);
        endpoint.secrets = vec![StoredSecret::new(Secret::new("the-plaintext-of-it"))];
        Ask::Write(vec![Write::put(Entity::Endpoint(endpoint))])
    }

    #[test]
    fn what_is_asked_comes_whole_and_hidden_and_so_does_the_reply() {
        let (here, there) = (calls(&[1]), calls(&[2, 1]));
        let (sealed, thread) = here.seal(endpoint(), NOW);
        let shown = String::from_utf8_lossy(&sealed).into_owned();
        assert!(
            !shown.contains("example.com") && !shown.contains("plaintext"),
            "{shown}"
        );
        let (asked, to) = there.open(&sealed, NOW).expect("made with the same key");
        let Ask::Write(writes) = asked else {
            panic!("another question came out")
        };
        let Some(Write::Put(entity)) = writes.first() else {
            panic!("another write came out")
        };
        let Entity::Endpoint(endpoint) = entity.as_ref() else {
            panic!("another entity came out")
        };
        assert_eq!(endpoint.secrets[0].secret().expose(), b"the-plaintext-of-it");
        let reply = there
            .seal_reply(&Reply::NotWriter, &to)
            .expect("the key is there");
        assert!(matches!(here.open_reply(&reply, &thread), Ok(Reply::NotWriter)));
        let (_, other) = here.seal(self::endpoint(), NOW);
        assert_eq!(
            here.open_reply(&reply, &other).err(),
            Some(CallError::Forged),
            "the reply to another call"
        );
    }

    #[test]
    fn a_call_counts_once_and_only_now() {
        let calls = calls(&[1]);
        let (sealed, _) = calls.seal(endpoint(), NOW);
        let late = UnixMillis(NOW.0 + TOLERANCE_MS + 1);
        assert_eq!(
            calls.open(&sealed, late).err(),
            Some(CallError::Late {
                differs_ms: TOLERANCE_MS + 1
            })
        );
        assert!(calls.open(&sealed, UnixMillis(NOW.0 + TOLERANCE_MS)).is_ok());
        assert_eq!(calls.open(&sealed, NOW).err(), Some(CallError::Repeated));
    }

    #[test]
    fn whoever_has_not_the_key_is_refused() {
        let (sealed, _) = calls(&[1]).seal(endpoint(), NOW);
        let refused = calls(&[2]).open(&sealed, NOW).err();
        assert!(
            matches!(refused, Some(CallError::UnknownKey { .. })),
            "{refused:?}"
        );
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(calls(&[1]).open(&damaged, NOW).is_err(), "byte {at}");
            assert!(calls(&[1]).open(&sealed[..at], NOW).is_err(), "cut at {at}");
        }
    }
}
