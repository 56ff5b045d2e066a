//! The broker's metrics, counted per sync group, never per message.
//! In: numbers. Out: counters and gauges of the process's recorder.

use metrics::{counter, gauge};

/// A sync group was written.
pub fn flushed(frames: usize, bytes: usize) {
    counter!("tidegate_broker_groups_total").increment(1);
    counter!("tidegate_broker_frames_total").increment(frames as u64);
    counter!("tidegate_broker_written_bytes_total").increment(bytes as u64);
}

/// Bytes of all segments.
pub fn used(bytes: u64) {
    gauge!("tidegate_broker_segments_bytes").set(bytes as f64);
}

/// A segment was freed, after `messages` of it were appended again.
pub fn freed(messages: usize) {
    counter!("tidegate_broker_freed_segments_total").increment(1);
    counter!("tidegate_broker_kept_messages_total").increment(messages as u64);
}

/// Messages that were wanted, but not as much as the space they took.
pub fn given_up(messages: usize) {
    counter!("tidegate_broker_unread_messages_dropped_total").increment(messages as u64);
}

/// No segment could be written ahead.
pub fn short_of_space() {
    counter!("tidegate_broker_short_of_space_total").increment(1);
}
