//! The metrics of this crate, all in one place.
//!
//! In: what happened. Out: counters for whichever recorder the process has installed. The child process has none: these are its parent's.

const STARTS: &str = "tidegate_chdb_starts_total";

/// Names the metrics to the recorder.
pub fn describe() {
    metrics::describe_counter!(
        STARTS,
        "Starts of the embedded engine's process; more than one means that it ended and was started again."
    );
}

pub(crate) fn count_start() {
    metrics::counter!(STARTS).increment(1);
}
