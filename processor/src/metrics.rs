//! The processor's metrics, all of them. In: counts, a batch at a time. Labels are closed sets; never an id or a URL.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tidegate_schemas::Outcome;

const EVENTS: &str = "tidegate_processor_events_total";
const BATCHES: &str = "tidegate_processor_batches_total";
const REQUESTS: &str = "tidegate_processor_requests_total";
const BODY_BYTES: &str = "tidegate_processor_body_bytes_total";
const LOST_EVENTS: &str = "tidegate_processor_lost_events_total";
const PANICS: &str = "tidegate_processor_panics_total";
const SET_ASIDE_FULL: &str = "tidegate_processor_set_aside_full_total";
const SET_ASIDE_BYTES: &str = "tidegate_processor_set_aside_bytes";
const LAG: &str = "tidegate_processor_lag_messages";
const KEY_FETCHES: &str = "tidegate_processor_key_fetches_total";
const REOPENED: &str = "tidegate_processor_reopened_partitions_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(EVENTS, "events by outcome");
    describe_counter!(BATCHES, "batches that were committed");
    describe_counter!(REQUESTS, "messages of requests that were decided");
    describe_counter!(BODY_BYTES, "bytes of the bodies of decided requests");
    describe_counter!(LOST_EVENTS, "events that were dropped without an outcome: a bug");
    describe_counter!(PANICS, "requests that panicked a step: a bug");
    describe_counter!(
        SET_ASIDE_FULL,
        "events that passed at once because what may be set aside was full"
    );
    describe_gauge!(
        SET_ASIDE_BYTES,
        "bytes that a partition spends on what it has set aside"
    );
    describe_gauge!(LAG, "messages of a partition that are not decided yet");
    describe_counter!(KEY_FETCHES, "fetches of key sets by result");
    describe_counter!(REOPENED, "partitions that began again after a failure");
}

/// Events by outcome.
pub(crate) fn count_outcome(outcome: Outcome, events: u64) {
    counter!(EVENTS, "outcome" => outcome.label()).increment(events);
}

/// A batch that was committed: how many messages were read for it, and the bytes of their bodies.
pub(crate) fn count_batch(requests: u64, body_bytes: u64) {
    counter!(BATCHES).increment(1);
    counter!(REQUESTS).increment(requests);
    counter!(BODY_BYTES).increment(body_bytes);
}

/// An event that was dropped without an outcome: a bug.
pub(crate) fn count_lost() {
    counter!(LOST_EVENTS).increment(1);
}

/// A request that panicked a step.
pub(crate) fn count_panic() {
    counter!(PANICS).increment(1);
}

/// Pointers that could not be set aside, because the limit is reached.
pub(crate) fn count_passed(pointers: u64) {
    counter!(SET_ASIDE_FULL).increment(pointers);
}

/// What a partition spends on what it has set aside.
pub(crate) fn set_aside_bytes(partition: u32, bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(SET_ASIDE_BYTES, "partition" => partition.to_string()).set(bytes as f64);
}

/// How many messages of a partition are not decided yet.
pub(crate) fn set_lag(partition: u32, messages: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(LAG, "partition" => partition.to_string()).set(messages as f64);
}

/// A fetch of a key set, by how it ended.
pub(crate) fn count_fetch(fetched: bool) {
    let result = if fetched { "ok" } else { "failed" };
    counter!(KEY_FETCHES, "result" => result).increment(1);
}

/// A partition that began again after a failure.
pub(crate) fn count_reopened() {
    counter!(REOPENED).increment(1);
}
