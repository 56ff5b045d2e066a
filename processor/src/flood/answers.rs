//! What flood control asks about an event, and what it answers. In and out: plain values; decides nothing.

use std::time::Duration;

use tidegate_schemas::{EventId, IntegrationId, UnixMillis};

use super::budget::Budget;
use super::fingerprint::Fingerprint;
use super::windows::Ended;
use crate::steps::debounce::Place;
use crate::steps::order::Rank;

/// What all partitions may spend on flood control, and how long delivery ids are remembered.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub ttl: Duration,
    pub seen: Budget,
    pub objects: Budget,
    pub windows: Budget,
}

/// What flood control asks about an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub id: EventId,
    pub integration: IntegrationId,
    pub connection: Option<&'a str>,
    pub event_type: &'a str,
    pub place: Place,
    pub received_at: UnixMillis,
    /// What repeats are told by.
    pub delivery: Option<DeliveryKey<'a>>,
    pub object: Option<&'a str>,
    pub deleted: bool,
    pub version: Option<i64>,
    pub time: Option<UnixMillis>,
    pub payload_bytes: u32,
    /// Whether it is decided again because somebody asked for it.
    pub on_demand: bool,
}

/// What repeated deliveries are told by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DeliveryKey<'a> {
    /// The provider's delivery id.
    Id(&'a str),
    /// The payload, which is the same every time.
    Payload(&'a [u8]),
}

/// What becomes of an event before change detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has its outcome already.
    Repeat,
    /// Its delivery id was seen under another event id.
    Duplicate,
    /// It is older than this.
    Stale(Rank),
    /// It is in this window, which hands on one event for all.
    Held(EventId),
    /// It is handed on; the first of this window, if it opened one.
    Passes(Option<EventId>),
}

/// Why something was not checked that should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unchecked {
    /// It names no object, so it cannot be held back.
    NoObject,
    /// No more windows may be open.
    WindowsFull,
    /// No more objects may be known.
    ObjectsFull,
}

/// An event's fate, with the windows that end before and behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub before: Option<Ended>,
    pub fate: Fate,
    pub after: Option<Ended>,
    pub unchecked: Option<Unchecked>,
    /// Whose window keeps this very event, alone.
    pub kept_by: Option<Fingerprint>,
}

/// Whether an object's content is another than last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Changed,
    /// It has the hash that was handed on last.
    Unchanged(u64),
    /// The object found no room, so it is handed on.
    Unknown,
}

/// How much there is, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fill {
    pub delivery_ids: usize,
    pub seen_bytes: usize,
    pub effective_ttl: Duration,
    pub objects: usize,
    pub objects_bytes: usize,
    pub windows: usize,
    pub windows_bytes: usize,
    pub oldest_window: Option<UnixMillis>,
}

impl Unchecked {
    /// The same in words.
    pub fn in_words(self) -> &'static str {
        match self {
            Unchecked::NoObject => "not held back: it names no object",
            Unchecked::WindowsFull => "not held back: processor.flood.windows_bytes_max is reached",
            Unchecked::ObjectsFull => "not compared: processor.flood.objects_bytes_max is reached",
        }
    }
}

impl Judged {
    pub fn only(fate: Fate) -> Self {
        Self {
            before: None,
            fate,
            after: None,
            unchecked: None,
            kept_by: None,
        }
    }
}
