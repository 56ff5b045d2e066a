//! Rates per integration: a token bucket each. In: an integration, its rate, the time. Out: taken, or when to come back.
//! Counts in this process only: the limit is per ingest instance. Remembers at most `rates_max` integrations
//! (≤ 96 B each), two generations of half of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_schemas::IntegrationId;

/// How many requests an integration may send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests a second, lasting.
    pub per_second: f64,
    /// Requests at once.
    pub burst: f64,
}

/// What became of a request at its bucket; the numbers of the `X-RateLimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Take {
    /// Whether it may pass.
    pub granted: bool,
    /// How many may follow at once.
    pub remaining: u64,
    /// When the next one may pass (zero if at once).
    pub retry_after: Duration,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of all integrations.
pub struct Rates {
    generations: Mutex<[HashMap<IntegrationId, Bucket>; 2]>,
    generation_max: usize,
}

impl Rates {
    /// Buckets for at most `rates_max` integrations.
    #[must_use]
    pub fn new(rates_max: usize) -> Self {
        Self {
            generations: Mutex::default(),
            generation_max: (rates_max / 2).max(1),
        }
    }

    /// Takes one request from the integration's bucket.
    pub fn take(&self, integration: IntegrationId, rate: Rate, now: Instant) -> Take {
        let mut generations = self.generations.lock();
        let [young, old] = &mut *generations;
        let known = young.get(&integration).or_else(|| old.get(&integration)).copied();
        let mut bucket = known.unwrap_or(Bucket {
            tokens: rate.burst,
            at: now,
        });
        let refilled = now.saturating_duration_since(bucket.at).as_secs_f64() * rate.per_second;
        bucket.tokens = (bucket.tokens + refilled).min(rate.burst);
        bucket.at = now;
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        if young.len() >= self.generation_max && !young.contains_key(&integration) {
            *old = std::mem::take(young);
        }
        young.insert(integration, bucket);
        let missing = (1.0 - bucket.tokens).max(0.0) / rate.per_second.max(f64::MIN_POSITIVE);
        let retry_after = if granted {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(missing.min(86_400.0))
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "tokens lie in 0..=burst"
        )]
        let remaining = bucket.tokens as u64;
        Take {
            granted,
            remaining,
            retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_schemas::UnixMillis;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (rates, id, start) = (Rates::new(10), IntegrationId::new(UnixMillis(1)), Instant::now());
        let rate = Rate {
            per_second: 2.0,
            burst: 3.0,
        };
        let granted = |at: u64| rates.take(id, rate, start + Duration::from_millis(at)).granted;
        assert_eq!(
            [granted(0), granted(0), granted(0), granted(0)],
            [true, true, true, false]
        );
        assert_eq!([granted(499), granted(500), granted(500)], [false, true, false]);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let (rates, id, now) = (Rates::new(10), IntegrationId::new(UnixMillis(1)), Instant::now());
        let rate = Rate {
            per_second: 0.5,
            burst: 1.0,
        };
        assert_eq!(rates.take(id, rate, now).remaining, 0);
        assert_eq!(rates.take(id, rate, now).retry_after, Duration::from_secs(2));
    }

    #[test]
    fn memory_is_bounded_and_the_busy_stay() {
        let (rates, now) = (Rates::new(100), Instant::now());
        let rate = Rate {
            per_second: 1.0,
            burst: 1.0,
        };
        let busy = IntegrationId::new(UnixMillis(1));
        assert!(rates.take(busy, rate, now).granted);
        for n in 0..1000 {
            rates.take(IntegrationId::new(UnixMillis(n)), rate, now);
            assert!(!rates.take(busy, rate, now).granted, "forgotten after {n}");
        }
        let held: usize = rates.generations.lock().iter().map(HashMap::len).sum();
        assert!(held <= 100, "{held} held");
    }
}
