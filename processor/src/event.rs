//! What examining a request finds: its events with the connections they reach, or one verdict on all of it.
//! Plain owned values, so that several threads can examine and one can decide. Holds no secret and no identifier.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tidegate_providers::KeyRequest;
use tidegate_registry::Integration;
use tidegate_schemas::{Outcome, PayloadKind, Proof, Reason, UnixMillis};

use crate::request::Request;

/// A request with what was found in it.
#[derive(Debug)]
pub(crate) struct Examined {
    pub request: Request,
    /// The integration as the registry had it; `None` when it does not exist.
    pub integration: Option<Arc<Integration>>,
    pub finding: Finding,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// Its events.
    Events(Events),
    /// One verdict on the whole request.
    Refused(Refused),
    /// Nothing, before this key is at hand.
    Undecided(KeyRequest),
}

/// The events of a verified request.
#[derive(Debug)]
pub(crate) struct Events {
    /// How far the request was proved.
    pub proof: Proof,
    /// The body with what must not leave written over.
    pub body: Bytes,
    /// The headers as they may leave, as JSON.
    pub headers: Box<RawValue>,
    pub events: Vec<Event>,
}

/// A verdict that was reached before any flood control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub outcome: Outcome,
    pub reason: Reason,
    /// The same in words; empty where the reason says it all.
    pub detail: Cow<'static, str>,
}

impl Refused {
    /// The verdict that goes with a reason.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            outcome: reason.outcome().unwrap_or(Outcome::Failed),
            reason,
            detail: detail.into(),
        }
    }

    /// Whether a write to the registry could turn it.
    pub fn could_turn(&self) -> bool {
        match self.outcome {
            Outcome::Rejected => true,
            Outcome::Failed => self.reason == Reason::IntegrationGone,
            _ => false,
        }
    }
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its place in the request, before any drop.
    pub position: u32,
    pub payload_kind: PayloadKind,
    pub payload: Payload,
    pub event_type: Box<str>,
    pub delivery_id: Option<Box<str>>,
    /// Whether repeats are told by the payload, which is the same every time.
    pub told_by_payload: bool,
    pub time: Option<UnixMillis>,
    pub object_key: Option<Box<str>>,
    pub object_version: Option<Box<str>>,
    pub object: ObjectFacts,
    pub whose: Whose,
}

/// What flood control asks about the object of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectFacts {
    /// The rank of its version.
    pub rank: Option<i64>,
    /// The span of its whole state, in the body or in the payload's own text.
    pub content: Option<Range<usize>>,
    /// Whether the event says that it is gone.
    pub deleted: bool,
    /// Which of the definition's objects it is.
    pub rule: usize,
}

/// Where an event's bytes are.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A span of the body.
    Span(Range<usize>),
    /// Bytes of its own, masked.
    Own(Bytes),
}

/// Whose an event is.
#[derive(Debug)]
pub(crate) enum Whose {
    /// These connections': an event each.
    Connections(Vec<Box<str>>),
    /// Nobody's.
    Nobody,
    /// It has its verdict already.
    Refused(Refused),
}

impl Examined {
    /// Whether a write to the registry could turn what was found.
    pub fn could_turn(&self) -> bool {
        match &self.finding {
            Finding::Refused(refused) => refused.could_turn(),
            Finding::Undecided(_) => false,
            Finding::Events(found) => found.events.iter().any(|event| match &event.whose {
                Whose::Connections(_) => false,
                Whose::Nobody => true,
                Whose::Refused(refused) => refused.could_turn(),
            }),
        }
    }

    /// How many outcomes it will have, so far as is known.
    pub fn events(&self) -> usize {
        match &self.finding {
            Finding::Events(found) => found.events.iter().map(Event::reach).sum(),
            Finding::Refused(_) | Finding::Undecided(_) => 1,
        }
    }
}

impl Event {
    /// How many events it becomes: one for each connection.
    pub fn reach(&self) -> usize {
        match &self.whose {
            Whose::Connections(connections) => connections.len(),
            Whose::Nobody | Whose::Refused(_) => 1,
        }
    }
}

impl Payload {
    /// Its bytes, of a request's masked body or its own.
    pub fn bytes(&self, body: &Bytes) -> Bytes {
        match self {
            Payload::Span(span) => match body.get(span.clone()) {
                Some(_) => body.slice(span.clone()),
                None => Bytes::new(),
            },
            Payload::Own(bytes) => bytes.clone(),
        }
    }
}
