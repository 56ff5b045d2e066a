//! How many attempts an endpoint gets at once: adaptive concurrency and the breaker, one gate per endpoint and
//! process. In: who wants to try, and how tries ended. Out: a [`Permit`], or why not. Sends nothing, parks nothing.
//!
//! The limit starts low and grows with every success while it is used to the full; a failure that speaks of overload
//! halves it, at most once per try. After some failures in a row the breaker opens: nobody passes until a time that
//! doubles with every vain probe; then one may, and its success closes it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_schemas::{EndpointId, UnixMillis};
use tokio::sync::Notify;

use super::{Clock, Config};

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

#[derive(Debug, Clone, Copy)]
struct Limits {
    total: usize,
    endpoint_start: u32,
    endpoint_max: u32,
    failures: u32,
    open: Duration,
    open_max: Duration,
}

/// One endpoint's gate.
pub(crate) struct Gate {
    endpoint: EndpointId,
    /// The version of the endpoint that answered 410, plus one; 0 for none.
    gone: AtomicU64,
    state: Mutex<State>,
}

struct State {
    in_flight: u32,
    limit: f64,
    grows_fast: bool,
    cut_at: UnixMillis,
    failures: u32,
    breaker: Breaker,
    waiters: VecDeque<Arc<Wake>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaker {
    Closed,
    Open { until: UnixMillis, turn: u32 },
    HalfOpen { turn: u32 },
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

/// How an attempt ended, as far as its gate is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    Failure,
    /// A failure that speaks of too many attempts at once.
    Overload,
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
        let limits = Limits {
            total: config.in_flight_max.max(1),
            endpoint_start: config
                .endpoint_in_flight_start
                .clamp(1, config.endpoint_in_flight_max.max(1)),
            endpoint_max: config.endpoint_in_flight_max.max(1),
            failures: config.breaker_failures.max(1),
            open: Duration::from_millis(config.breaker_open_ms),
            open_max: Duration::from_millis(config.breaker_open_max_ms.max(config.breaker_open_ms)),
        };
        Arc::new(Self {
            clock,
            limits,
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
                    in_flight: 0,
                    limit: f64::from(self.limits.endpoint_start),
                    grows_fast: true,
                    cut_at: UnixMillis(0),
                    failures: 0,
                    breaker: Breaker::Closed,
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
        match state.breaker {
            Breaker::Open { until, .. } if now < until => return Entry::Open(until),
            Breaker::HalfOpen { .. } => return Entry::Open(now.after(PROBE_CHECK)),
            Breaker::Open { .. } | Breaker::Closed => {}
        }
        if f64::from(state.in_flight) >= state.limit.floor() && state.breaker == Breaker::Closed {
            if !state.waiters.iter().any(|other| Arc::ptr_eq(other, wake)) {
                state.waiters.push_back(wake.clone());
            }
            return Entry::Busy;
        }
        let allowed = if state.in_flight == 0 {
            self.limits.total
        } else {
            self.limits.total / 4 * 3
        };
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= allowed.max(1) {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            self.crowded_out.lock().push(gate.endpoint, wake);
            return Entry::Busy;
        }
        if let Breaker::Open { turn, .. } = state.breaker {
            state.breaker = Breaker::HalfOpen { turn };
        }
        state.in_flight += 1;
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
        state.in_flight -= 1;
        state.settle(&self.limits, (started, now), ending);
        let room = state.limit.floor() - f64::from(state.in_flight);
        let mut woken = Vec::new();
        while state.breaker == Breaker::Closed
            && f64::from(u32::try_from(woken.len()).unwrap_or(u32::MAX)) < room
        {
            let Some(wake) = state.waiters.pop_front() else {
                break;
            };
            woken.push(wake);
        }
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

impl State {
    fn settle(&mut self, limits: &Limits, (started, now): (UnixMillis, UnixMillis), ending: Option<Ending>) {
        match ending {
            Some(Ending::Success) => {
                self.failures = 0;
                if self.breaker != Breaker::Closed {
                    (self.breaker, self.limit, self.grows_fast) = (Breaker::Closed, 1.0, true);
                }
                if f64::from(self.in_flight) + 1.0 >= self.limit.floor() {
                    self.limit += if self.grows_fast { 1.0 } else { 1.0 / self.limit };
                    self.limit = self.limit.min(f64::from(limits.endpoint_max));
                }
            }
            Some(failure) => {
                self.failures = self.failures.saturating_add(1);
                if failure == Ending::Overload && started >= self.cut_at {
                    (self.limit, self.grows_fast, self.cut_at) = ((self.limit / 2.0).max(1.0), false, now);
                }
                self.breaker = match self.breaker {
                    Breaker::Closed if self.failures >= limits.failures => Breaker::Open {
                        until: now.after(limits.open),
                        turn: 1,
                    },
                    Breaker::HalfOpen { turn } => {
                        let wait = limits.open.saturating_mul(1 << turn.min(16)).min(limits.open_max);
                        Breaker::Open {
                            until: now.after(wait),
                            turn: turn.saturating_add(1),
                        }
                    }
                    unchanged => unchanged,
                };
            }
            None => {
                if let Breaker::HalfOpen { turn } = self.breaker {
                    self.breaker = Breaker::Open { until: now, turn };
                }
            }
        }
    }
}

impl Gate {
    /// How many deliveries are worth having at hand: what could be tried soon.
    pub(crate) fn appetite(&self, now: UnixMillis) -> usize {
        let state = self.state.lock();
        match state.breaker {
            // A float's floor that is at least 1 and at most a u32.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and u32::MAX"
            )]
            Breaker::Closed => state.limit as usize * 4,
            Breaker::Open { until, .. } => usize::from(now >= until),
            Breaker::HalfOpen { .. } => 0,
        }
    }

    /// When the open breaker lets a probe pass; `None` while it is closed.
    pub(crate) fn opens_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        match self.state.lock().breaker {
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
