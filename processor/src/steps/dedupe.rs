//! Was this delivery seen? In: what is remembered of its delivery id, and the event's own id. Out: new, a duplicate, or
//! our own repeat of the same event, which has its outcome already.

use tidegate_schemas::EventId;

/// Thirty-two bits of an event's id, beside the delivery id that it came under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventMark(pub u32);

impl From<EventId> for EventMark {
    fn from(id: EventId) -> Self {
        let [.., a, b, c, d] = *id.0.as_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// What a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Not seen before.
    New,
    /// The same event again, because work was done twice: it gets no second outcome.
    Repeat,
    /// The same delivery id under another event id.
    Duplicate,
}

/// Judges an event by what was `seen` under its delivery id. One that is decided again on demand is no repeat.
pub(crate) fn dedupe(seen: Option<EventMark>, id: EventId, on_demand: bool) -> Delivery {
    match seen {
        None => Delivery::New,
        Some(mark) if mark != EventMark::from(id) => Delivery::Duplicate,
        Some(_) if on_demand => Delivery::New,
        Some(_) => Delivery::Repeat,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::{RequestId, UnixMillis};

    use super::*;

    #[test]
    fn the_same_event_is_a_repeat_and_another_a_duplicate() {
        let request = RequestId::new(UnixMillis(1));
        let id = EventId::derive(request, 0, Some("a"));
        let other = EventId::derive(request, 1, Some("a"));
        let check = |seen: Option<EventId>, on_demand, expected| {
            assert_eq!(dedupe(seen.map(EventMark::from), id, on_demand), expected);
        };
        check(None, false, Delivery::New);
        check(Some(id), false, Delivery::Repeat);
        check(Some(other), false, Delivery::Duplicate);
        check(Some(id), true, Delivery::New);
        check(Some(other), true, Delivery::Duplicate);
    }
}
