//! What a request is, as far as ingest can tell: a handshake, plainly forged, or for the processor to decide. In: the
//! request as received, its integration and definition. Out: [`Judged`], or a refusal. Awaits nothing, appends nothing.

use http::StatusCode;
use tidegate_providers::{
    Answer, Definition, HandshakeRefusal, NoKeySets, ParsedRequest, RawRequest, Reply, Unverified, Verified,
};
use tidegate_registry::Integration;
use tidegate_schemas::{Outcome, Reason};

use crate::accept::Door;
use crate::answer;
use crate::arrival::Secrets;
use crate::refused::Place;
use crate::reply::Refusal;
use crate::route::Target;

/// What a request turned out to be.
pub enum Judged {
    /// A handshake, and what it is answered; or the definition's own refusal.
    Handshake(Result<Answer, HandshakeRefusal>),
    /// A request to be appended, and what its sender is answered then.
    Genuine {
        /// The definition's own reply.
        reply: Option<Reply>,
        /// Where it lies.
        place: Place,
    },
}

/// Whether the early check may refuse a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// Where the integration and its definition have it.
    Yes,
    /// Not now: what it would go by may be old.
    No,
}

/// What a request is, by its definition and the secrets of its integration. Parses it at most once.
///
/// # Errors
/// It is no event by its method, plainly forged, or lacks what its definition requires.
pub fn judge(door: &Door, raw: RawRequest<'_>, (at, early): (At<'_>, Early)) -> Result<Judged, Refusal> {
    let definition = at.definition;
    let parsed = definition.parse(raw);
    if let Some(answer) = answer::handshake(door, &parsed, at)? {
        return Ok(Judged::Handshake(answer));
    }
    if !definition.takes_method(raw.method) {
        let message = format!("{} is no method that events of this provider come by", raw.method);
        let status = Some(StatusCode::METHOD_NOT_ALLOWED);
        return Err(Refusal {
            status,
            ..Refusal::new(Reason::UnknownRoute, message)
        });
    }
    let asked = at.integration.flags.early_check || definition.early_check_required();
    if early == Early::Yes && asked && definition.can_check_early() {
        match verify(definition, &parsed, at.integration) {
            Err(refusal) if refusal.reason.outcome() == Some(Outcome::Rejected) => return Err(refusal),
            // Unreadable is for the processor to say, on record.
            _ => {}
        }
    }
    let identified = definition.check_identified(&parsed);
    identified.map_err(|refusal| Refusal::new(refusal.reason, refusal.detail.into_owned()))?;
    let place = at.place(definition.route(&parsed).as_deref());
    Ok(Judged::Genuine {
        reply: definition.reply(&parsed),
        place,
    })
}

/// Whose request it is.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// What the URL names.
    pub target: &'a Target,
    /// The integration.
    pub integration: &'a Integration,
    /// Its provider's definition.
    pub definition: &'a Definition,
}

impl At<'_> {
    /// Where its requests lie: the one partition, or the one that the routing value is spread to.
    pub fn place(&self, route: Option<&str>) -> Place {
        let partitions = &self.integration.partitions;
        let index = match route {
            Some(value) if partitions.len() > 1 => {
                let hash = xxhash_rust::xxh3::xxh3_64(value.as_bytes());
                usize::try_from(hash % partitions.len() as u64).unwrap_or_default()
            }
            _ => 0,
        };
        let partition = partitions.get(index).copied().unwrap_or_default();
        Place {
            integration: self.integration.id,
            partition,
        }
    }
}

/// Verifies with the integration's own secrets, without the network.
///
/// # Errors
/// The refusal with the definition's own status.
pub fn verify(
    definition: &Definition,
    parsed: &ParsedRequest<'_>,
    integration: &Integration,
) -> Result<Option<Verified>, Refusal> {
    let secrets = Secrets::of(integration, parsed.raw.received_at);
    match definition.verify(parsed, secrets.credentials(integration), &NoKeySets) {
        Ok(verified) => Ok(Some(verified)),
        Err(Unverified::Undecided(_)) => Ok(None),
        Err(Unverified::Refused(refusal)) => Err(Refusal {
            status: StatusCode::from_u16(definition.refused_status()).ok(),
            ..Refusal::new(refusal.reason, refusal.detail.into_owned())
        }),
    }
}
