//! The registry's metrics. One function for each, so that names stand in one place.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const APPLIED: &str = "tidegate_registry_applied_offset";
const CONNECTIONS: &str = "tidegate_registry_connections";
const END_TIMEOUTS: &str = "tidegate_registry_end_timeouts_total";
const CHANGES: &str = "tidegate_registry_changes_written_total";
const PASSED: &str = "tidegate_registry_writes_passed_total";
const REFUSED: &str = "tidegate_registry_writes_refused_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_gauge!(
        APPLIED,
        "offset up to which the registry is applied in this process"
    );
    describe_gauge!(CONNECTIONS, "connections in the registry");
    describe_counter!(
        END_TIMEOUTS,
        "verdicts that could not wait for the end of the registry to be read"
    );
    describe_counter!(CHANGES, "changes that were written");
    describe_counter!(
        PASSED,
        "writes that were passed on to the process that writes, by what came of the passing"
    );
    describe_counter!(REFUSED, "writes that were refused, by reason");
}

/// The journal is applied up to `next`.
pub(crate) fn applied(next: u64, connections: usize) {
    gauge!(APPLIED).set(next as f64);
    gauge!(CONNECTIONS).set(connections as f64);
}

/// The registry's end was not read in time.
pub(crate) fn end_not_read() {
    counter!(END_TIMEOUTS).increment(1);
}

/// A write was committed.
pub(crate) fn written(changes: usize) {
    counter!(CHANGES).increment(changes as u64);
}

/// A write was refused.
pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// A write was passed on.
pub(crate) fn passed(result: &'static str) {
    counter!(PASSED, "result" => result).increment(1);
}
