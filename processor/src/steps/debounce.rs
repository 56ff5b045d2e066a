//! Is an event handed on, or does another stand for it? In: the open window of its object, the event, the policy, the
//! time. Out: what becomes of the event and of the window. Fires no window whose time has come: its owner does.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use tidegate_registry::{Debounce, Edge, Keep};
use tidegate_schemas::{EventId, UnixMillis};

/// Where an event lies: the offset of its request in the owner's partition, and its position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub offset: u64,
    pub position: u32,
}

/// What debouncing asks about an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub id: EventId,
    pub place: Place,
    pub received_at: UnixMillis,
    pub version: Option<i64>,
    pub time: Option<UnixMillis>,
    /// Whether it ends the window and passes: a deletion, or a type that the policy names.
    pub bypasses: bool,
}

/// A window: what it stands for is in memory or is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its first event's id.
    pub id: EventId,
    pub edge: Edge,
    pub keep: Keep,
    /// Tells whether the policy is still the one it was opened under.
    pub policy: PolicyMark,
    /// When it was opened, by the owner's clock.
    pub opened: UnixMillis,
    /// When it is to end.
    pub deadline: UnixMillis,
    /// When the first and the last of its events were received.
    pub received: (UnixMillis, UnixMillis),
    /// How many events it had.
    pub count: u32,
    /// The event that it will hand on; none when the first was handed on and nothing followed.
    pub kept: Option<Place>,
    /// What the latest of its events is ranked by.
    pub version: Option<i64>,
    pub time: Option<UnixMillis>,
}

impl Window {
    /// Whether it keeps the event of this place, and no other beside it.
    pub fn keeps_alone(&self, place: Place) -> bool {
        self.kept == Some(place) && self.keep != Keep::All
    }
}

/// Sixteen bits that tell a policy from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyMark(pub u16);

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debounced {
    /// Handed on; with the window that it opened or ended, if it did.
    Passes,
    /// It is in the window, which hands on one event for all.
    Absorbed,
}

/// What becomes of an event and the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The window that was open ends before the event.
    pub ends_before: bool,
    pub event: Debounced,
    /// The window as it stands behind the event.
    pub window: Option<Window>,
    /// It ends at once.
    pub ends_after: bool,
}

impl From<&Debounce> for PolicyMark {
    fn from(policy: &Debounce) -> Self {
        // The hash must be the same after a restart, so it is not the standard library's.
        struct Fnv(u64);
        impl Hasher for Fnv {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.write_u64(u64::from(*byte));
                }
            }
            fn write_u64(&mut self, number: u64) {
                let mixed = (self.0 ^ number).wrapping_mul(0x0100_0000_01b3);
                self.0 = mixed ^ mixed >> 32;
            }
        }
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        let Debounce {
            quiet,
            max_wait,
            edge,
            keep,
            max_events,
            max_bytes,
            bypass,
        } = policy;
        (quiet.as_millis() as u64, max_wait.as_millis() as u64).hash(&mut hasher);
        let ways = (*edge as u64) << 8 | *keep as u64;
        (ways, u64::from(max_events.unwrap_or(0)), *max_bytes).hash(&mut hasher);
        bypass.hash(&mut hasher);
        let hash = hasher.finish();
        Self((hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16)
    }
}

/// Decides about an event: `open` is its object's window, `policy` what holds for it now, if it is to be held at all.
/// A window keeps the ways it was opened with; when the policy is another one by now, it keeps its deadline too.
pub(crate) fn debounce(
    open: Option<&Window>,
    event: &Incoming,
    policy: Option<&Debounce>,
    now: UnixMillis,
) -> Decision {
    if event.bypasses {
        return Decision {
            ends_before: open.is_some(),
            event: Debounced::Passes,
            window: None,
            ends_after: false,
        };
    }
    match (open, policy) {
        (None, None) => Decision {
            ends_before: false,
            event: Debounced::Passes,
            window: None,
            ends_after: false,
        },
        (None, Some(policy)) => opened(event, policy, now),
        (Some(open), policy) => joined(*open, event, policy, now),
    }
}

fn opened(event: &Incoming, policy: &Debounce, now: UnixMillis) -> Decision {
    let trailing = policy.edge == Edge::Trailing;
    let window = Window {
        id: event.id,
        edge: policy.edge,
        keep: policy.keep,
        policy: policy.into(),
        opened: now,
        deadline: deadline(now, now, policy),
        received: (event.received_at, event.received_at),
        count: 1,
        kept: trailing.then_some(event.place),
        version: event.version,
        time: event.time,
    };
    Decision {
        ends_before: false,
        event: if trailing {
            Debounced::Absorbed
        } else {
            Debounced::Passes
        },
        ends_after: policy.max_events == Some(1),
        window: Some(window),
    }
}

fn joined(mut window: Window, event: &Incoming, policy: Option<&Debounce>, now: UnixMillis) -> Decision {
    window.count = window.count.saturating_add(1);
    let (first, last) = window.received;
    window.received = (first.min(event.received_at), last.max(event.received_at));
    let later = is_later(event, &window);
    if later {
        (window.version, window.time) = (event.version.or(window.version), event.time.or(window.time));
    }
    let takes = match window.keep {
        Keep::Latest => later,
        Keep::First => window.kept.is_none(),
        Keep::All => true,
    };
    if takes && window.edge != Edge::Leading {
        window.kept = Some(event.place);
    }
    let same = policy.filter(|policy| PolicyMark::from(*policy) == window.policy);
    if let Some(policy) = same {
        window.deadline = deadline(now, window.opened, policy);
    }
    let ends = same
        .and_then(|policy| policy.max_events)
        .is_some_and(|max| window.count >= max);
    Decision {
        ends_before: false,
        event: Debounced::Absorbed,
        window: Some(window),
        ends_after: ends,
    }
}

/// The one deadline: `quiet` after the last event, and `max_wait` after the first at the latest.
fn deadline(last: UnixMillis, first: UnixMillis, policy: &Debounce) -> UnixMillis {
    last.after(policy.quiet).min(first.after(policy.max_wait))
}

/// Whether an event is later than the latest of a window: by version, then by the provider's time, then by arrival.
fn is_later(event: &Incoming, window: &Window) -> bool {
    match (event.version, window.version) {
        (Some(own), Some(latest)) if own != latest => return own > latest,
        _ => {}
    }
    match (event.time, window.time) {
        (Some(own), Some(latest)) => own >= latest,
        _ => true,
    }
}

impl Window {
    /// The window on a clock that may have been set back: its deadline is never further ahead than it was from its
    /// opening, and it was not opened in the future.
    pub fn rebased(mut self, now: UnixMillis) -> Self {
        let span: Duration = self.deadline.since(self.opened);
        self.deadline = self.deadline.min(now.after(span));
        self.opened = self.opened.min(now);
        self
    }
}

#[cfg(test)]
mod tests;
