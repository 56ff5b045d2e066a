//! The broker's metrics, counted per sync group, never per message.
//! In: numbers. Out: counters and gauges of the process's recorder.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const GROUPS: &str = "tidegate_broker_groups_total";
const FRAMES: &str = "tidegate_broker_frames_total";
const WRITTEN_BYTES: &str = "tidegate_broker_written_bytes_total";
const SEGMENTS_BYTES: &str = "tidegate_broker_segments_bytes";
const FREED_SEGMENTS: &str = "tidegate_broker_freed_segments_total";
const KEPT_MESSAGES: &str = "tidegate_broker_kept_messages_total";
const UNREAD_DROPPED: &str = "tidegate_broker_unread_messages_dropped_total";
const SHORT_OF_SPACE: &str = "tidegate_broker_short_of_space_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(GROUPS, "sync groups that were written");
    describe_counter!(FRAMES, "batches that were written, each one frame");
    describe_counter!(WRITTEN_BYTES, "bytes that were written to the log");
    describe_gauge!(SEGMENTS_BYTES, "bytes that the segments take on the disk");
    describe_counter!(FREED_SEGMENTS, "segments that were freed");
    describe_counter!(
        KEPT_MESSAGES,
        "messages that were appended again because they outlive their segment"
    );
    describe_counter!(
        UNREAD_DROPPED,
        "messages that the audit had not read when the disk budget was reached"
    );
    describe_counter!(
        SHORT_OF_SPACE,
        "segments that could not be written ahead for want of space"
    );
}

/// A sync group was written.
pub fn flushed(frames: usize, bytes: usize) {
    counter!(GROUPS).increment(1);
    counter!(FRAMES).increment(frames as u64);
    counter!(WRITTEN_BYTES).increment(bytes as u64);
}

/// Bytes of all segments.
pub fn used(bytes: u64) {
    gauge!(SEGMENTS_BYTES).set(bytes as f64);
}

/// A segment was freed, after `messages` of it were appended again.
pub fn freed(messages: usize) {
    counter!(FREED_SEGMENTS).increment(1);
    counter!(KEPT_MESSAGES).increment(messages as u64);
}

/// Messages that were wanted, but not as much as the space they took.
pub fn given_up(messages: usize) {
    counter!(UNREAD_DROPPED).increment(messages as u64);
}

/// No segment could be written ahead.
pub fn short_of_space() {
    counter!(SHORT_OF_SPACE).increment(1);
}
