//! How fast connections and integrations go: for each that is ahead of its rate, when it will have caught up. In: who pays
//! for an event, its limit, the time. Out: whether the event fits now, and else when. Remembers only who is ahead and
//! journals nothing: a new owner begins with everybody at rest.

use std::time::Duration;

use tidegate_registry::RateLimit;
use tidegate_schemas::UnixMillis;

use crate::flood::{Fingerprint, FingerprintMap};

/// How long the second reader lets a queue gather turns before it serves it again.
pub(crate) const TURN: Duration = Duration::from_millis(5);
/// How much a queue that was not served in time is given at once: this long at its rate.
const MADE_UP_MICROS: u64 = MICROS;
/// With so many remembered those that have caught up are forgotten.
const SWEPT_AT: usize = 1024;
const MICROS: u64 = 1_000_000;

/// Who pays for an event, and what may be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payer {
    pub who: Fingerprint,
    pub limit: RateLimit,
}

/// The rates that hold for an event: its connection's and its integration's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pace {
    pub connection: Option<Payer>,
    pub integration: Option<Payer>,
    /// Whether they are known: a new owner does not know those of what it finds.
    pub is_known: bool,
}

impl Pace {
    fn payers(&self) -> impl Iterator<Item = Payer> {
        self.connection.into_iter().chain(self.integration)
    }
}

/// When, in microseconds, whoever is ahead of its rate will have caught up.
#[derive(Debug)]
pub(crate) struct Rates {
    caught_up: FingerprintMap<u64>,
    sweep_at: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            caught_up: FingerprintMap::default(),
            sweep_at: SWEPT_AT,
        }
    }
}

impl Rates {
    /// Pays for one event if it fits now; else nobody pays.
    pub fn fits(&mut self, pace: &Pace, now: UnixMillis) -> bool {
        if self.next_at(pace) > now {
            return false;
        }
        self.pay(pace, now);
        true
    }

    /// How many of `waiting` events that were set aside may be decided now; they are paid for. One at least, and all where
    /// no rate holds any more.
    pub fn serve(&mut self, pace: &Pace, waiting: usize, now: UnixMillis) -> usize {
        let late = (now.0 * 1000).saturating_sub(self.next_at(pace).0 * 1000);
        let turns = |payer: Payer| late.min(MADE_UP_MICROS) / each(payer.limit) + 1;
        let without = if pace.is_known { u64::MAX } else { 1 };
        let turns = pace.payers().map(turns).min().unwrap_or(without);
        let served = waiting.min(usize::try_from(turns).unwrap_or(usize::MAX));
        for payer in pace.payers() {
            let caught_up = self.caught_up.entry(payer.who).or_insert(0);
            *caught_up = (*caught_up + each(payer.limit) * served as u64).max(now.0 * 1000);
        }
        served
    }

    fn pay(&mut self, pace: &Pace, now: UnixMillis) {
        let now = now.0 * 1000;
        for Payer { who, limit } in pace.payers() {
            let caught_up = self.caught_up.entry(who).or_insert(0);
            *caught_up = (*caught_up).max(now) + each(limit);
        }
        if self.caught_up.len() >= self.sweep_at {
            self.caught_up.retain(|_, caught_up| *caught_up > now);
            self.sweep_at = SWEPT_AT.max(2 * self.caught_up.len());
        }
    }

    /// When the next event fits.
    pub fn next_at(&self, pace: &Pace) -> UnixMillis {
        let next = |Payer { who, limit }: Payer| {
            let caught_up = self.caught_up.get(&who).copied().unwrap_or(0);
            let at_once = each(limit) * u64::from(limit.burst.max(1));
            UnixMillis((caught_up + each(limit)).saturating_sub(at_once).div_ceil(1000))
        };
        pace.payers().map(next).max().unwrap_or(UnixMillis(0))
    }
}

/// How long an event takes at a rate, in microseconds.
fn each(limit: RateLimit) -> u64 {
    (MICROS / u64::from(limit.per_second.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_second: u32, burst: u32, who: u8) -> Pace {
        Pace {
            connection: Some(Payer {
                who: Fingerprint([who; 12]),
                limit: RateLimit { per_second, burst },
            }),
            integration: None,
            is_known: true,
        }
    }

    /// How many of one event each millisecond fit within a second.
    fn fitting(rates: &mut Rates, pace: &Pace, from: u64) -> usize {
        (from..from + 1000)
            .filter(|at| rates.fits(pace, UnixMillis(*at)))
            .count()
    }

    #[test]
    fn a_burst_fits_and_then_the_rate() {
        let (mut rates, pace) = (Rates::default(), pace(50, 20, 1));
        let at_once = (0..100).filter(|_| rates.fits(&pace, UnixMillis(10_000))).count();
        assert_eq!(at_once, 20);
        assert_eq!(fitting(&mut rates, &pace, 10_001), 50);
        let at_once = (0..100).filter(|_| rates.fits(&pace, UnixMillis(20_000))).count();
        assert_eq!(at_once, 20, "after a rest the burst fits again");
    }

    #[test]
    fn what_waits_is_served_at_the_rate_however_seldom_it_is_asked_for() {
        for every in [5, 40, 300] {
            let (mut rates, pace) = (Rates::default(), pace(100, 10, 1));
            while rates.fits(&pace, UnixMillis(1_000)) {}
            let mut served = 0;
            for at in (1_000..11_000).step_by(every) {
                let now = UnixMillis(at);
                if rates.next_at(&pace) <= now {
                    served += rates.serve(&pace, 1_000_000, now);
                }
            }
            assert!(
                (960..=1_001).contains(&served),
                "{served} in ten seconds, every {every} ms"
            );
        }
    }

    #[test]
    fn a_long_pause_is_made_up_for_a_second_at_most() {
        let (mut rates, pace) = (Rates::default(), pace(100, 1, 1));
        assert_eq!(rates.serve(&pace, 1_000_000, UnixMillis(3_600_000)), 101);
        assert_eq!(rates.serve(&pace, 7, UnixMillis(7_200_000)), 7);
        assert_eq!(
            rates.serve(&Pace::default(), 7, UnixMillis(7_200_000)),
            1,
            "an unknown pace is slow"
        );
        let free = Pace {
            is_known: true,
            ..Pace::default()
        };
        assert_eq!(rates.serve(&free, 7, UnixMillis(7_200_000)), 7);
    }

    #[test]
    fn an_event_must_fit_both_and_pays_neither_when_it_fits_only_one() {
        let mut rates = Rates::default();
        let both = Pace {
            integration: pace(10, 1, 2).connection,
            ..pace(1000, 1000, 1)
        };
        assert!(rates.fits(&both, UnixMillis(1_000)));
        assert_eq!(fitting(&mut rates, &both, 1_001), 10);
        let alone = pace(1000, 1000, 1);
        assert!(rates.next_at(&alone) < UnixMillis(2_001));
    }

    #[test]
    fn only_who_is_ahead_is_remembered() {
        let mut rates = Rates::default();
        for n in 0..100_000u32 {
            let mut pace = pace(1000, 1, 1);
            if let Some(payer) = &mut pace.connection {
                payer.who.0[..4].copy_from_slice(&n.to_be_bytes());
            }
            assert!(rates.fits(&pace, UnixMillis(u64::from(n))));
        }
        assert!(rates.caught_up.len() <= SWEPT_AT, "{}", rates.caught_up.len());
    }
}
