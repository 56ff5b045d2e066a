//! What events does a verified request hold? In: a request and its proofs. Out: for each proof the events as it sees
//! them, in the same order: an item that one secret does not prove another may. Says nothing about whose they are.

use tidegate_providers::RawEvent;
use tidegate_schemas::Reason;

use super::Question;
use super::verify::Proved;
use crate::event::Refused;

/// The events of a request as one proof sees them.
#[derive(Debug)]
pub(crate) struct Split<'q> {
    pub proved: Proved,
    pub events: Vec<RawEvent<'q>>,
}

/// Splits a request into its events, once for each proof.
///
/// # Errors
/// `malformed`: it cannot be read as its definition says, or holds too many events.
pub(crate) fn split<'q>(question: &Question<'q>, proofs: Vec<Proved>) -> Result<Vec<Split<'q>>, Refused> {
    proofs
        .into_iter()
        .map(|proved| split_one(question, proved))
        .collect()
}

fn split_one<'q>(question: &Question<'q>, proved: Proved) -> Result<Split<'q>, Refused> {
    let events = question
        .definition
        .split(question.parsed, &proved.verified)
        .map_err(|refusal| Refused::new(refusal.reason, refusal.detail))?;
    let max = question.limits.events_per_request_max;
    if events.len() > max {
        return Err(too_many(events.len(), max));
    }
    Ok(Split { proved, events })
}

/// The verdict on a request that holds, or becomes, more events than it may.
pub(super) fn too_many(events: usize, max: usize) -> Refused {
    let detail = format!("{events} events, processor.events_per_request_max allows {max}");
    Refused::new(Reason::TooManyEvents, detail)
}
