//! The metrics of forwarding. Counted per attempt or per batch; labels are closed sets, never ids or addresses.

use tidegate_schemas::{DeliveryStatus, Reason};

/// An attempt ended so.
pub(crate) fn attempted(reason: Reason) {
    metrics::counter!("tidegate_sinks_forward_attempts_total", "reason" => reason.label()).increment(1);
}

/// A delivery ended so.
pub(crate) fn ended(status: DeliveryStatus) {
    metrics::counter!("tidegate_sinks_forward_deliveries_total", "status" => status.label()).increment(1);
}

/// Events and commands were read.
pub(crate) fn read(count: usize) {
    metrics::counter!("tidegate_sinks_forward_messages_total").increment(count as u64);
}

/// A message of `events` that this build cannot make sense of was passed over.
pub(crate) fn undecodable() {
    metrics::counter!("tidegate_sinks_forward_undecodable_messages_total").increment(1);
}

/// A delivery's event was gone from the topic before it could be sent: a broken promise, to be looked into.
pub(crate) fn event_gone() {
    metrics::counter!("tidegate_sinks_forward_events_gone_total").increment(1);
}

/// The state of one partition.
pub(crate) fn state(partition: u32, (parked, waiting): (usize, u64), bytes: usize) {
    // Partitions are few and fixed.
    let partition = partition.to_string();
    let gauge =
        |name: &'static str, value: f64| metrics::gauge!(name, "partition" => partition.clone()).set(value);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        gauge("tidegate_sinks_forward_parked_deliveries", parked as f64);
        gauge("tidegate_sinks_forward_waiting_deliveries", waiting as f64);
        gauge("tidegate_sinks_forward_state_bytes", bytes as f64);
    }
}

/// Bytes of payloads held for deliveries in this process.
pub(crate) fn held(bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("tidegate_sinks_forward_held_bytes").set(bytes as f64);
}
