//! A secret as an entity holds it: sealed for the journal, open in memory, never shown.
//! In: a plaintext once, at creation or from the journal through the keyring. Out: the bytes, by name, to those who
//! sign and verify; a hint to everybody else. Encrypts nothing itself: that is the keyring's.

use serde::{Deserialize, Serialize};
use tidegate_schemas::{Secret, UnixMillis};

/// How many characters a secret must have before its last four may be shown.
const HINT_CHARS_MIN: usize = 16;

/// One secret of an entity, with the time in which it counts.
///
/// Made from a plaintext by [`StoredSecret::new`]; the writer seals it. Serialized it holds ciphertext alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct StoredSecret {
    /// Tells secrets apart where a provider has one per webhook; a secret without a label serves all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Counts from this time on; `None`: always has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<UnixMillis>,
    /// Counts until just before this time; `None`: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<UnixMillis>,
    /// `<key id>.<base64 of nonce and ciphertext>`; empty until the writer has sealed it.
    pub(crate) sealed: String,
    /// Empty until the keyring has opened it, and an empty secret verifies nobody.
    #[serde(skip, default = "nothing")]
    pub(crate) secret: Secret,
}

impl StoredSecret {
    /// A secret that counts from now on and for ever.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            label: None,
            not_before: None,
            not_after: None,
            sealed: String::new(),
            secret,
        }
    }

    /// The secret's bytes.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whether it counts at `time`.
    #[must_use]
    pub fn is_active_at(&self, time: UnixMillis) -> bool {
        self.not_before.is_none_or(|from| from <= time) && self.not_after.is_none_or(|until| time < until)
    }

    /// What may be shown: `…` and the last four characters, or `…` alone when the secret is too short for that.
    #[must_use]
    pub fn hint(&self) -> String {
        let Ok(text) = std::str::from_utf8(self.secret.expose()) else {
            return "…".to_owned();
        };
        let chars = text.chars().count();
        if chars < HINT_CHARS_MIN {
            return "…".to_owned();
        }
        format!("…{}", text.chars().skip(chars - 4).collect::<String>())
    }
}

/// The secrets among `secrets` that count at `time`.
pub fn active_at(secrets: &[StoredSecret], time: UnixMillis) -> impl Iterator<Item = &StoredSecret> {
    secrets.iter().filter(move |secret| secret.is_active_at(time))
}

/// Two are equal when they hold the same bytes for the same use and time, however they are sealed.
impl PartialEq for StoredSecret {
    fn eq(&self, other: &Self) -> bool {
        self.secret.expose() == other.secret.expose()
            && self.label == other.label
            && self.not_before == other.not_before
            && self.not_after == other.not_after
    }
}

impl std::fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredSecret(…)")
    }
}

fn nothing() -> Secret {
    Secret::new(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> StoredSecret {
        StoredSecret::new(Secret::new(text.as_bytes()))
    }

    #[test]
    fn a_hint_never_shows_a_short_secret() {
        assert_eq!(stored("hunter2").hint(), "…");
        assert_eq!(stored("0123456789abcde").hint(), "…");
        assert_eq!(stored("0123456789abcdef").hint(), "…cdef");
        assert_eq!(StoredSecret::new(Secret::new(vec![0xff; 32])).hint(), "…");
    }

    #[test]
    fn nothing_prints_the_plaintext() {
        let secret = stored("a-very-long-plaintext-secret");
        assert!(!format!("{secret:?}").contains("plaintext"));
        assert!(
            !serde_json::to_string(&secret)
                .expect("serializes")
                .contains("plaintext")
        );
    }

    #[test]
    fn validity_is_inclusive_at_its_start_and_exclusive_at_its_end() {
        let mut secret = stored("x");
        secret.not_before = Some(UnixMillis(10));
        secret.not_after = Some(UnixMillis(20));
        let active: Vec<bool> = [9, 10, 19, 20]
            .map(|t| secret.is_active_at(UnixMillis(t)))
            .to_vec();
        assert_eq!(active, [false, true, true, false]);
    }
}
