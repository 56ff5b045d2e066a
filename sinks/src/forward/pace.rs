//! How fast an endpoint is tried: adaptive concurrency and the breaker. Pure: in, how attempts ended and when; out, how
//! many may be under way. Knows no task and no queue.
//!
//! The limit starts low and grows with every success while it is used to the full; a failure that speaks of overload
//! halves it, at most once per try. After some failures in a row the breaker opens: nobody passes until a time that
//! doubles with every vain probe; then one may, and its success closes it.

use std::time::Duration;

use tidegate_schemas::UnixMillis;

use super::Config;

/// What is configured for every endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    start: u32,
    max: u32,
    failures: u32,
    open: Duration,
    open_max: Duration,
}

/// How one endpoint is doing.
pub(crate) struct Pace {
    pub(crate) in_flight: u32,
    limit: f64,
    grows_fast: bool,
    cut_at: UnixMillis,
    failures: u32,
    pub(crate) breaker: Breaker,
}

/// Whether anybody may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// As many as the limit allows.
    Closed,
    /// Nobody, until then; then one.
    Open { until: UnixMillis, turn: u32 },
    /// Nobody: the one is under way.
    HalfOpen { turn: u32 },
}

/// How an attempt ended, as far as its gate is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Success,
    Failure,
    /// A failure that speaks of too many attempts at once.
    Overload,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let max = config.endpoint_in_flight_max.max(1);
        Self {
            start: config.endpoint_in_flight_start.clamp(1, max),
            max,
            failures: config.breaker_failures.max(1),
            open: Duration::from_millis(config.breaker_open_ms),
            open_max: Duration::from_millis(config.breaker_open_max_ms.max(config.breaker_open_ms)),
        }
    }
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            in_flight: 0,
            limit: f64::from(limits.start),
            grows_fast: true,
            cut_at: UnixMillis(0),
            failures: 0,
            breaker: Breaker::Closed,
        }
    }

    /// How many attempts may be under way at once; at least one.
    pub(crate) fn places(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and u32::MAX"
        )]
        {
            self.limit as usize
        }
    }

    /// How many more may begin.
    pub(crate) fn room(&self) -> usize {
        self.places().saturating_sub(self.in_flight as usize)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// An attempt begins; it is the probe if the breaker's time is over.
    pub(crate) fn begin(&mut self) {
        self.in_flight += 1;
        if let Breaker::Open { turn, .. } = self.breaker {
            self.breaker = Breaker::HalfOpen { turn };
        }
    }

    /// An attempt that began at `started` has ended `now`; `None` when it was given up and says nothing.
    pub(crate) fn end(
        &mut self,
        limits: &Limits,
        (started, now): (UnixMillis, UnixMillis),
        ending: Option<Ending>,
    ) {
        self.in_flight -= 1;
        match ending {
            Some(Ending::Success) => {
                self.failures = 0;
                if self.breaker != Breaker::Closed {
                    (self.breaker, self.limit, self.grows_fast) = (Breaker::Closed, 1.0, true);
                }
                if f64::from(self.in_flight) + 1.0 >= self.limit.floor() {
                    self.limit += if self.grows_fast { 1.0 } else { 1.0 / self.limit };
                    self.limit = self.limit.min(f64::from(limits.max));
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
