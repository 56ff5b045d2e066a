//! Waits between tries that double up to a longest, shortened by chance so that processes do not come all at once.
//! In: how often it failed. Out: a time. Sleeps nowhere.

use std::time::Duration;

use super::config::Config;

/// The waits of one run of failures.
#[derive(Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(crate) fn new(config: &Config) -> Backoff {
        let max_ms = config.retry_wait_max_ms.max(1);
        Backoff {
            next_ms: config.retry_wait_ms.clamp(1, max_ms),
            max_ms,
        }
    }

    /// The wait after one more failure; `chance` is any number.
    pub(crate) fn next(&mut self, chance: u64) -> Duration {
        let full = self.next_ms;
        self.next_ms = full.saturating_mul(2).min(self.max_ms);
        Duration::from_millis(full - chance % (full / 4 + 1))
    }
}

/// A number that differs from process to process and from call to call.
pub(crate) fn chance() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let config = Config {
            retry_wait_ms: 100,
            retry_wait_max_ms: 350,
            ..Config::default()
        };
        let mut backoff = Backoff::new(&config);
        let waits: Vec<u128> = (0..4).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        assert!(
            backoff.next(u64::MAX).as_millis() >= 262,
            "at most a quarter is taken off"
        );
    }
}
