//! The oracle of turns: nobody is faster than its rate, nobody who waits is slower, and each connection keeps its order.
//! It counts by rates and places alone, connection by connection, and knows nothing of how turns are given.
//! In: a history. Out: every promise that was broken, in words.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidegate_registry::{FloodPolicy, RateLimit};

use super::super::events::Sent;
use super::super::history::{Entry, History, Lies, Moment, Turned};
use super::LATE_MILLIS;

/// What somebody who was not served in time may make up at once, and what a decision may come later than its turn,
/// in milliseconds of its rate.
const MADE_UP_MILLIS: f64 = 1_100.0;
/// How much later than its rate says somebody is served at most: owners come round, a former rate holds for one turn, and
/// what was let through at once under it is paid off first.
const SLOW_MILLIS: f64 = LATE_MILLIS as f64 + 350.0;
/// Bytes that a pointer may take at most, alone in its run, and a connection's queue.
const POINTER_BYTES: usize = 100;
const QUEUE_BYTES: usize = 500;

/// How much somebody went through of late; it drains at its rate.
#[derive(Default)]
struct Bucket {
    /// Under which policy and owner it is filled.
    held_for: Option<(usize, *const FloodPolicy)>,
    level: f64,
    at: u64,
}

impl Bucket {
    /// One more; whether that is more than the rate allows.
    fn is_exceeded(&mut self, limit: RateLimit, (at, policy): (Moment, &Arc<FloodPolicy>)) -> bool {
        let held_for = Some((at.epoch, Arc::as_ptr(policy)));
        if self.held_for != held_for {
            *self = Self {
                held_for,
                level: 0.0,
                at: at.worlds,
            };
        }
        let per_milli = f64::from(limit.per_second) / 1000.0;
        let since = at.worlds.saturating_sub(self.at) as f64;
        self.level = (self.level - since * per_milli).max(0.0) + 1.0;
        self.at = at.worlds;
        self.level > f64::from(limit.burst) + MADE_UP_MILLIS * per_milli + 5.0
    }
}

/// One connection.
#[derive(Default)]
struct Connection {
    /// What waits, in its order.
    waiting: VecDeque<Lies>,
    /// The last that was set aside or decided at once.
    came: Option<Lies>,
    /// The last that was decided.
    decided: Option<Lies>,
    bucket: Bucket,
    /// Since when it has waited under one policy and owner, and how many were served since.
    busy: Option<(u64, (usize, *const FloodPolicy), u64)>,
    /// The policy that held for the last of it, and the reading in which it was new.
    new_in: Option<(*const FloodPolicy, (usize, u64))>,
}

impl Connection {
    /// Whether the policy is new in this reading: what is served then may have been served at the rates before.
    fn is_new(&mut self, policy: &Arc<FloodPolicy>, at: Moment) -> bool {
        let (policy, reading) = (Arc::as_ptr(policy), (at.epoch, at.reading));
        match self.new_in {
            Some((known, new_in)) if known == policy => new_in == reading,
            _ => {
                self.new_in = Some((policy, reading));
                true
            }
        }
    }

    /// How long it is behind its rate, in milliseconds, when something of it is served.
    fn behind(&mut self, (at, policy): (Moment, &Arc<FloodPolicy>), history: &History) -> f64 {
        let under = (at.epoch, Arc::as_ptr(policy));
        let (since, served) = match self.busy {
            Some((since, held, served)) if held == under => (since, served + 1),
            _ => (at.worlds, 0),
        };
        let each = match (policy.rate, policy.integration_rate) {
            (Some(rate), None) => 1000.0 / f64::from(rate.per_second),
            // With no rate all of it goes at once; what others of the integration take is not known here.
            (None, None) => 0.0,
            (_, Some(_)) => f64::INFINITY,
        };
        let paused = history.paused((since, at.worlds));
        let waited = at.worlds.saturating_sub(since).saturating_sub(paused) as f64;
        self.busy = if policy.rate.is_some() {
            Some((since, under, served))
        } else {
            Some((at.worlds, under, 0))
        };
        waited - each * (served + 1) as f64
    }
}

#[derive(Default)]
struct Oracle {
    connections: HashMap<&'static str, Connection>,
    integration: Bucket,
    waiting: usize,
    broken: Vec<String>,
}

/// Every promise about turns that a history breaks.
pub fn judge(history: &History) -> Vec<String> {
    let mut oracle = Oracle::default();
    for entry in &history.entries {
        match entry {
            Entry::SetAside {
                sent,
                policy,
                at,
                lies,
            } => oracle.set_aside(sent, (policy, *at), *lies),
            Entry::Decided {
                sent,
                policy,
                at,
                lies,
                turned,
                ..
            } => oracle.decided((sent, *lies, *turned), (policy, *at), history),
            Entry::Ended { .. } => {}
        }
    }
    let Oracle {
        connections,
        mut broken,
        ..
    } = oracle;
    for (connection, left) in connections.into_iter().filter(|(_, it)| !it.waiting.is_empty()) {
        broken.push(format!("{connection} waits for ever: {:?}", left.waiting));
    }
    if history.aside_bytes_most > history.aside_bytes_max + 16 {
        broken.push(format!("{} bytes were set aside", history.aside_bytes_most));
    }
    broken
}

impl Oracle {
    fn check(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(problem());
        }
    }

    fn set_aside(&mut self, sent: &Sent, (policy, at): (&Arc<FloodPolicy>, Moment), lies: Lies) {
        let connection = self.connections.entry(sent.connection).or_default();
        connection.is_new(policy, at);
        let is_for_a_rate = policy.rate.is_some() || policy.integration_rate.is_some();
        let has_cause = is_for_a_rate || !connection.waiting.is_empty();
        let in_order = connection.came < Some(lies);
        if connection.waiting.is_empty() {
            connection.busy = Some((at.worlds, (at.epoch, Arc::as_ptr(policy)), 0));
        }
        connection.waiting.push_back(lies);
        connection.came = Some(lies);
        self.waiting += 1;
        self.check(has_cause, || format!("{} was set aside for nothing", sent.id));
        self.check(in_order, || {
            format!("{} at {lies:?} came behind a later one", sent.id)
        });
    }

    fn decided(
        &mut self,
        (sent, lies, turned): (&Sent, Lies, Turned),
        (policy, at): (&Arc<FloodPolicy>, Moment),
        history: &History,
    ) {
        let waiting = self.waiting;
        if turned == Turned::NoRoom {
            let queues = self.connections.values().filter(|it| !it.waiting.is_empty());
            let most = waiting * POINTER_BYTES + (queues.count() + 1) * QUEUE_BYTES;
            return self.check(most >= history.aside_bytes_max, || {
                format!("{} found no room beside {waiting} others", sent.id)
            });
        }
        let connection = self.connections.entry(sent.connection).or_default();
        let mut problem = None;
        if turned == Turned::InTurn {
            let next = connection.waiting.pop_front();
            self.waiting = waiting.saturating_sub(1);
            if next != Some(lies) {
                problem = Some(format!("{} at {lies:?} was served before {next:?}", sent.id));
            }
            let behind = connection.behind((at, policy), history);
            if behind > SLOW_MILLIS {
                problem = Some(format!("{} was served {behind} ms behind its rate", sent.id));
            }
        } else {
            if let Some(first) = connection.waiting.front() {
                problem = Some(format!("{} at {lies:?} overtook {first:?}", sent.id));
            }
            connection.came = connection.came.max(Some(lies));
        }
        if connection.decided >= Some(lies) {
            let last = connection.decided;
            problem = Some(format!("{} at {lies:?} was decided behind {last:?}", sent.id));
        }
        connection.decided = Some(lies);
        let is_new = connection.is_new(policy, at);
        let own = policy.rate.filter(|_| !is_new);
        let too_fast = own.is_some_and(|rate| connection.bucket.is_exceeded(rate, (at, policy)));
        let all = policy.integration_rate.filter(|_| !is_new);
        let too_fast = too_fast | all.is_some_and(|rate| self.integration.is_exceeded(rate, (at, policy)));
        self.check(problem.is_none(), || problem.unwrap_or_default());
        self.check(!too_fast, || {
            format!(
                "{} of {} was decided faster than its rate",
                sent.id, sent.connection
            )
        });
    }
}
