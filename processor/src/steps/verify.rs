//! Is the request genuine, and for whom? In: a request, the secrets of its integration and of the connections it may
//! be about, the keys at hand. Out: proofs, each with the connections that it covers, or why there is none.
//! Fetches no key: a request that needs one is undecided.

use tidegate_providers::{ActiveSecret, Credentials, KeySets, Refusal, SecretAt, Unverified, Verified};
use tidegate_registry::StoredSecret;
use tidegate_schemas::Reason;

use super::split::Split;
use super::{Question, attribute};

/// A proof, and for whom it counts.
#[derive(Debug)]
pub(crate) struct Proved {
    pub verified: Verified,
    pub covers: Covers,
}

/// The connections that a proof covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Covers {
    /// All of the integration, and nobody's events too.
    Everyone,
    /// All that have no secret of their own, and nobody's events too.
    WithoutSecret,
    /// The one whose own secret made it.
    One(Box<str>),
}

/// Proves a request by the integration's secrets, or by those of the connections it may be about.
///
/// # Errors
/// Nothing proves it, or a key must be fetched first.
pub(crate) fn verify(question: &Question<'_>, keys: &dyn KeySets) -> Result<Vec<Proved>, Unverified> {
    if question.definition.secret_at() == SecretAt::Integration {
        match by_integration(question, keys) {
            // The secrets sit at the connections, although the provider's usually do not.
            Err(Unverified::Refused(refusal)) if refusal.reason == Reason::SecretMissing => {}
            result => return result.map(|verified| vec![covering(verified, Covers::Everyone)]),
        }
    }
    by_connections(question, keys)
}

/// Proves a request for the further connections that its events name, once one proof has let it be split. What one
/// connection's secret proved says nothing about the others' events.
///
/// # Errors
/// A key must be fetched first. A secret that does not prove the request is no error: its connection gets nothing.
pub(crate) fn verify_further(
    question: &Question<'_>,
    splits: &[Split<'_>],
    keys: &dyn KeySets,
) -> Result<Vec<Proved>, Unverified> {
    if splits.iter().any(|split| split.proved.covers == Covers::Everyone) || question.named().is_some() {
        return Ok(Vec::new());
    }
    let tried = attribute::candidates(question);
    let mut named = attribute::candidates_of(question, splits);
    named.retain(|connection| !tried.contains(connection));
    let mut proofs = Vec::new();
    for connection in named {
        let secrets = attribute::secrets_of(question, connection);
        if secrets.is_empty() {
            continue;
        }
        match by_connection(question, &secrets, keys) {
            Ok(verified) => proofs.push(covering(verified, Covers::One(connection.into()))),
            Err(undecided @ Unverified::Undecided(_)) => return Err(undecided),
            Err(Unverified::Refused(_)) => {}
        }
    }
    Ok(proofs)
}

fn covering(verified: Verified, covers: Covers) -> Proved {
    Proved { verified, covers }
}

fn by_integration(question: &Question<'_>, keys: &dyn KeySets) -> Result<Verified, Unverified> {
    let at = question.request.meta.received_at;
    let secrets: Vec<_> = question.integration.secrets_at(at).map(active).collect();
    let credentials = Credentials {
        secrets: &secrets,
        allow_unverified: question.integration.flags.allow_unverified,
    };
    question.definition.verify(question.parsed, credentials, keys)
}

/// Identifies first, then asks for each connection whether its own secret proves the request. The integration's
/// secrets count for those that have none.
fn by_connections(question: &Question<'_>, keys: &dyn KeySets) -> Result<Vec<Proved>, Unverified> {
    let candidates = attribute::candidates(question);
    if candidates.len() > question.limits.connections_per_event_max {
        let detail = "more connections could have signed it than processor.connections_per_event_max allows";
        return Err(refusal(Reason::TooManyConnections, detail).into());
    }
    let mut proofs = Vec::new();
    let mut refused = None;
    let mut without_secret = candidates.is_empty();
    for connection in &candidates {
        let secrets = attribute::secrets_of(question, connection);
        if secrets.is_empty() {
            without_secret = true;
            continue;
        }
        match by_connection(question, &secrets, keys) {
            Ok(verified) => proofs.push(covering(verified, Covers::One((*connection).into()))),
            Err(undecided @ Unverified::Undecided(_)) => return Err(undecided),
            Err(Unverified::Refused(refusal)) => refused = refused.or(Some(refusal)),
        }
    }
    if without_secret {
        match by_integration(question, keys) {
            Ok(verified) => proofs.push(covering(verified, Covers::WithoutSecret)),
            Err(undecided @ Unverified::Undecided(_)) => return Err(undecided),
            Err(Unverified::Refused(refusal)) => refused = refused.or(Some(refusal)),
        }
    }
    let usually_there = question.definition.secret_at() == SecretAt::Connection;
    match refused {
        _ if !proofs.is_empty() => Ok(proofs),
        Some(refused) if refused.reason != Reason::SecretMissing => Err(refused.into()),
        Some(refused) if !candidates.is_empty() || !usually_there => Err(refused.into()),
        _ => Err(refusal(
            Reason::ConnectionUnknown,
            "no connection of the integration fits what the request names, so no secret can prove it",
        )
        .into()),
    }
}

fn by_connection(
    question: &Question<'_>,
    secrets: &[StoredSecret],
    keys: &dyn KeySets,
) -> Result<Verified, Unverified> {
    let at = question.request.meta.received_at;
    let in_force = secrets.iter().filter(|secret| secret.is_active_at(at));
    let active: Vec<_> = in_force.map(active).collect();
    let credentials = Credentials {
        secrets: &active,
        allow_unverified: false,
    };
    question.definition.verify(question.parsed, credentials, keys)
}

fn active(stored: &StoredSecret) -> ActiveSecret<'_> {
    ActiveSecret {
        secret: stored.secret(),
        label: stored.label.as_deref(),
    }
}

fn refusal(reason: Reason, detail: &'static str) -> Refusal {
    Refusal {
        reason,
        detail: detail.into(),
    }
}
