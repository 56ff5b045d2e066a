//! `scheme = "digest"`: the plain hash of a text that holds the secret, as older providers sign. In: a scope, secrets. Out:
//! a proof.

use tidegate_schemas::Reason;

use super::hash::Hash;
use super::presented::Presented;
use super::signed::Signed;
use super::timestamp::{Timestamp, around};
use super::{Proving, same, secret_missing};
use crate::pick::Scope;
use crate::setting::{Setting, word};
use crate::verdict::Refusal;

/// A block of this scheme.
#[derive(Debug)]
pub(crate) struct DigestScheme {
    pub hash: Setting<Hash>,
    pub presented: Presented,
    pub signed: Signed,
    pub timestamp: Option<Timestamp>,
}

impl DigestScheme {
    /// Proves what is in scope.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Refusal> {
        let hash = self.hash.of(scope.request, word)?;
        let texts = self.presented.texts(scope)?;
        let sets = self.presented.sets(&texts, scope)?;
        let secrets = || proving.secrets.iter().filter(|active| !active.secret.is_empty());
        if secrets().next().is_none() {
            return Err(secret_missing());
        }
        around(self.timestamp.as_ref(), scope, || {
            for active in secrets() {
                let scope = Scope {
                    secret: Some(active.secret.expose()),
                    ..*scope
                };
                let proved = self.signed.any(&scope, |pieces| {
                    let digest = hash.digest(pieces);
                    let mut candidates = sets.all.iter().flat_map(|set| &set.candidates);
                    candidates.any(|candidate| same(&digest, &candidate.bytes))
                })?;
                if proved {
                    return Ok(());
                }
            }
            Err(sets.explained(Refusal::new(
                Reason::SignatureWrong,
                "no active secret makes this digest of what was received",
            )))
        })
    }
}
