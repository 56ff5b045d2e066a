//! The registry's metrics. One function for each, so that names stand in one place.

use metrics::{counter, gauge};

/// The journal is applied up to `next`.
pub(crate) fn applied(next: u64, connections: usize) {
    gauge!("tidegate_registry_applied_offset").set(next as f64);
    gauge!("tidegate_registry_connections").set(connections as f64);
}

/// The registry's end was not read in time.
pub(crate) fn end_not_read() {
    counter!("tidegate_registry_end_timeouts_total").increment(1);
}

/// A write was committed.
pub(crate) fn written(changes: usize) {
    counter!("tidegate_registry_changes_written_total").increment(changes as u64);
}

/// A write was refused.
pub(crate) fn refused(reason: &'static str) {
    counter!("tidegate_registry_writes_refused_total", "reason" => reason).increment(1);
}
