//! `scheme = "hmac"`: a message code over the body or a template, in one header or a list. In: a scope, secrets. Out: a
//! proof. Every candidate is compared decoded, in constant time, with the code of every key.

use tidegate_schemas::Reason;

use super::hash::Hash;
use super::key::Key;
use super::presented::{Presented, Set};
use super::signed::Signed;
use super::timestamp::{Timestamp, around};
use super::{Proving, refused, same};
use crate::pick::Scope;
use crate::setting::{Setting, word};
use crate::verdict::Unverified;

/// A block of this scheme.
#[derive(Debug)]
pub(crate) struct HmacScheme {
    pub hash: Setting<Hash>,
    pub presented: Presented,
    pub signed: Signed,
    pub key: Key,
    pub timestamp: Option<Timestamp>,
}

impl HmacScheme {
    /// Proves what is in scope.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Unverified> {
        let hash = self.hash.of(scope.request, word)?;
        let texts = self.presented.texts(scope)?;
        let mut last = None;
        let sets = self.presented.sets(&texts, scope)?;
        for set in &sets.all {
            let scope = Scope {
                parts: Some(&set.parts),
                ..*scope
            };
            match around(self.timestamp.as_ref(), &scope, || {
                self.verify_set(set, (&scope, proving), hash)
            }) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or_else(wrong)
            .map_refusal(|refusal| sets.explained(refusal)))
    }

    fn verify_set(
        &self,
        set: &Set<'_>,
        (scope, proving): (&Scope<'_>, Proving<'_>),
        hash: Hash,
    ) -> Result<(), Unverified> {
        let entries = set.candidates.iter().map(|candidate| candidate.entry);
        for entry in distinct(entries) {
            let scope = Scope { entry, ..*scope };
            let candidates = || set.candidates.iter().filter(|candidate| candidate.entry == entry);
            let proved = self.key.any((&scope, proving), |key| {
                self.signed.any(&scope, |pieces| {
                    let code = hash.mac(key, pieces);
                    candidates().fold(false, |found, candidate| found | same(&code, &candidate.bytes))
                })
            })?;
            if proved {
                return Ok(());
            }
        }
        Err(wrong())
    }
}

/// Each entry's name once, in order: usually there is only one.
fn distinct<'t>(entries: impl Iterator<Item = Option<&'t str>>) -> Vec<Option<&'t str>> {
    let mut names = Vec::with_capacity(1);
    for entry in entries {
        if !names.contains(&entry) {
            names.push(entry);
        }
    }
    names
}

fn wrong() -> Unverified {
    refused(
        Reason::SignatureWrong,
        "no active secret makes this signature over what was received",
    )
}
