//! Ingest's metrics. Labels are reasons, a closed set; never ids or URLs.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use tidegate_schemas::Reason;

const REQUESTS: &str = "tidegate_ingest_requests_total";
const BODY_BYTES: &str = "tidegate_ingest_body_bytes_total";
const INFLIGHT_BYTES: &str = "tidegate_ingest_inflight_bytes";
const APPEND_SECONDS: &str = "tidegate_ingest_append_seconds";
const UNRECORDED: &str = "tidegate_ingest_refusals_unrecorded_total";

/// Tells the recorder what ingest's metrics mean.
pub fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "requests by what ingest answered: `ok` or the reason of a refusal"
    );
    describe_counter!(BODY_BYTES, Unit::Bytes, "bytes of bodies that were accepted");
    describe_gauge!(INFLIGHT_BYTES, Unit::Bytes, "bytes of bodies in flight");
    describe_histogram!(APPEND_SECONDS, Unit::Seconds, "time from append to durable");
    describe_counter!(
        UNRECORDED,
        Unit::Count,
        "refused or answered requests that the audit has no row of"
    );
}

/// The counters of the hot path, looked up once.
pub struct Counters {
    accepted: metrics::Counter,
    body_bytes: metrics::Counter,
    inflight: metrics::Gauge,
    append: metrics::Histogram,
}

impl Counters {
    /// Registers them with the installed recorder.
    pub fn new() -> Self {
        Self {
            accepted: metrics::counter!(REQUESTS, "answer" => Reason::Ok.label()),
            body_bytes: metrics::counter!(BODY_BYTES),
            inflight: metrics::gauge!(INFLIGHT_BYTES),
            append: metrics::histogram!(APPEND_SECONDS),
        }
    }

    /// A request was accepted.
    pub fn accepted(&self, body_bytes: usize, inflight_bytes: usize, append: std::time::Duration) {
        self.accepted.increment(1);
        self.body_bytes.increment(body_bytes as u64);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        self.inflight.set(inflight_bytes as f64);
        self.append.record(append);
    }
}

/// A request was refused, or answered by ingest itself.
pub fn answered(reason: Reason) {
    metrics::counter!(REQUESTS, "answer" => reason.label()).increment(1);
}

/// A refused request gets no row, because its integration has had its share of this second.
pub fn unrecorded() {
    metrics::counter!(UNRECORDED).increment(1);
}
