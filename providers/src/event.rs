//! What a verified request is split into: events, each with its payload's place, identity, object and connection
//! candidates. Plain values that borrow from the request and the definition; found by [`crate::Definition::split`].

use std::borrow::Cow;
use std::ops::Range;

use tidegate_schemas::{Outcome, PayloadKind, Reason, UnixMillis};

/// One event of a request, before attribution.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEvent<'r> {
    /// Its place in the request, before any drop.
    pub position: u32,
    /// Its payload.
    pub payload: Payload<'r>,
    /// The provider's type of event.
    pub event_type: Cow<'r, str>,
    /// The provider's delivery id.
    pub delivery_id: Option<Cow<'r, str>>,
    /// The provider's time.
    pub time: Option<UnixMillis>,
    /// The object it is about.
    pub object: Option<Object<'r>>,
    /// Whose it may be, in the order to be tried. Never an empty value.
    pub identifiers: Vec<Identifier<'r>>,
    /// Its verdict, where the definition or verification has given one already.
    pub dropped: Option<Dropped>,
}

/// Where an event's payload is and how it becomes JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload<'r> {
    /// How its bytes become JSON.
    pub kind: PayloadKind,
    /// Its bytes.
    pub place: Place<'r>,
}

/// The bytes of a payload.
#[derive(Debug, Clone, PartialEq)]
pub enum Place<'r> {
    /// A span of the raw body. Not masked: [`crate::Masks`] writes over it.
    Span(Range<usize>),
    /// Text that stands in no span of the body (it was nested in an encoded field). Masked already.
    Own(Cow<'r, [u8]>),
}

/// A value that may name a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier<'r> {
    /// The connection's property. `connection` stands for the connection's own id.
    pub property: &'r str,
    /// What the property must equal.
    pub value: Cow<'r, str>,
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<'r> {
    /// Its key within the connection.
    pub key: Cow<'r, str>,
    /// Its version, where the definition knows one and the event carries it.
    pub version: Option<Version<'r>>,
    /// The span of its whole state, in the body or, where the payload is its own text, in that.
    pub content: Option<Range<usize>>,
    /// Whether the event says that it is gone.
    pub deleted: bool,
    /// Which of the definition's `[[object]]` tables decided, for [`crate::Definition::content_hash`].
    pub rule: usize,
}

/// An object's version.
#[derive(Debug, Clone, PartialEq)]
pub struct Version<'r> {
    /// As sent.
    pub text: Cow<'r, str>,
    /// Its rank: the higher is the newer. `None` for an opaque version, which knows equality only.
    pub rank: Option<i64>,
}

/// A verdict that was reached before attribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// `filtered` or `rejected`.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub detail: Cow<'static, str>,
}
