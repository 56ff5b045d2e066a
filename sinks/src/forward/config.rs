//! The settings of forwarding: the schedule and every limit. Plain values; reads no file and no environment.

use serde::Deserialize;

/// The settings of forwarding.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The delays between the tries of a delivery, in milliseconds; after the last one it is dead.
    pub schedule_ms: Vec<u64>,
    /// By how much a delay may be shorter or longer, in percent.
    pub jitter_percent: u8,
    /// The longest `Retry-After` that is obeyed, in milliseconds.
    pub retry_after_max_ms: u64,
    /// The time for one attempt, in milliseconds, where the endpoint sets none.
    pub timeout_ms: u64,
    /// Bytes of an answer's body that are read; the rest is left.
    pub answer_bytes_max: usize,
    /// Bytes of an answer's body that are kept in the attempt's row.
    pub excerpt_bytes: usize,
    /// Attempts under way at once, over all endpoints.
    pub in_flight_max: usize,
    /// Attempts under way at once to one endpoint, at most.
    pub endpoint_in_flight_max: u32,
    /// The same, before anything is known of the endpoint.
    pub endpoint_in_flight_start: u32,
    /// Deliveries of one endpoint and partition that wait in memory; more wait as offsets.
    pub endpoint_queue_max: usize,
    /// Bytes of payloads held in memory for deliveries, over all partitions.
    pub held_bytes_max: usize,
    /// Failures in a row that open an endpoint's breaker.
    pub breaker_failures: u32,
    /// How long the breaker stays open at first, in milliseconds; doubled with every vain probe.
    pub breaker_open_ms: u64,
    /// How long it stays open at most, in milliseconds.
    pub breaker_open_max_ms: u64,
    /// How soon an endpoint that is switched off is looked at again, in milliseconds.
    pub off_recheck_ms: u64,
    /// How long what was done may stay uncommitted, in milliseconds.
    pub commit_interval_ms: u64,
    /// Ended attempts that are committed at once.
    pub commit_attempts_max: usize,
    /// Messages of `events` taken at a time.
    pub read_messages_max: usize,
    /// Bytes of `events` taken at a time.
    pub read_bytes_max: usize,
    /// Parked deliveries that are read again in one pass.
    pub due_batch_max: usize,
    /// How long attempts under way may take to end when the process stops, in milliseconds.
    pub drain_ms: u64,
    /// Whether the two legacy signature headers are sent.
    pub legacy_headers: bool,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl Default for Config {
    fn default() -> Self {
        Self {
            schedule_ms: vec![
                5 * SECOND,
                30 * SECOND,
                2 * MINUTE,
                10 * MINUTE,
                30 * MINUTE,
                HOUR,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                10 * HOUR,
                24 * HOUR,
            ],
            jitter_percent: 10,
            retry_after_max_ms: 24 * HOUR,
            timeout_ms: 20 * SECOND,
            answer_bytes_max: 64 * 1024,
            excerpt_bytes: 1_024,
            in_flight_max: 2_048,
            endpoint_in_flight_max: 64,
            endpoint_in_flight_start: 4,
            endpoint_queue_max: 4_096,
            held_bytes_max: 256 * 1024 * 1024,
            breaker_failures: 10,
            breaker_open_ms: 5 * SECOND,
            breaker_open_max_ms: 5 * MINUTE,
            off_recheck_ms: 5 * SECOND,
            commit_interval_ms: 50,
            commit_attempts_max: 1_000,
            read_messages_max: 256,
            read_bytes_max: 4 * 1024 * 1024,
            due_batch_max: 1_024,
            drain_ms: 10 * SECOND,
            legacy_headers: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_about_53_hours() {
        let hours = Config::default().schedule_ms.iter().sum::<u64>() / HOUR;
        assert_eq!((Config::default().schedule_ms.len(), hours), (11, 52));
    }
}
