//! The metrics of forwarding. Counted per attempt or per batch; labels are closed sets, never ids or addresses.

use metrics::{describe_counter, describe_gauge};
use tidegate_schemas::{DeliveryStatus, Reason};

const ATTEMPTS: &str = "tidegate_sinks_forward_attempts_total";
const DELIVERIES: &str = "tidegate_sinks_forward_deliveries_total";
const MESSAGES: &str = "tidegate_sinks_forward_messages_total";
const UNDECODABLE: &str = "tidegate_sinks_forward_undecodable_messages_total";
const EVENTS_GONE: &str = "tidegate_sinks_forward_events_gone_total";
const UNREAD_GONE: &str = "tidegate_sinks_forward_unread_messages_gone_total";
const PARKED: &str = "tidegate_sinks_forward_parked_deliveries";
const WAITING: &str = "tidegate_sinks_forward_waiting_deliveries";
const STATE_BYTES: &str = "tidegate_sinks_forward_state_bytes";
const HELD_BYTES: &str = "tidegate_sinks_forward_held_bytes";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(ATTEMPTS, "attempts by how they ended");
    describe_counter!(DELIVERIES, "deliveries that ended, by how");
    describe_counter!(MESSAGES, "events and commands that were read");
    describe_counter!(UNDECODABLE, "messages that this build cannot make sense of");
    describe_counter!(
        EVENTS_GONE,
        "deliveries whose event was gone before it could be sent: a broken promise"
    );
    describe_counter!(
        UNREAD_GONE,
        "messages that were gone before they were read: a broken promise"
    );
    describe_gauge!(PARKED, "deliveries of a partition that wait for their next try");
    describe_gauge!(WAITING, "deliveries of a partition that wait for their endpoint");
    describe_gauge!(STATE_BYTES, "bytes that the state of a partition takes");
    describe_gauge!(HELD_BYTES, "bytes of payloads that are held for deliveries");
}

/// What ended since the last commit, by reason and by status: told to the recorder once a batch.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    attempts: [u64; Reason::ALL.len()],
    deliveries: [u64; DeliveryStatus::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            attempts: [0; Reason::ALL.len()],
            deliveries: [0; DeliveryStatus::ALL.len()],
        }
    }
}

impl Tally {
    /// An attempt ended so.
    pub(crate) fn attempted(&mut self, reason: Reason) {
        self.attempts[reason as usize] += 1;
    }

    /// A delivery ended so.
    pub(crate) fn ended(&mut self, status: DeliveryStatus) {
        self.deliveries[status as usize] += 1;
    }

    /// Tells the recorder.
    pub(crate) fn report(&self) {
        let attempts = Reason::ALL.iter().zip(self.attempts);
        for (reason, count) in attempts.filter(|(_, count)| *count > 0) {
            metrics::counter!(ATTEMPTS, "reason" => reason.label()).increment(count);
        }
        let deliveries = DeliveryStatus::ALL.iter().zip(self.deliveries);
        for (status, count) in deliveries.filter(|(_, count)| *count > 0) {
            metrics::counter!(DELIVERIES, "status" => status.label()).increment(count);
        }
    }
}

/// Events and commands were read.
pub(crate) fn read(count: usize) {
    metrics::counter!(MESSAGES).increment(count as u64);
}

/// A message of `events` that this build cannot make sense of was passed over.
pub(crate) fn undecodable() {
    metrics::counter!(UNDECODABLE).increment(1);
}

/// A delivery's event was gone from the topic before it could be sent: a broken promise, to be looked into.
pub(crate) fn event_gone() {
    metrics::counter!(EVENTS_GONE).increment(1);
}

/// Messages of `events` were gone before they were read.
pub(crate) fn unread_gone(messages: u64) {
    metrics::counter!(UNREAD_GONE).increment(messages);
}

/// The state of one partition.
pub(crate) fn state(partition: u32, (parked, waiting): (usize, u64), bytes: usize) {
    // Partitions are few and fixed.
    let partition = partition.to_string();
    let gauge =
        |name: &'static str, value: f64| metrics::gauge!(name, "partition" => partition.clone()).set(value);
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    {
        gauge(PARKED, parked as f64);
        gauge(WAITING, waiting as f64);
        gauge(STATE_BYTES, bytes as f64);
    }
}

/// Bytes of payloads held for deliveries in this process.
pub(crate) fn held(bytes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!(HELD_BYTES).set(bytes as f64);
}
