//! What happens to events under a policy, on a virtual clock. In: events in the order in which they came, and the policy.
//! Out: a timeline, each line with its time, its event and its reason, and what it all comes to. Decides nothing: the
//! processor's own flood control does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_processor::{Became, Behind, Config, HandedOn, Rank, Rehearsal, Rehearsed};
use tidegate_registry::{Debounce, FloodPolicy, RateLimit};
use tidegate_schemas::{EventId, IntegrationId, UnixMillis};

use super::Event;
use super::policy::Policy;
use super::sums::{Fate, Sums};

/// What happened.
#[derive(Debug, Default)]
pub struct Timeline {
    /// In order.
    pub lines: Vec<Line>,
    /// What became of the events.
    pub sums: Sums,
}

/// Something that happened to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: UnixMillis,
    /// The event's place among all, from 0.
    pub event: usize,
    /// What.
    pub what: What,
    /// How long it had waited for its turn before it was decided, if it was set aside.
    pub waited: Option<Duration>,
}

/// What happened to an event, with places of others among all events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It exceeds a rate, and is decided when its turn comes.
    SetAside(String),
    /// It was decided before.
    Repeat,
    /// Its delivery id came before, with this event if that is known.
    Duplicate(Option<usize>),
    /// It is older than this.
    Stale(Rank),
    /// It is held in the window of this event.
    Held(usize),
    /// Its object's content is what it was; with its window.
    Unchanged(Option<Ended>),
    /// It goes on to be routed.
    HandedOn(Passed),
}

/// How an event is handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// At once, for this reason.
    AtOnce(String),
    /// When its window ended.
    With(Ended),
}

/// A window that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its first event.
    pub window: usize,
    /// How many events it held.
    pub count: u64,
    /// Why it ended.
    pub why: String,
}

/// An open window.
struct Window {
    opened_at: UnixMillis,
    last_at: UnixMillis,
    count: u64,
    debounce: Option<Debounce>,
}

/// The event that is being decided, if any.
type Current<'p> = Option<(usize, &'p FloodPolicy)>;

struct Run<'e> {
    events: &'e [Event],
    /// Since when each event waits for its turn.
    waiting: HashMap<usize, UnixMillis>,
    places: HashMap<EventId, usize>,
    windows: HashMap<EventId, Window>,
    delivered: HashMap<(IntegrationId, Option<Arc<str>>, &'e str), usize>,
    ended_as: Vec<Option<Fate>>,
    timeline: Timeline,
}

/// Runs the events, which must be in the order of their time.
#[must_use]
pub fn run(events: &[Event], policy: &mut Policy, config: &Config) -> Timeline {
    let rehearsal = Rehearsal::new(&config.flood);
    let mut rehearsal = rehearsal.setting_aside_within(config.set_aside_bytes_max);
    let mut run = Run {
        events,
        waiting: HashMap::new(),
        places: events
            .iter()
            .enumerate()
            .map(|(place, event)| (event.id, place))
            .collect(),
        windows: HashMap::new(),
        delivered: HashMap::new(),
        ended_as: vec![None; events.len()],
        timeline: Timeline::default(),
    };
    for event in events {
        for happened in rehearsal.decide(&event.rehearsed(), &policy.of(event)) {
            run.take(&happened, policy);
        }
    }
    for happened in rehearsal.finish() {
        run.take(&happened, policy);
    }
    run.timeline.sums.count(&run.ended_as);
    run.timeline
}

impl Run<'_> {
    fn take(&mut self, happened: &Rehearsed, policies: &mut Policy) {
        let Some(event) = self.places.get(&happened.event).copied() else {
            return;
        };
        let at = happened.at;
        let current = happened.by.and_then(|by| self.places.get(&by).copied());
        let policy = current.and_then(|place| Some(policies.of(self.events.get(place)?)));
        let current = current.zip(policy.as_deref());
        let waited = (happened.by == Some(happened.event))
            .then(|| self.waiting.remove(&event))
            .flatten()
            .map(|since| at.since(since));
        let sums = &mut self.timeline.sums;
        sums.longest_turn = sums.longest_turn.max(waited.unwrap_or_default());
        let (what, fate) = match &happened.became {
            Became::SetAside(behind) => return self.set_aside(event, at, (*behind, current)),
            Became::Repeat => (What::Repeat, Fate::Repeat),
            Became::Duplicate => (What::Duplicate(self.delivery_of(event)), Fate::Duplicate),
            Became::Stale(newest) => (What::Stale(*newest), Fate::Stale),
            Became::Held(window) => (What::Held(self.hold(*window, at, current)), Fate::Debounced),
            Became::Unchanged(_, window) => {
                let ended = window.and_then(|window| self.end(window, (event, at), current));
                (What::Unchanged(ended), Fate::Unchanged)
            }
            Became::HandedOn(handed_on) => (
                What::HandedOn(self.hand_on(handed_on, (event, at), current)),
                Fate::HandedOn,
            ),
        };
        if !matches!(fate, Fate::Duplicate | Fate::Repeat) {
            self.remember_delivery(event);
        }
        if let Some(ended_as) = self.ended_as.get_mut(event) {
            *ended_as = Some(fate);
        }
        self.timeline.lines.push(Line {
            at,
            event,
            what,
            waited,
        });
    }

    fn set_aside(&mut self, event: usize, at: UnixMillis, (behind, current): (Behind, Current<'_>)) {
        self.waiting.insert(event, at);
        let sums = &mut self.timeline.sums;
        sums.set_aside += 1;
        sums.most_set_aside = sums.most_set_aside.max(self.waiting.len() as u64);
        let rate = |of: fn(&FloodPolicy) -> Option<RateLimit>| {
            current
                .and_then(|(_, policy)| of(policy))
                .map_or(0, |rate| rate.per_second)
        };
        let why = match behind {
            Behind::ConnectionsRate => {
                format!(
                    "its connection is ahead of its {} a second",
                    rate(|policy| policy.rate)
                )
            }
            Behind::IntegrationsRate => {
                let rate = rate(|policy| policy.integration_rate);
                format!("its integration is ahead of its {rate} a second")
            }
            Behind::Others => "others of its connection wait before it".to_owned(),
        };
        self.timeline.lines.push(Line {
            at,
            event,
            what: What::SetAside(why),
            waited: None,
        });
    }

    /// The event of this delivery id that came first.
    fn delivery_of(&self, event: usize) -> Option<usize> {
        let event = self.events.get(event)?;
        let place = (
            event.integration,
            event.connection.clone(),
            event.delivery_id.as_deref()?,
        );
        self.delivered.get(&place).copied()
    }

    fn remember_delivery(&mut self, place: usize) {
        let events = self.events;
        if let Some(event) = events.get(place)
            && let Some(id) = event.delivery_id.as_deref()
        {
            let key = (event.integration, event.connection.clone(), id);
            self.delivered.entry(key).or_insert(place);
        }
    }

    /// Counts an event in its window; the window's first event.
    fn hold(&mut self, id: EventId, at: UnixMillis, current: Current<'_>) -> usize {
        let sums = &mut self.timeline.sums;
        let window = self.windows.entry(id).or_insert_with(|| {
            sums.windows += 1;
            Window {
                opened_at: at,
                last_at: at,
                count: 0,
                debounce: current.and_then(|(_, policy)| policy.debounce.clone()),
            }
        });
        window.count += 1;
        window.last_at = at;
        self.timeline.sums.largest_window = self.timeline.sums.largest_window.max(window.count);
        self.places.get(&id).copied().unwrap_or_default()
    }

    /// Ends a window that `event` is handed on for.
    fn end(&mut self, id: EventId, (event, at): (usize, UnixMillis), current: Current<'_>) -> Option<Ended> {
        let window = self.windows.remove(&id)?;
        let received_at = self.events.get(event).map_or(at, |event| event.received_at);
        let sums = &mut self.timeline.sums;
        sums.longest_wait = sums.longest_wait.max(at.since(received_at));
        sums.longest_window = sums.longest_window.max(at.since(window.opened_at));
        Some(Ended {
            window: self.places.get(&id).copied().unwrap_or_default(),
            count: window.count,
            why: self.why_ended(&window, at, current),
        })
    }

    fn hand_on(
        &mut self,
        handed_on: &HandedOn,
        (event, at): (usize, UnixMillis),
        current: Current<'_>,
    ) -> Passed {
        if let Some(unchecked) = handed_on.unchecked {
            return Passed::AtOnce(unchecked.to_owned());
        }
        let Some(id) = handed_on.window else {
            return Passed::AtOnce(self.why_at_once(event, current));
        };
        if handed_on.coalesced.is_none() {
            self.hold(id, at, current);
            return Passed::AtOnce("opens a window: its edge is leading".to_owned());
        }
        match self.end(id, (event, at), current) {
            Some(ended) => Passed::With(ended),
            None => Passed::AtOnce("its window has ended".to_owned()),
        }
    }

    fn why_at_once(&self, event: usize, current: Current<'_>) -> String {
        let debounce = current.and_then(|(_, policy)| policy.debounce.as_ref());
        let (Some(debounce), Some(event)) = (debounce, self.events.get(event)) else {
            return "not debounced".to_owned();
        };
        if event.connection.is_none() {
            "has no connection, so it is never held".to_owned()
        } else if event.object_key.is_none() {
            "has no object key, so it is never held".to_owned()
        } else if event.deleted {
            "a deletion, which is never held".to_owned()
        } else if debounce.bypasses(&event.event_type) {
            "of a type that bypasses windows".to_owned()
        } else {
            "not held".to_owned()
        }
    }

    /// Why a window ended at this time.
    fn why_ended(&self, window: &Window, at: UnixMillis, current: Current<'_>) -> String {
        let Some(debounce) = &window.debounce else {
            return "its time is over".to_owned();
        };
        let quiet_until = window.last_at.after(debounce.quiet);
        let open_until = window.opened_at.after(debounce.max_wait);
        if at >= quiet_until.min(open_until) {
            return if quiet_until <= open_until {
                format!("nothing came for {}", in_words(debounce.quiet))
            } else {
                format!("max_wait: {} since its first event", in_words(debounce.max_wait))
            };
        }
        let now = current.and_then(|(place, _)| self.events.get(place));
        if debounce
            .max_events
            .is_some_and(|max| window.count >= u64::from(max))
        {
            return "max_events is reached".to_owned();
        }
        match now {
            Some(event) if event.deleted => "its object is deleted".to_owned(),
            Some(event) if debounce.bypasses(&event.event_type) => {
                format!("{} bypasses it", event.event_type)
            }
            Some(_) if current.is_some_and(|(_, policy)| policy.debounce.is_none()) => {
                "an event came that is not debounced".to_owned()
            }
            _ => "it is full".to_owned(),
        }
    }
}

/// `2 s`, `1.5 s`, `500 ms`, `5 min`.
#[must_use]
pub fn in_words(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0..1_000 => format!("{millis} ms"),
        _ if millis.is_multiple_of(60_000) => format!("{} min", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{} s", millis / 1_000),
        _ => format!("{:.3} s", time.as_secs_f64())
            .replace("00 s", " s")
            .replace("0 s", " s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_unit() {
        for (millis, said) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (2_000, "2 s"),
            (1_500, "1.5 s"),
            (300_000, "5 min"),
        ] {
            assert_eq!(in_words(Duration::from_millis(millis)), said);
        }
        assert_eq!(in_words(Duration::from_millis(12_016)), "12.016 s");
    }
}
