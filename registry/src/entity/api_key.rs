//! A key of the API: only its hash is kept.
//! In: nothing, or a key's text as configured. Out: the entity, and once the text. Authorizes nothing itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidegate_schemas::{EnvironmentId, Secret, UnixMillis};
use uuid::Uuid;

/// What every generated key begins with, so that secret scanners find it.
const PREFIX: &str = "tgk_";

/// The id of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiKeyId(pub Uuid);

impl std::fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// A key of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Unique everywhere and for ever.
    pub id: ApiKeyId,
    /// The one environment it opens; `None`: an admin key, which opens all.
    pub environment: Option<EnvironmentId>,
    /// What its user calls it; unique in the environment.
    pub name: String,
    /// Raised by one with every write; 0 before the first.
    pub version: u64,
    /// When it was first written.
    pub created_at: UnixMillis,
    /// When it was last written.
    pub updated_at: UnixMillis,
    /// Opens nothing from this time on; `None`: never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<UnixMillis>,
    /// SHA-256 of the key's text, lower-case hex. The text has 256 random bits, so nothing slower is needed.
    pub hash: String,
    /// The text's last four characters.
    pub hint: String,
}

impl ApiKey {
    /// A new key and its text, which is never to be had again.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    #[must_use]
    pub fn generate(environment: Option<EnvironmentId>, name: &str, now: UnixMillis) -> (Self, Secret) {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let key = Self::from_text(environment, name, &text, now);
        (key, Secret::new(text))
    }

    /// The entity for a key whose text somebody else made (the admin key from the configuration).
    #[must_use]
    pub fn from_text(environment: Option<EnvironmentId>, name: &str, text: &str, now: UnixMillis) -> Self {
        let nanos = u32::try_from(now.0 % 1000).expect("less than 1000") * 1_000_000;
        let time = uuid::Timestamp::from_unix(uuid::NoContext, now.0 / 1000, nanos);
        let id = ApiKeyId(Uuid::new_v7(time));
        let tail = text
            .char_indices()
            .rev()
            .nth(3)
            .map_or(text, |(at, _)| &text[at..]);
        Self {
            id,
            environment,
            name: name.to_owned(),
            version: 0,
            created_at: now,
            updated_at: now,
            not_after: None,
            hash: Self::hash_of(text),
            hint: format!("…{tail}"),
        }
    }

    /// The hash under which a key's text is kept.
    #[must_use]
    pub fn hash_of(text: &str) -> String {
        hex::encode(Sha256::digest(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_not_kept() {
        let (key, text) = ApiKey::generate(None, "ci", UnixMillis(1));
        let text = std::str::from_utf8(text.expose()).expect("base64 is text");
        assert!(
            text.starts_with("tgk_") && text.len() == 47,
            "256 bits after the prefix"
        );
        assert_eq!(key.hash, ApiKey::hash_of(text));
        assert!(!serde_json::to_string(&key).expect("serializes").contains(text));
        assert_eq!(key.hint, format!("…{}", &text[43..]));
    }
}
