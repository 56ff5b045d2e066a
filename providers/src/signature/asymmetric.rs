//! `scheme = "public-key"`: a signature over the body or a template that anyone can check with the provider's public key.
//! In: a scope, keys. Out: a proof, or the key that must be fetched first.

use tidegate_schemas::Reason;

use super::key::Key;
use super::presented::Presented;
use super::public_key::KeyAlgorithm;
use super::signed::Signed;
use super::timestamp::{Timestamp, around};
use super::{Proving, refused};
use crate::pick::Scope;
use crate::template::Value;
use crate::verdict::{Refusal, Unverified};

/// A block of this scheme.
#[derive(Debug)]
pub(crate) struct PublicKeyScheme {
    pub algorithm: Algorithm,
    pub presented: Presented,
    pub signed: Signed,
    pub key: Key,
    pub timestamp: Option<Timestamp>,
}

/// How signatures are made.
#[derive(Debug)]
pub(crate) enum Algorithm {
    Fixed(KeyAlgorithm),
    /// Chosen by a text of the request, from a closed list.
    By(Value, Vec<(String, KeyAlgorithm)>),
}

impl Algorithm {
    /// The way of signing that the request chooses.
    pub fn of(&self, scope: &Scope<'_>) -> Result<KeyAlgorithm, Refusal> {
        match self {
            Algorithm::Fixed(algorithm) => Ok(*algorithm),
            Algorithm::By(by, known) => {
                let chosen = by.pick_str(scope);
                let found = known.iter().find(|(word, _)| chosen.as_deref() == Some(word));
                let detail = "the request names a way of signing that the definition does not know";
                found
                    .map(|(_, algorithm)| *algorithm)
                    .ok_or_else(|| Refusal::new(Reason::SignatureMalformed, detail))
            }
        }
    }
}

impl PublicKeyScheme {
    /// Proves what is in scope.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Unverified> {
        let algorithm = self.algorithm.of(scope)?;
        let texts = self.presented.texts(scope)?;
        let sets = self.presented.sets(&texts, scope)?;
        let keys = self.key.public_keys((scope, proving), None)?;
        let mut last = None;
        for set in &sets.all {
            let scope = Scope {
                parts: Some(&set.parts),
                ..*scope
            };
            let prove = || {
                let proved = self.signed.any(&scope, |pieces| {
                    let whole;
                    let message: &[u8] = match pieces {
                        [only] => only,
                        several => {
                            whole = several.concat();
                            &whole
                        }
                    };
                    let signatures = set.candidates.iter().map(|candidate| candidate.bytes.as_slice());
                    signatures
                        .into_iter()
                        .any(|signature| keys.iter().any(|key| key.verifies(algorithm, message, signature)))
                })?;
                if proved { Ok(()) } else { Err(wrong()) }
            };
            match around(self.timestamp.as_ref(), &scope, prove) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or_else(wrong)
            .map_refusal(|refusal| sets.explained(refusal)))
    }
}

fn wrong() -> Unverified {
    refused(
        Reason::SignatureWrong,
        "no key of the definition or the integration makes this signature",
    )
}
