//! What verifying ends in: [`Verified`], which only this crate makes and every later step demands, or a refusal with
//! its reason, or a key that must be fetched first. Decides nothing itself.

use std::borrow::Cow;

use tidegate_schemas::{Proof, Reason};

use crate::key_set::KeyRequest;

/// The proof that a request was verified. Only verifying makes one.
#[derive(Debug)]
pub struct Verified {
    proof: Proof,
    rejected: Vec<(u32, Refusal)>,
    claims: bool,
}

impl Verified {
    pub(crate) fn new(proof: Proof) -> Self {
        Self {
            proof,
            rejected: Vec::new(),
            claims: false,
        }
    }

    pub(crate) fn with_rejected(self, rejected: Vec<(u32, Refusal)>) -> Self {
        Self { rejected, ..self }
    }

    pub(crate) fn with_claims(self, claims: bool) -> Self {
        Self { claims, ..self }
    }

    /// Whether a JWT proved it, so that its claims may be picked.
    pub(crate) fn has_claims(&self) -> bool {
        self.claims
    }

    /// How far the request was proved.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// The events that did not prove themselves, by position, where each proves itself.
    #[must_use]
    pub fn rejected(&self) -> &[(u32, Refusal)] {
        &self.rejected
    }
}

/// Why a request, or an event in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The reason: metric label, audit column and docs row.
    pub reason: Reason,
    /// The same in words, with what was expected. Never holds a secret.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// A request that is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// It is not genuine, or cannot be read.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be decided before this key is at hand: set it aside, fetch, ask again.
    #[error("undecided until a key is fetched from {}", .0.url)]
    Undecided(KeyRequest),
}

impl Unverified {
    /// The same with another refusal, where it is one.
    pub(crate) fn map_refusal(self, change: impl FnOnce(Refusal) -> Refusal) -> Self {
        match self {
            Unverified::Refused(refusal) => Unverified::Refused(change(refusal)),
            Unverified::Undecided(key) => Unverified::Undecided(key),
        }
    }
}
