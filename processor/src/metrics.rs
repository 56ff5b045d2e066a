//! The processor's metrics, all of them. In: counts, a batch at a time. Labels are closed sets; never an id or a URL.

use metrics::{counter, gauge};
use tidegate_schemas::Outcome;

/// Events by outcome.
pub(crate) fn count_outcome(outcome: Outcome, events: u64) {
    counter!("tidegate_processor_events_total", "outcome" => outcome.label()).increment(events);
}

/// A batch that was committed: how many messages were read for it, and the bytes of their bodies.
pub(crate) fn count_batch(requests: u64, body_bytes: u64) {
    counter!("tidegate_processor_batches_total").increment(1);
    counter!("tidegate_processor_requests_total").increment(requests);
    counter!("tidegate_processor_body_bytes_total").increment(body_bytes);
}

/// An event that was dropped without an outcome: a bug.
pub(crate) fn count_lost() {
    counter!("tidegate_processor_lost_events_total").increment(1);
}

/// A request that panicked a step.
pub(crate) fn count_panic() {
    counter!("tidegate_processor_panics_total").increment(1);
}

/// Pointers that could not be set aside, because the limit is reached.
pub(crate) fn count_passed(pointers: u64) {
    counter!("tidegate_processor_set_aside_full_total").increment(pointers);
}

/// What a partition spends on what it has set aside.
pub(crate) fn set_aside_bytes(partition: u32, bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("tidegate_processor_set_aside_bytes", "partition" => partition.to_string()).set(bytes as f64);
}

/// How many messages of a partition are not decided yet.
pub(crate) fn set_lag(partition: u32, messages: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!("tidegate_processor_lag_messages", "partition" => partition.to_string()).set(messages as f64);
}

/// A fetch of a key set, by how it ended.
pub(crate) fn count_fetch(fetched: bool) {
    let result = if fetched { "ok" } else { "failed" };
    counter!("tidegate_processor_key_fetches_total", "result" => result).increment(1);
}

/// A partition that began again after a failure.
pub(crate) fn count_reopened() {
    counter!("tidegate_processor_reopened_partitions_total").increment(1);
}
