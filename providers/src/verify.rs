//! Verifying: the first block whose signature is there decides, the strongest configured one is never passed over, and
//! where each element proves itself, a bad one falls alone. In: a request, credentials, fetched keys. Out: [`Verified`], a
//! refusal, or a key to fetch. An integration without a secret proves nothing unless it says that it wants that.

use tidegate_schemas::{Proof, Reason};

use crate::body::ParsedRequest;
use crate::key_set::KeySets;
use crate::pick::Scope;
use crate::request::{ActiveSecret, Credentials};
use crate::signature::{Block, Proving, Scheme, refused, secret_missing};
use crate::verdict::{Refusal, Unverified, Verified};

/// Proves a request.
pub(crate) fn verify(
    request: &ParsedRequest<'_>,
    credentials: Credentials<'_>,
    keys: &dyn KeySets,
) -> Result<Verified, Unverified> {
    let definition = request.definition;
    let has_secret = credentials.secrets.iter().any(|active| !active.secret.is_empty());
    if credentials.allow_unverified && !has_secret && definition.needs_secret() {
        return Ok(Verified::new(Proof::None));
    }
    let received_at = request.raw.received_at;
    let mut passed_over = Passed::Nothing;
    for (place, block) in definition.verify.iter().enumerate() {
        let secrets = secrets_of(&definition.verify, place, credentials.secrets);
        let unconfigured = block.secrets.is_some() && secrets.is_empty();
        match (is_presented(block, request)?, unconfigured) {
            (true, false) if matches!(passed_over, Passed::Configured) => {
                let detail = "a stronger scheme's secret is configured, and its signature is not there";
                return Err(refused(Reason::Downgrade, detail));
            }
            (true, false) => {
                let proving = Proving {
                    secrets: &secrets,
                    keys,
                    received_at,
                };
                return prove(block, request, proving);
            }
            (true, true) => passed_over = passed_over.max(Passed::Unconfigured),
            (false, false) if block.secrets.is_some() => passed_over = Passed::Configured,
            (false, _) => {}
        }
    }
    if matches!(passed_over, Passed::Unconfigured) {
        return Err(secret_missing().into());
    }
    Err(refused(
        Reason::SignatureMissing,
        "no signature stands where the definition looks for one",
    ))
}

/// What was passed over on the way to the block that decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Passed {
    Nothing,
    /// A block whose signature is there and for which no secret is configured.
    Unconfigured,
    /// A block for which a secret is configured and whose signature is not there.
    Configured,
}

/// The secrets that a block uses: those of its pattern, or those of no other block's.
pub(crate) fn secrets_of<'s>(
    blocks: &[Block],
    place: usize,
    all: &[ActiveSecret<'s>],
) -> Vec<ActiveSecret<'s>> {
    let own = blocks.get(place).and_then(|block| block.secrets.as_ref());
    let uses = |active: &&ActiveSecret<'_>| match own {
        Some(glob) => glob.fits(active.secret.expose()),
        None => !blocks
            .iter()
            .filter_map(|block| block.secrets.as_ref())
            .any(|glob| glob.fits(active.secret.expose())),
    };
    all.iter().filter(uses).copied().collect()
}

fn is_presented(block: &Block, request: &ParsedRequest<'_>) -> Result<bool, Refusal> {
    let scope = Scope::of(request);
    if !block.per_event {
        return Ok(block.is_presented(&scope));
    }
    let elements = request.elements().map_err(Clone::clone)?;
    Ok(elements.iter().any(|element| {
        let presented = block.is_presented(&Scope {
            element: Some(*element),
            ..scope
        });
        request.forget(*element);
        presented
    }))
}

fn prove(block: &Block, request: &ParsedRequest<'_>, proving: Proving<'_>) -> Result<Verified, Unverified> {
    let scope = Scope::of(request);
    if !block.per_event {
        block.verify(&scope, proving)?;
        return Ok(Verified::new(block.proof).with_claims(matches!(block.scheme, Scheme::Jwt(_))));
    }
    let elements = request.elements().map_err(Clone::clone)?;
    let mut rejected = Vec::new();
    for (position, element) in (0..).zip(elements) {
        match block.verify(
            &Scope {
                element: Some(*element),
                ..scope
            },
            proving,
        ) {
            Ok(()) => {}
            Err(Unverified::Undecided(key)) => return Err(Unverified::Undecided(key)),
            Err(Unverified::Refused(refusal)) => rejected.push((position, refusal)),
        }
        request.forget(*element);
    }
    match rejected.first() {
        Some((_, refusal)) if rejected.len() == elements.len() => Err(refusal.clone().into()),
        _ => Ok(Verified::new(block.proof).with_rejected(rejected)),
    }
}
