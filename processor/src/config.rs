//! The processor's limits, each with its default. Read from the section `[processor]` of the configuration by the
//! binary. Holds nothing that belongs to one integration: that is the registry's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_registry::{Debounce, FloodPolicy};

use crate::flood::{Budget, Limits};

/// The section `[processor]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many threads parse and verify, over all partitions; 0: one per core.
    pub threads: usize,
    /// How many requests a thread takes at a time; so few are examined where they were read.
    pub chunk_requests: usize,
    /// How many bytes of bodies a thread takes at a time; so few are examined where they were read.
    pub chunk_bytes: usize,
    /// How many messages are read at a time.
    pub read_messages_max: usize,
    /// How many bytes are read at a time.
    pub read_bytes_max: usize,
    /// How many events a batch holds before it is committed.
    pub batch_events_max: usize,
    /// How many bytes of state changes a batch holds before it is committed.
    pub batch_changes_bytes_max: usize,
    /// How many bytes of events and rows a batch holds before it is committed.
    pub batch_output_bytes_max: usize,
    /// How many events a request may hold; one with more is `malformed`.
    pub events_per_request_max: usize,
    /// How many connections one event may reach; one that matches more is `malformed`.
    pub connections_per_event_max: usize,
    /// How large a message of `outcomes` may be, in bytes; further rows go into a further message.
    pub outcomes_message_bytes_max: usize,
    /// How much of one provider's text (type, delivery id, object key, version) is kept with an event, in bytes.
    pub text_bytes_max: usize,
    /// How much of a payload that is no span of the body a row holds, in bytes; of a larger one it holds nothing.
    pub row_payload_bytes_max: usize,
    /// How many bytes one partition may spend on pointers to what is set aside.
    pub set_aside_bytes_max: usize,
    /// How long an unattributed event waits for its connection, in milliseconds; 0: not at all; at most 600,000.
    pub unattributed_wait_ms: u64,
    /// How long what waits for a key is kept before it is rejected, in milliseconds.
    pub key_wait_ms: u64,
    /// How long after a failure a partition begins again, in milliseconds.
    pub reopen_after_ms: u64,
    /// Flood control.
    pub flood: FloodConfig,
    /// The fetching of key sets and certificates.
    pub keys: KeysConfig,
}

/// The section `[processor.flood]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodConfig {
    /// Whether repeated deliveries are dropped, where neither integration nor connection says.
    pub dedupe: bool,
    /// Whether events older than the last one of their object are dropped, where nobody says.
    pub order: bool,
    /// Whether events of one object are held back and one stands for all, where nobody says.
    pub debounce: bool,
    /// Whether events whose object has not changed are dropped, where nobody says.
    pub detect_changes: bool,
    /// How long a delivery id is remembered, in milliseconds; it may be twice as long.
    pub dedupe_ttl_ms: u64,
    /// How many bytes all partitions may spend on delivery ids; when that is used the oldest are forgotten earlier.
    pub dedupe_bytes_max: usize,
    /// How many bytes all partitions may spend on objects; when that is used new ones are not compared.
    pub objects_bytes_max: usize,
    /// How many bytes all partitions may spend on open windows; when that is used events pass at once.
    pub windows_bytes_max: usize,
    /// How many bytes of held events stay in memory, over all partitions; the others are read again.
    pub held_bytes_max: usize,
}

/// The section `[processor.keys]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// How large what stands at a key's address may be, in bytes.
    pub answer_bytes_max: usize,
    /// How long one fetch may take, in milliseconds.
    pub timeout_ms: u64,
    /// How old a set may be before it is fetched again beside its use, in milliseconds.
    pub fresh_ms: u64,
    /// How old a set may be to be used at all, in milliseconds.
    pub stale_ms: u64,
    /// How long after a fetch an unknown key id may cause the next one, in milliseconds.
    pub refetch_after_ms: u64,
    /// How long after a failed fetch the first retry follows, in milliseconds; it doubles up to `refetch_after_ms`.
    pub retry_after_ms: u64,
    /// How many sets are kept; the longest unused are forgotten.
    pub sets_max: usize,
    /// How many fetches run at a time.
    pub fetches_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 0,
            chunk_requests: 64,
            chunk_bytes: 256 << 10,
            read_messages_max: 2_000,
            read_bytes_max: 8 << 20,
            batch_events_max: 10_000,
            batch_changes_bytes_max: 4 << 20,
            batch_output_bytes_max: 32 << 20,
            events_per_request_max: 10_000,
            connections_per_event_max: 100,
            outcomes_message_bytes_max: 15 << 20,
            text_bytes_max: 4 << 10,
            row_payload_bytes_max: 1 << 20,
            set_aside_bytes_max: 16 << 20,
            unattributed_wait_ms: 0,
            key_wait_ms: 3_600_000,
            reopen_after_ms: 1_000,
            flood: FloodConfig::default(),
            keys: KeysConfig::default(),
        }
    }
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self {
            dedupe: true,
            order: false,
            debounce: false,
            detect_changes: false,
            dedupe_ttl_ms: 24 * 3_600_000,
            dedupe_bytes_max: 1 << 30,
            objects_bytes_max: 4 << 30,
            windows_bytes_max: 256 << 20,
            held_bytes_max: 256 << 20,
        }
    }
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            answer_bytes_max: 1 << 20,
            timeout_ms: 10_000,
            fresh_ms: 3_600_000,
            stale_ms: 24 * 3_600_000,
            refetch_after_ms: 60_000,
            retry_after_ms: 2_000,
            sets_max: 10_000,
            fetches_max: 16,
        }
    }
}

/// The longest that `unattributed_wait_ms` may say.
const UNATTRIBUTED_WAIT_MAX: Duration = Duration::from_secs(600);

impl Config {
    /// How many threads to use on a machine with `cores`.
    pub(crate) fn threads_on(&self, cores: usize) -> usize {
        match self.threads {
            0 => cores.max(1),
            given => given,
        }
    }

    /// How long an unattributed event waits for its connection; never above ten minutes.
    pub(crate) fn unattributed_wait(&self) -> Duration {
        Duration::from_millis(self.unattributed_wait_ms).min(UNATTRIBUTED_WAIT_MAX)
    }

    pub(crate) fn key_wait(&self) -> Duration {
        Duration::from_millis(self.key_wait_ms)
    }

    pub(crate) fn reopen_after(&self) -> Duration {
        Duration::from_millis(self.reopen_after_ms)
    }
}

impl FloodConfig {
    /// The policy that holds where nobody sets another.
    #[must_use]
    pub fn policy(&self) -> FloodPolicy {
        FloodPolicy {
            dedupe: self.dedupe,
            order: self.order,
            debounce: self.debounce.then(Debounce::default),
            detect_changes: self.detect_changes,
            ..FloodPolicy::default()
        }
    }

    /// What so many partitions may spend.
    pub(crate) fn limits(&self, partitions: usize) -> Limits {
        Limits {
            ttl: Duration::from_millis(self.dedupe_ttl_ms),
            seen: Budget::new(self.dedupe_bytes_max, partitions),
            objects: Budget::new(self.objects_bytes_max, partitions),
            windows: Budget::new(self.windows_bytes_max, partitions),
        }
    }
}

impl KeysConfig {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn fresh(&self) -> Duration {
        Duration::from_millis(self.fresh_ms)
    }

    pub(crate) fn stale(&self) -> Duration {
        Duration::from_millis(self.stale_ms)
    }

    pub(crate) fn refetch_after(&self) -> Duration {
        Duration::from_millis(self.refetch_after_ms)
    }

    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unattributed_event_never_waits_longer_than_ten_minutes() {
        let config = Config {
            unattributed_wait_ms: 3_600_000,
            ..Config::default()
        };
        assert_eq!(config.unattributed_wait(), UNATTRIBUTED_WAIT_MAX);
    }
}
