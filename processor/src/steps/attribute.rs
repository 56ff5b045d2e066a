//! Whose is each event? In: the events of a request and the connections of its integration. Out: each event with the
//! connections it reaches, nobody, or a verdict. The URL's word comes before the body's; an empty value matches nobody,
//! and no event reaches a connection that its proofs do not cover.

use bytes::Bytes;
use tidegate_providers::{Identifier, Place, RawEvent};
use tidegate_registry::StoredSecret;
use tidegate_schemas::{Reason, Secret};

use super::Question;
use super::split::{Split, too_many};
use super::verify::Covers;
use crate::event::{Event, ObjectFacts, Payload, Refused, Whose};

/// The property that stands for the connection's own id.
const OWN_ID: &str = "connection";

/// Attributes every event of a request.
///
/// # Errors
/// `malformed`: with an event for each connection it holds more than it may.
pub(crate) fn attribute(question: &Question<'_>, splits: &[Split<'_>]) -> Result<Vec<Event>, Refused> {
    let Some((first, others)) = splits.split_first() else {
        return Ok(Vec::new());
    };
    let seen_by_others = |at: usize| {
        let sees =
            move |split: &'_ Split<'_>| split.events.get(at).is_some_and(|event| event.dropped.is_none());
        others.iter().filter(move |split| sees(split))
    };
    let mut events = Vec::with_capacity(first.events.len());
    for (at, raw) in first.events.iter().enumerate() {
        let own = std::iter::once(first).filter(|_| raw.dropped.is_none());
        let covers: Vec<&Covers> = own
            .chain(seen_by_others(at))
            .map(|split| &split.proved.covers)
            .collect();
        let told_by_payload = question.definition.dedupes_by_hash();
        events.push(event(raw, told_by_payload, whose(question, raw, &covers)));
    }
    let reach = events.iter().map(Event::reach).sum();
    let max = question.limits.events_per_request_max;
    if reach > max {
        return Err(too_many(reach, max));
    }
    Ok(events)
}

fn whose(question: &Question<'_>, raw: &RawEvent<'_>, covers: &[&Covers]) -> Whose {
    if let (Some(dropped), []) = (&raw.dropped, covers) {
        return Whose::Refused(Refused {
            outcome: dropped.outcome,
            reason: dropped.reason,
            detail: dropped.detail.clone(),
        });
    }
    let matched = match question.named() {
        Some(name) => named(question, name),
        None => first_match(question, &raw.identifiers),
    };
    let max = question.limits.connections_per_event_max;
    if matched.len() > max {
        let detail = format!(
            "{} connections match, processor.connections_per_event_max allows {max}",
            matched.len()
        );
        return Whose::Refused(Refused::new(Reason::TooManyConnections, detail));
    }
    let covered = |connection: &&str| {
        covers
            .iter()
            .any(|covers| covers.connection(question, connection))
    };
    let proved: Vec<Box<str>> = matched.iter().copied().filter(covered).map(Into::into).collect();
    match (matched.is_empty(), proved.is_empty()) {
        (_, false) => Whose::Connections(proved),
        (true, _) if covers.iter().any(|covers| covers.nobody()) => Whose::Nobody,
        (true, _) => rejected(
            Reason::ConnectionUnknown,
            "a connection's own secret proves only that connection's events",
        ),
        (false, _) => rejected(
            Reason::SignatureWrong,
            "the secret that proves the request is not its connection's",
        ),
    }
}

fn rejected(reason: Reason, detail: &'static str) -> Whose {
    Whose::Refused(Refused::new(reason, detail))
}

impl Covers {
    fn connection(&self, question: &Question<'_>, connection: &str) -> bool {
        match self {
            Covers::Everyone => true,
            Covers::WithoutSecret => secrets_of(question, connection).is_empty(),
            Covers::One(one) => **one == *connection,
        }
    }

    fn nobody(&self) -> bool {
        !matches!(self, Covers::One(_))
    }
}

/// The connections that a request which is not verified yet may be about.
pub(super) fn candidates<'a>(question: &Question<'a>) -> Vec<&'a str> {
    if let Some(name) = question.named() {
        return named(question, name);
    }
    let mut candidates: Vec<&str> = Vec::new();
    for identifier in &question.definition.identify(question.parsed) {
        for connection in matching(question, identifier) {
            if !candidates.contains(&connection) {
                candidates.push(connection);
            }
            if candidates.len() > question.limits.connections_per_event_max {
                return candidates;
            }
        }
    }
    candidates
}

/// The connections that the events of a request name, at most as many as one event may reach.
pub(super) fn candidates_of<'a>(question: &Question<'a>, splits: &[Split<'_>]) -> Vec<&'a str> {
    let mut candidates: Vec<&str> = Vec::new();
    for raw in splits.iter().flat_map(|split| &split.events) {
        for connection in first_match(question, &raw.identifiers) {
            if candidates.len() >= question.limits.connections_per_event_max {
                return candidates;
            }
            if !candidates.contains(&connection) {
                candidates.push(connection);
            }
        }
    }
    candidates
}

/// A connection's own secrets, those out of force too. One whose secrets cannot be read has one that nothing fits.
pub(super) fn secrets_of(question: &Question<'_>, connection: &str) -> Vec<StoredSecret> {
    let Some(connection) = question.tables.connection(&question.integration.id, connection) else {
        return Vec::new();
    };
    connection.secrets().unwrap_or_else(|error| {
        tracing::error!(connection = connection.id(), %error, "a connection's secrets cannot be read");
        vec![StoredSecret::new(Secret::new(Vec::new()))]
    })
}

/// The connection that the URL names: that one or nobody, whatever the body says.
fn named<'a>(question: &Question<'a>, name: &str) -> Vec<&'a str> {
    let connection = question.tables.connection(&question.integration.id, name);
    connection.map(|connection| connection.id()).into_iter().collect()
}

/// The connections of the first identifier that fits any.
fn first_match<'a>(question: &Question<'a>, identifiers: &[Identifier<'_>]) -> Vec<&'a str> {
    let found = identifiers
        .iter()
        .map(|identifier| matching(question, identifier));
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// The connections that carry this value. One more than may match is enough to know that there are too many.
fn matching<'a>(question: &Question<'a>, Identifier { property, value }: &Identifier<'_>) -> Vec<&'a str> {
    if value.is_empty() {
        return Vec::new();
    }
    if *property == OWN_ID {
        return named(question, value);
    }
    // `name[]` says that the property holds a list; the registry holds one for every property.
    let property = property.strip_suffix("[]").unwrap_or(property);
    let matching = question
        .tables
        .connections_by(&question.integration.id, property, value);
    let matching = matching.take(question.limits.connections_per_event_max + 1);
    matching.map(|connection| connection.id()).collect()
}

fn event(raw: &RawEvent<'_>, told_by_payload: bool, whose: Whose) -> Event {
    let version = raw.object.as_ref().and_then(|object| object.version.as_ref());
    let facts = raw.object.as_ref().map(|object| ObjectFacts {
        rank: version.and_then(|version| version.rank),
        content: object.content.clone(),
        deleted: object.deleted,
        rule: object.rule,
    });
    Event {
        position: raw.position,
        payload_kind: raw.payload.kind,
        payload: match &raw.payload.place {
            Place::Span(span) => Payload::Span(span.clone()),
            Place::Own(bytes) => Payload::Own(Bytes::copy_from_slice(bytes)),
        },
        event_type: (*raw.event_type).into(),
        delivery_id: raw.delivery_id.as_deref().map(Into::into),
        told_by_payload,
        time: raw.time,
        object_key: raw.object.as_ref().map(|object| (*object.key).into()),
        object_version: version.map(|version| (*version.text).into()),
        object: facts.unwrap_or_default(),
        whose,
    }
}
