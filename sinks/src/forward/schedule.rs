//! When a delivery is tried again, and when it is given up. Pure: times and tries in, times out.
//! Jitter is derived from the delivery, so that a try decided twice is decided alike.

use std::time::Duration;

use tidegate_schemas::UnixMillis;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Config;
use super::parked::{Key, Parked};

/// The delays between tries, in order; the first try is at once.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    delays: Vec<Duration>,
    jitter_percent: u64,
    retry_after_max: Duration,
    /// The time that the tries themselves may take together.
    tries: Duration,
}

impl Schedule {
    /// The configured schedule; an attempt takes up to `timeout`.
    pub(crate) fn new(config: &Config, timeout: Duration) -> Self {
        // Tries are counted in a byte.
        let delays: Vec<Duration> = config
            .schedule_ms
            .iter()
            .take(254)
            .map(|millis| Duration::from_millis(*millis))
            .collect();
        let tries = u32::try_from(delays.len() + 1).expect("a schedule has few steps");
        Self {
            delays,
            jitter_percent: u64::from(config.jitter_percent.min(100)),
            retry_after_max: Duration::from_millis(config.retry_after_max_ms),
            tries: timeout.saturating_mul(tries),
        }
    }

    /// When the try after the `tries`-th is due, or `None` when the schedule is over.
    ///
    /// `retry_after` is what the endpoint asked for: it can put the try off, up to the configured bound and the
    /// schedule's end, never hasten it, because a try that comes too early is one of a few that are spent.
    pub(crate) fn next(
        &self,
        parked: &Parked,
        now: UnixMillis,
        retry_after: Option<Duration>,
    ) -> Option<UnixMillis> {
        let delay = *self.delays.get(usize::from(parked.tries).checked_sub(1)?)?;
        let asked = retry_after.unwrap_or_default().min(self.retry_after_max);
        let due = now.after(self.jittered(delay, parked.key, parked.tries).max(asked));
        (now < parked.ends).then_some(due.min(parked.ends))
    }

    /// Whether a delivery with this many tries has none left.
    pub(crate) fn is_exhausted(&self, tries: u8) -> bool {
        usize::from(tries) > self.delays.len()
    }

    /// When a delivery whose event was appended at `from` is given up, tried or not.
    pub(crate) fn end(&self, from: UnixMillis) -> UnixMillis {
        let sum: Duration = self.delays.iter().sum();
        // As much again as the jitter may add, so that every try of an ordinary delivery finds its place.
        let percent = u32::try_from(110 + self.jitter_percent).expect("at most 210");
        from.after(sum.saturating_mul(percent) / 100 + self.tries)
    }

    /// `delay`, more or less by up to the configured share of it.
    fn jittered(&self, delay: Duration, key: Key, tries: u8) -> Duration {
        let seed = u64::from(key.endpoint) << 8 | u64::from(tries);
        let random = xxh3_64_with_seed(&key.offset.to_le_bytes(), seed) % 2001;
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX / 400_000);
        let spread = millis.saturating_mul(self.jitter_percent) / 100;
        Duration::from_millis(millis - spread + spread.saturating_mul(random) / 1000)
    }
}

/// What a `Retry-After` header asks for: seconds, or an HTTP date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_zoned(value)
        .ok()?;
    let millis = u64::try_from(date.timestamp().as_millisecond()).ok()?;
    Some(UnixMillis(millis).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn schedule(jitter_percent: u8) -> Schedule {
        let config = Config {
            schedule_ms: vec![5_000, 30_000],
            jitter_percent,
            retry_after_max_ms: 3_600_000,
            ..Config::default()
        };
        Schedule::new(&config, Duration::from_secs(20))
    }

    fn tried(tries: u8, offset: u64) -> Parked {
        Parked {
            key: Key { offset, endpoint: 1 },
            tries,
            due: NOW,
            ends: NOW.after(Duration::from_secs(7_200)),
        }
    }

    #[test]
    fn each_try_has_its_delay_and_the_last_one_none() {
        let plain = schedule(0);
        assert_eq!(plain.next(&tried(1, 7), NOW, None), Some(UnixMillis(1_005_000)));
        assert_eq!(plain.next(&tried(2, 7), NOW, None), Some(UnixMillis(1_030_000)));
        assert_eq!(plain.next(&tried(3, 7), NOW, None), None);
        assert_eq!([2, 3].map(|tries| plain.is_exhausted(tries)), [false, true]);
        // 35 s, a tenth more, and three tries of 20 s.
        assert_eq!(plain.end(NOW), UnixMillis(1_098_500));
    }

    #[test]
    fn nothing_is_due_beyond_the_end() {
        let plain = schedule(0);
        let ends = NOW.after(Duration::from_secs(2));
        assert_eq!(plain.next(&Parked { ends, ..tried(1, 7) }, NOW, None), Some(ends));
        assert_eq!(
            plain.next(
                &Parked {
                    ends: NOW,
                    ..tried(1, 7)
                },
                NOW,
                None
            ),
            None
        );
    }

    #[test]
    fn jitter_spreads_within_its_share() {
        let due: Vec<u64> = (0..1000)
            .map(|offset| {
                schedule(10)
                    .next(&tried(2, offset), NOW, None)
                    .expect("a second delay")
                    .0
                    - NOW.0
            })
            .collect();
        assert!(due.iter().all(|delay| (27_000..=33_000).contains(delay)));
        assert!(due.iter().any(|delay| *delay < 28_000) && due.iter().any(|delay| *delay > 32_000));
    }

    #[test]
    fn retry_after_puts_off_within_bounds_and_never_hastens() {
        let plain = schedule(0);
        for (asked, expected) in [(1, 5), (60, 60), (86_400, 3_600)] {
            let due = plain
                .next(&tried(1, 7), NOW, Some(Duration::from_secs(asked)))
                .expect("a first delay");
            assert_eq!(
                due.since(NOW),
                Duration::from_secs(expected),
                "asked for {asked} s"
            );
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = UnixMillis(784_111_700_000);
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(77)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(
                retry_after(text, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
