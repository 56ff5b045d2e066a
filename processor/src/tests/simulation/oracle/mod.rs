//! The oracle: judges a whole history by the promises alone, naively and with everything in plain maps. It knows nothing
//! of how flood control decides. In: a history. Out: every promise that was broken, in words.

mod outcomes;
mod turns;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tidegate_registry::{Edge, FloodPolicy, Keep};
use tidegate_schemas::EventId;

use super::events::Sent;
use super::history::{Became, Entry, History, Moment};
use super::{STEP_MILLIS_MAX, TTL_MILLIS};

/// By how much a window may fire late: some steps of the world, and a tick of the wheel.
const LATE_MILLIS: u64 = 4 * STEP_MILLIS_MAX + 16;
/// The most that a world of a few objects may take.
const BYTES_MAX: usize = 8 << 20;

type ObjectKey = (&'static str, &'static str);

/// A window as the oracle sees it.
struct Open {
    policy: Arc<FloodPolicy>,
    events: Vec<Arc<Sent>>,
    /// The events that it holds: not the one that passed at once.
    held: Vec<Arc<Sent>>,
    opened: Moment,
    /// When it must end, in the world's time.
    deadline: u64,
}

#[derive(Default)]
struct Oracle {
    broken: Vec<String>,
    open: HashMap<EventId, Open>,
    of_object: HashMap<ObjectKey, EventId>,
    ended: BTreeSet<EventId>,
    /// What was remembered, with the highest time by then.
    remembered: HashMap<(&'static str, u64), Vec<(EventId, u64)>>,
    highest: u64,
    versions: HashMap<ObjectKey, Rank>,
    contents: HashMap<ObjectKey, Option<u64>>,
    decided: HashMap<EventId, usize>,
}

/// What an event of an object was last ranked by.
#[derive(Clone, Copy, PartialEq)]
enum Rank {
    Version(i64),
    Time(u64),
}

/// Every promise that a history breaks.
pub fn judge(history: &History) -> Vec<String> {
    let mut oracle = Oracle::default();
    for entry in &history.entries {
        match entry {
            Entry::Decided {
                sent,
                policy,
                at,
                became,
                ..
            } => oracle.decided(sent, policy, (*at, *became)),
            Entry::SetAside { .. } => {}
            Entry::Ended { .. } => oracle.ended(entry, history),
        }
    }
    for (window, open) in &oracle.open {
        let held = open.held.len();
        oracle
            .broken
            .push(format!("window {window} never ended and holds {held} events"));
    }
    oracle.outcomes(history);
    oracle.broken.extend(turns::judge(history));
    if history.bytes_most > BYTES_MAX {
        oracle
            .broken
            .push(format!("{} bytes were taken", history.bytes_most));
    }
    oracle.broken
}

impl Oracle {
    fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(problem());
        }
    }

    fn decided(&mut self, sent: &Arc<Sent>, policy: &Arc<FloodPolicy>, (at, became): (Moment, Became)) {
        self.highest = self.highest.max(sent.received_at.0.min(at.owners.0));
        self.delivery(sent, policy, became);
        if matches!(became, Became::Repeat | Became::Duplicate) {
            return;
        }
        *self.decided.entry(sent.id).or_default() += 1;
        let object = sent.object.map(|object| (sent.connection, object));
        if let Some(object) = object {
            self.order(object, sent, (policy, became));
        }
        if became == Became::Stale {
            return;
        }
        if let Some(delivery) = sent.delivery.filter(|_| policy.dedupe) {
            let place = self.remembered.entry((sent.connection, delivery)).or_default();
            place.push((sent.id, self.highest));
        }
        let Some(object) = object else {
            let passes = matches!(became, Became::HandedOn(None));
            return self.check(passes, || {
                format!("{} names no object and became {became:?}", sent.id)
            });
        };
        let window = self.of_object.get(&object).copied();
        let bypasses = sent.deleted
            || policy
                .debounce
                .as_ref()
                .is_some_and(|debounce| debounce.bypass.iter().any(|of| of == sent.event_type));
        if bypasses {
            let alone =
                window.is_none() && matches!(became, Became::HandedOn(None) | Became::Unchanged(None));
            self.check(alone, || {
                format!("{} bypasses window {window:?} and became {became:?}", sent.id)
            });
        } else {
            self.window((object, window), sent, (policy, at, became));
        }
        if let Became::HandedOn(_) | Became::Unchanged(_) = became {
            self.content(object, sent, (policy.detect_changes, became));
        }
    }

    /// Seen before within the TTL: a duplicate, or a repeat of the same event. Longer ago than two, and by how much the clock
    /// may be set: neither.
    fn delivery(&mut self, sent: &Sent, policy: &FloodPolicy, became: Became) {
        let Some(delivery) = sent.delivery.filter(|_| policy.dedupe) else {
            let judged = matches!(became, Became::Repeat | Became::Duplicate);
            return self.check(!judged, || {
                format!("{} has nothing to be told by and became {became:?}", sent.id)
            });
        };
        let seen = self
            .remembered
            .get(&(sent.connection, delivery))
            .cloned()
            .unwrap_or_default();
        let within = |ttls: u64| {
            let highest = self.highest;
            seen.iter()
                .filter(move |(_, at)| highest - at < ttls * TTL_MILLIS)
        };
        let same = |(id, _): &&(EventId, u64)| *id == sent.id;
        let (must, may) = (within(1).count() > 0, within(3).count() > 0);
        let fits = match became {
            Became::Repeat => within(3).any(|seen| same(&seen)),
            Became::Duplicate => within(3).any(|seen| !same(&seen)),
            _ => !must,
        };
        self.check(fits, || {
            format!(
                "{} under delivery {delivery}: seen {seen:?}, must {must}, may {may}, became {became:?}",
                sent.id
            )
        });
    }

    fn order(&mut self, object: ObjectKey, sent: &Sent, (policy, became): (&FloodPolicy, Became)) {
        let own = sent.version.map(Rank::Version).or(sent.time.map(Rank::Time));
        let newest = self.versions.get(&object).copied();
        let is_older = policy.order
            && match (newest, own) {
                (Some(Rank::Version(newest)), Some(Rank::Version(own))) => own < newest,
                (Some(Rank::Time(newest)), Some(Rank::Time(own))) => own < newest,
                _ => false,
            };
        self.check(is_older == (became == Became::Stale), || {
            format!("{} is older: {is_older}, and became {became:?}", sent.id)
        });
        let keeps = matches!((newest, own), (Some(Rank::Version(_)), Some(Rank::Time(_))));
        if let Some(own) = own.filter(|_| policy.order && !is_older && !keeps) {
            self.versions.insert(object, own);
        }
    }

    fn window(
        &mut self,
        (object, window): (ObjectKey, Option<EventId>),
        sent: &Arc<Sent>,
        (policy, at, became): (&Arc<FloodPolicy>, Moment, Became),
    ) {
        let Some(window) = window else {
            let Some(debounce) = &policy.debounce else {
                let passes = matches!(became, Became::HandedOn(None) | Became::Unchanged(None));
                return self.check(passes, || {
                    format!("{} is not to be held and became {became:?}", sent.id)
                });
            };
            let own = Some(sent.id);
            let opens = match debounce.edge {
                Edge::Trailing => became == Became::Held(sent.id),
                Edge::Leading | Edge::Both => {
                    became == Became::HandedOn(own) || became == Became::Unchanged(own)
                }
            };
            self.check(opens, || {
                format!("{} opens a window and became {became:?}", sent.id)
            });
            // One that was appended twice, and forgotten in between, may open it again; how often is counted at the end.
            let is_again = self.decided.get(&sent.id) > Some(&1);
            let was_open = self.ended.remove(&sent.id);
            self.check(is_again || !was_open, || {
                format!("window {} is opened twice", sent.id)
            });
            let held = if debounce.edge == Edge::Trailing {
                vec![sent.clone()]
            } else {
                Vec::new()
            };
            let open = Open {
                policy: policy.clone(),
                events: vec![sent.clone()],
                held,
                opened: at,
                deadline: at.worlds + debounce.quiet.min(debounce.max_wait).as_millis() as u64,
            };
            self.open.insert(sent.id, open);
            self.of_object.insert(object, sent.id);
            return;
        };
        self.check(became == Became::Held(window), || {
            format!("{} is in {window} and became {became:?}", sent.id)
        });
        let Some(open) = self.open.get_mut(&window) else {
            return;
        };
        open.events.push(sent.clone());
        open.held.push(sent.clone());
        if let Some(debounce) = policy
            .debounce
            .as_ref()
            .filter(|_| policy.debounce == open.policy.debounce)
        {
            let quiet = at.worlds + debounce.quiet.as_millis() as u64;
            open.deadline = quiet.min(open.opened.worlds + debounce.max_wait.as_millis() as u64);
        }
    }

    fn ended(&mut self, entry: &Entry, history: &History) {
        let Entry::Ended {
            window,
            count,
            ids,
            kept,
            listed,
            policy,
            at,
        } = entry
        else {
            return;
        };
        let Some(open) = self.open.remove(window) else {
            return self
                .broken
                .push(format!("window {window} ended and was not open"));
        };
        self.of_object.retain(|_, of| of != window);
        self.ended.insert(*window);
        let all: Vec<EventId> = open.events.iter().map(|event| event.id).collect();
        self.check(*count as usize == all.len(), || {
            format!("window {window} counts {count} of {}", all.len())
        });
        let first: Vec<EventId> = all.iter().copied().take(100).collect();
        self.check(*ids == first, || {
            format!("window {window} names {ids:?}, it had {first:?}")
        });
        self.lateness(*window, &open, (*at, history));
        let debounce = open.policy.debounce.clone().unwrap_or_default();
        let expected = expected_of(&open, (debounce.edge, debounce.keep));
        let found = kept.as_ref().map(|(sent, _)| sent.id);
        self.check(found == expected, || {
            format!("window {window} handed on {found:?} and not {expected:?}")
        });
        if debounce.keep == Keep::All && found.is_some() {
            let held: Vec<EventId> = open.held.iter().map(|event| event.id).collect();
            self.check(*listed == held, || {
                format!("window {window} lists {listed:?} and held {held:?}")
            });
        }
        if let Some((sent, became)) = kept
            && let Some(object) = sent.object
        {
            self.content((sent.connection, object), sent, (policy.detect_changes, *became));
        }
    }

    /// Never later than `max_wait` after it was opened, but for the time in which nobody worked and, behind a takeover,
    /// for what a clock that was set may add: never more than it had to wait at first.
    fn lateness(&mut self, window: EventId, open: &Open, (at, history): (Moment, &History)) {
        let debounce = open.policy.debounce.clone().unwrap_or_default();
        let max_wait = debounce.max_wait.as_millis() as u64;
        let taken_over = history
            .epochs
            .range(..=at.epoch)
            .next_back()
            .map_or(0, |(_, at)| *at);
        let limit = if taken_over > open.opened.worlds {
            open.deadline.max(taken_over + max_wait)
        } else {
            open.deadline
        };
        let paused = history.paused((open.opened.worlds, at.worlds));
        self.check(at.worlds <= limit + paused + LATE_MILLIS, || {
            format!(
                "window {window} ended at {}, which had to end at {limit} ({paused} ms paused)",
                at.worlds
            )
        });
    }

    fn content(&mut self, object: ObjectKey, sent: &Sent, (detects, became): (bool, Became)) {
        let last = self.contents.get(&object).copied().flatten();
        if sent.deleted {
            self.contents.insert(object, None);
        }
        let content = sent.content.filter(|_| detects && !sent.deleted);
        let is_same = content.is_some() && content == last;
        self.check(is_same == matches!(became, Became::Unchanged(_)), || {
            format!(
                "{} has the content {content:?} behind {last:?} and became {became:?}",
                sent.id
            )
        });
        if content.is_some() {
            self.contents.insert(object, content);
        }
    }
}

/// The event that a window must hand on.
fn expected_of(open: &Open, (edge, keep): (Edge, Keep)) -> Option<EventId> {
    if edge == Edge::Leading {
        return None;
    }
    match keep {
        Keep::All => open.held.last().map(|event| event.id),
        Keep::First => open.held.first().map(|event| event.id),
        Keep::Latest => {
            let mut latest = open.events.first()?;
            let (mut version, mut time) = (latest.version, latest.time);
            for event in &open.events[1..] {
                let later = match (event.version, version) {
                    (Some(own), Some(other)) if own != other => own > other,
                    _ => match (event.time, time) {
                        (Some(own), Some(other)) => own >= other,
                        _ => true,
                    },
                };
                if later {
                    latest = event;
                    (version, time) = (event.version.or(version), event.time.or(time));
                }
            }
            let passed = edge == Edge::Both && Arc::ptr_eq(latest, &open.events[0]);
            (!passed).then_some(latest.id)
        }
    }
}
