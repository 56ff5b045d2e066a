//! The processor's metrics, all of them. In: counts, a batch at a time. Labels are closed sets; never an id or a URL.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tidegate_schemas::{Outcome, UnixMillis};

use crate::flood::Fill;

const EVENTS: &str = "tidegate_processor_events_total";
const BATCHES: &str = "tidegate_processor_batches_total";
const REQUESTS: &str = "tidegate_processor_requests_total";
const BODY_BYTES: &str = "tidegate_processor_body_bytes_total";
const LOST_EVENTS: &str = "tidegate_processor_lost_events_total";
const PANICS: &str = "tidegate_processor_panics_total";
const SET_ASIDE_FULL: &str = "tidegate_processor_set_aside_full_total";
const RATE_EXCEEDED: &str = "tidegate_processor_rate_exceeded_events_total";
const SET_ASIDE_BYTES: &str = "tidegate_processor_set_aside_bytes";
const LAG: &str = "tidegate_processor_lag_messages";
const KEY_FETCHES: &str = "tidegate_processor_key_fetches_total";
const REOPENED: &str = "tidegate_processor_reopened_partitions_total";
const WINDOWS: &str = "tidegate_processor_windows_total";
const WINDOW_EVENTS: &str = "tidegate_processor_window_events_total";
const FLOOD_FULL: &str = "tidegate_processor_flood_full_total";
const DEDUPE_IDS: &str = "tidegate_processor_dedupe_ids";
const DEDUPE_BYTES: &str = "tidegate_processor_dedupe_bytes";
const DEDUPE_TTL: &str = "tidegate_processor_dedupe_ttl_seconds";
const OBJECTS: &str = "tidegate_processor_objects";
const OBJECTS_BYTES: &str = "tidegate_processor_objects_bytes";
const OPEN_WINDOWS: &str = "tidegate_processor_open_windows";
const WINDOWS_BYTES: &str = "tidegate_processor_windows_bytes";
const OLDEST_WINDOW: &str = "tidegate_processor_oldest_window_seconds";

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
    describe_counter!(
        RATE_EXCEEDED,
        "events that were set aside until their connection's or integration's rate allows them"
    );
    describe_gauge!(
        SET_ASIDE_BYTES,
        "bytes that a partition spends on what it has set aside"
    );
    describe_gauge!(LAG, "messages of a partition that are not decided yet");
    describe_counter!(KEY_FETCHES, "fetches of key sets by result");
    describe_counter!(REOPENED, "partitions that began again after a failure");
    describe_counter!(WINDOWS, "windows that have ended");
    describe_counter!(WINDOW_EVENTS, "events that windows handed on at their end");
    describe_counter!(
        FLOOD_FULL,
        "events that were not checked because a table was full, by table"
    );
    describe_gauge!(DEDUPE_IDS, "delivery ids that a partition remembers");
    describe_gauge!(DEDUPE_BYTES, "bytes that a partition spends on delivery ids");
    describe_gauge!(
        DEDUPE_TTL,
        "the age of the oldest delivery ids that are remembered"
    );
    describe_gauge!(OBJECTS, "objects that a partition knows");
    describe_gauge!(OBJECTS_BYTES, "bytes that a partition spends on objects");
    describe_gauge!(OPEN_WINDOWS, "windows that are open");
    describe_gauge!(WINDOWS_BYTES, "bytes that a partition spends on open windows");
    describe_gauge!(OLDEST_WINDOW, "the age of the oldest open window");
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

/// Events that were set aside because they exceed a rate.
pub(crate) fn count_rate_exceeded(events: u64) {
    counter!(RATE_EXCEEDED).increment(events);
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

/// A window that has ended: how many events it absorbed, and whether it handed one on.
pub(crate) fn count_window(absorbed: u64, handed_on: u64) {
    counter!(WINDOWS).increment(1);
    counter!(WINDOW_EVENTS).increment(handed_on);
    count_outcome(Outcome::Debounced, absorbed);
}

/// An event that was not checked as its policy says, because a table is full.
pub(crate) fn count_unchecked(table: &'static str) {
    counter!(FLOOD_FULL, "table" => table).increment(1);
}

/// A partition that is not owned any more: whoever sums partitions up over processes must not count it twice.
pub(crate) fn forget(partition: u32) {
    for name in [
        LAG,
        SET_ASIDE_BYTES,
        DEDUPE_IDS,
        DEDUPE_BYTES,
        DEDUPE_TTL,
        OBJECTS,
        OBJECTS_BYTES,
        OPEN_WINDOWS,
        WINDOWS_BYTES,
        OLDEST_WINDOW,
    ] {
        gauge!(name, "partition" => partition.to_string()).set(0.0);
    }
}

/// How much flood control knows in one partition.
pub(crate) fn set_fill(partition: u32, fill: &Fill, now: UnixMillis) {
    let partition = partition.to_string();
    let set = |name: &'static str, value: f64| gauge!(name, "partition" => partition.clone()).set(value);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let count = |count: usize| count as f64;
    set(DEDUPE_IDS, count(fill.delivery_ids));
    set(DEDUPE_BYTES, count(fill.seen_bytes));
    set(DEDUPE_TTL, fill.effective_ttl.as_secs_f64());
    set(OBJECTS, count(fill.objects));
    set(OBJECTS_BYTES, count(fill.objects_bytes));
    set(OPEN_WINDOWS, count(fill.windows));
    set(WINDOWS_BYTES, count(fill.windows_bytes));
    let oldest = fill
        .oldest_window
        .map_or(0.0, |opened| now.since(opened).as_secs_f64());
    set(OLDEST_WINDOW, oldest);
}
