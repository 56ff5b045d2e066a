//! How many attempts an endpoint gets at once: adaptive concurrency and the breaker, one gate per endpoint and
//! process. In: who wants to try, and how tries ended. Out: a [`Permit`], or why not. Sends nothing, parks nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_schemas::{EndpointId, UnixMillis};
use tokio::sync::Notify;

use super::pace::{Breaker, Limits, Pace};
use super::{Clock, Config};

pub(crate) use super::pace::Ending;

/// How soon those who wait for a probe's end look again.
const PROBE_CHECK: Duration = Duration::from_secs(1);

/// Who is told when a try has become possible: one owner of a partition.
#[derive(Default)]
pub(crate) struct Wake {
    notify: Notify,
    endpoints: Mutex<Vec<EndpointId>>,
}

impl Wake {
    /// Waits until an endpoint may be tried that was busy before.
    pub(crate) async fn woken(&self) -> Vec<EndpointId> {
        loop {
            let endpoints = std::mem::take(&mut *self.endpoints.lock());
            if !endpoints.is_empty() {
                return endpoints;
            }
            self.notify.notified().await;
        }
    }

    fn wake(&self, endpoint: EndpointId) {
        self.endpoints.lock().push(endpoint);
        self.notify.notify_one();
    }
}

/// All gates of the process, and what they share.
pub(crate) struct Gates {
    clock: Clock,
    limits: Limits,
    /// Attempts under way at once, over all endpoints.
    total: usize,
    gates: Mutex<HashMap<EndpointId, Arc<Gate>>>,
    in_flight: AtomicUsize,
    crowded_out: Mutex<CrowdedOut>,
}

/// Who was refused only because of the bound over all endpoints: each endpoint and owner once.
#[derive(Default)]
struct CrowdedOut {
    queue: VecDeque<(EndpointId, Arc<Wake>)>,
    queued: HashSet<(EndpointId, usize)>,
}

/// One endpoint's gate.
pub(crate) struct Gate {
    endpoint: EndpointId,
    /// The version of the endpoint that answered 410, plus one; 0 for none.
    gone: AtomicU64,
    state: Mutex<State>,
}

struct State {
    pace: Pace,
    waiters: VecDeque<Arc<Wake>>,
}

/// Whether an attempt may begin.
pub(crate) enum Entry {
    /// It may.
    Go(Permit),
    /// As many as may be are under way; the owner is woken when that changes.
    Busy,
    /// The breaker is open until then.
    Open(UnixMillis),
}

/// The right to one attempt, given back by [`Permit::end`], or by being dropped with its task.
pub(crate) struct Permit {
    gates: Arc<Gates>,
    gate: Arc<Gate>,
    started: UnixMillis,
    ended: bool,
}

impl Gates {
    pub(crate) fn new(config: &Config, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            limits: Limits::of(config),
            total: config.in_flight_max.max(1),
            gates: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            crowded_out: Mutex::default(),
        })
    }

    pub(crate) fn gate(&self, endpoint: EndpointId) -> Arc<Gate> {
        let fresh = || {
            Arc::new(Gate {
                endpoint,
                gone: AtomicU64::new(0),
                state: Mutex::new(State {
                    pace: Pace::new(&self.limits),
                    waiters: VecDeque::new(),
                }),
            })
        };
        self.gates.lock().entry(endpoint).or_insert_with(fresh).clone()
    }

    /// Asks for an attempt. An endpoint that has none under way may use the last quarter of all attempts alone, so
    /// that endpoints which hang never keep out one that does not.
    pub(crate) fn enter(self: &Arc<Self>, gate: &Arc<Gate>, wake: &Arc<Wake>) -> Entry {
        let now = self.clock.now();
        let mut state = gate.state.lock();
        match state.pace.breaker {
            Breaker::Open { until, .. } if now < until => return Entry::Open(until),
            Breaker::HalfOpen { .. } => return Entry::Open(now.after(PROBE_CHECK)),
            Breaker::Closed if !state.pace.has_room() => {
                if !state.waiters.iter().any(|other| Arc::ptr_eq(other, wake)) {
                    state.waiters.push_back(wake.clone());
                }
                return Entry::Busy;
            }
            Breaker::Open { .. } | Breaker::Closed => {}
        }
        let allowed = if state.pace.in_flight == 0 {
            self.total
        } else {
            self.total / 4 * 3
        };
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= allowed.max(1) {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.crowded_out.lock().push(gate.endpoint, wake);
            return Entry::Busy;
        }
        state.pace.begin();
        drop(state);
        Entry::Go(Permit {
            gates: self.clone(),
            gate: gate.clone(),
            started: now,
            ended: false,
        })
    }

    /// Hands on a wake that its owner has no use for.
    pub(crate) fn pass_on(&self, gate: &Gate) {
        let waiter = gate.state.lock().waiters.pop_front();
        if let Some(wake) = waiter {
            wake.wake(gate.endpoint);
        }
    }

    fn leave(&self, gate: &Gate, started: UnixMillis, ending: Option<Ending>) {
        let now = self.clock.now();
        let mut state = gate.state.lock();
        state.pace.end(&self.limits, (started, now), ending);
        // When the breaker has opened, everybody is told, so that nobody waits for a place that does not come.
        let woken = match state.pace.breaker {
            Breaker::Closed => state.pace.room(),
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => usize::MAX,
        };
        let count = woken.min(state.waiters.len());
        let woken: Vec<Arc<Wake>> = state.waiters.drain(..count).collect();
        drop(state);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        woken.iter().for_each(|wake| wake.wake(gate.endpoint));
        let crowded_out = self.crowded_out.lock().pop();
        if let Some((endpoint, wake)) = crowded_out {
            wake.wake(endpoint);
        }
    }
}

impl CrowdedOut {
    fn push(&mut self, endpoint: EndpointId, wake: &Arc<Wake>) {
        if self.queued.insert((endpoint, Arc::as_ptr(wake).addr())) {
            self.queue.push_back((endpoint, wake.clone()));
        }
    }

    fn pop(&mut self) -> Option<(EndpointId, Arc<Wake>)> {
        let (endpoint, wake) = self.queue.pop_front()?;
        self.queued.remove(&(endpoint, Arc::as_ptr(&wake).addr()));
        Some((endpoint, wake))
    }
}

impl Gate {
    /// How many deliveries are worth having at hand: what could be tried soon.
    pub(crate) fn appetite(&self, now: UnixMillis) -> usize {
        let state = self.state.lock();
        match state.pace.breaker {
            Breaker::Closed => state.pace.places() * 4,
            Breaker::Open { until, .. } => usize::from(now >= until),
            Breaker::HalfOpen { .. } => 0,
        }
    }

    /// When the open breaker lets a probe pass; `None` while it is closed.
    pub(crate) fn opens_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        match self.state.lock().pace.breaker {
            Breaker::Open { until, .. } if now < until => Some(until),
            Breaker::HalfOpen { .. } => Some(now.after(PROBE_CHECK)),
            _ => None,
        }
    }

    /// The endpoint, at this version, answered that it is gone.
    pub(crate) fn set_gone(&self, version: u64) {
        self.gone.store(version + 1, Ordering::Release);
    }

    /// Whether it said so and was not written since.
    pub(crate) fn is_gone(&self, version: u64) -> bool {
        self.gone.load(Ordering::Acquire) > version
    }
}

impl Permit {
    pub(crate) fn end(mut self, ending: Ending) {
        self.ended = true;
        self.gates.leave(&self.gate, self.started, Some(ending));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.ended {
            self.gates.leave(&self.gate, self.started, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ManualClock;
    use super::*;

    struct Door {
        clock: ManualClock,
        gates: Arc<Gates>,
        gate: Arc<Gate>,
        wake: Arc<Wake>,
    }

    fn door(in_flight_max: usize) -> Door {
        let config = Config {
            in_flight_max,
            endpoint_in_flight_start: 2,
            endpoint_in_flight_max: 4,
            breaker_failures: 3,
            breaker_open_ms: 1_000,
            breaker_open_max_ms: 3_000,
            ..Config::default()
        };
        let clock = ManualClock::new(UnixMillis(1_000_000));
        let gates = Gates::new(&config, Clock::Manual(clock.clone()));
        let gate = gates.gate(EndpointId::new(UnixMillis(1)));
        Door {
            clock,
            gates,
            gate,
            wake: Arc::default(),
        }
    }

    impl Door {
        fn enter(&self) -> Result<Permit, &'static str> {
            match self.gates.enter(&self.gate, &self.wake) {
                Entry::Go(permit) => Ok(permit),
                Entry::Busy => Err("busy"),
                Entry::Open(_) => Err("open"),
            }
        }

        fn fill(&self) -> Vec<Permit> {
            std::iter::from_fn(|| self.enter().ok()).take(100).collect()
        }

        fn try_once(&self, ending: Ending) {
            self.enter().unwrap_or_else(|why| panic!("{why}")).end(ending);
        }

        fn after(&self, millis: u64) -> &Self {
            self.clock.advance(Duration::from_millis(millis));
            self
        }
    }

    #[test]
    fn the_limit_grows_while_it_is_used_and_halves_at_overload() {
        let door = door(100);
        let mut permits = door.fill();
        assert_eq!(permits.len(), 2);
        permits.pop().expect("two").end(Ending::Success);
        permits.extend(door.fill());
        assert_eq!(permits.len(), 3);
        for permit in permits.drain(..) {
            permit.end(Ending::Success);
        }
        assert_eq!(door.fill().len(), 4, "never more than the limit's limit");
        door.try_once(Ending::Overload);
        assert_eq!(door.fill().len(), 2);
        door.after(1).try_once(Ending::Failure);
        assert_eq!(door.fill().len(), 2, "another failure says nothing of overload");
    }

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let door = door(100);
        (0..3).for_each(|_| door.try_once(Ending::Failure));
        assert_eq!(door.enter().err(), Some("open"));
        assert_eq!(door.gate.appetite(door.clock.now()), 0);
        let probe = door.after(1_000).enter().expect("one probe");
        assert_eq!(door.enter().err(), Some("open"), "one alone");
        probe.end(Ending::Failure);
        assert_eq!(door.after(1_999).enter().err(), Some("open"), "twice as long");
        door.after(1).try_once(Ending::Failure);
        assert_eq!(
            door.after(2_999).enter().err(),
            Some("open"),
            "and at most so long"
        );
        door.after(1).try_once(Ending::Success);
        assert!(door.enter().is_ok() && door.gate.opens_at(door.clock.now()).is_none());
    }

    #[test]
    fn a_dropped_permit_gives_its_place_back() {
        let door = door(100);
        drop(door.fill());
        assert_eq!(door.fill().len(), 2);
        (0..3).for_each(|_| door.try_once(Ending::Failure));
        drop(door.after(1_000).enter().expect("a probe"));
        assert!(door.enter().is_ok(), "the probe was none");
    }

    #[test]
    fn the_last_quarter_is_for_endpoints_without_any() {
        let door = door(4);
        for _ in 0..2 {
            door.fill()
                .into_iter()
                .for_each(|permit| permit.end(Ending::Success));
        }
        let greedy = door.fill();
        assert_eq!(greedy.len(), 3);
        let other = door.gates.gate(EndpointId::new(UnixMillis(2)));
        assert!(matches!(door.gates.enter(&other, &door.wake), Entry::Go(_)));
    }

    #[tokio::test]
    async fn who_found_it_busy_is_woken() {
        let door = door(100);
        let mut permits = door.fill();
        assert_eq!(door.enter().err(), Some("busy"));
        permits.pop().expect("two").end(Ending::Failure);
        assert_eq!(door.wake.woken().await, [door.gate.endpoint]);
    }

    #[tokio::test]
    async fn who_waits_for_a_place_hears_that_the_breaker_opened() {
        let door = door(100);
        (0..2).for_each(|_| door.try_once(Ending::Failure));
        let mut permits = door.fill();
        assert_eq!(door.enter().err(), Some("busy"));
        permits.pop().expect("two").end(Ending::Failure);
        assert_eq!(door.wake.woken().await, [door.gate.endpoint]);
        assert_eq!(door.enter().err(), Some("open"));
    }

    #[test]
    fn gone_is_said_of_one_version() {
        let gate = door(1).gate;
        gate.set_gone(4);
        assert_eq!(
            [3, 4, 5].map(|version| gate.is_gone(version)),
            [true, true, false]
        );
    }
}
