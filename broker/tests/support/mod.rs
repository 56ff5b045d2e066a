//! What the broker's tests share: a log small enough to fill, and records to fill it with.
//! Starts nothing.
#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use tidegate_broker::Record;
use tidegate_broker::embedded::{Config, PartitionCounts};
use tidegate_schemas::Topic;

/// A log of 64 KiB segments.
pub fn small_config() -> Config {
    Config {
        segment_bytes: 64 * 1024,
        disk_bytes_max: 64 * 1024 * 1024,
        group_bytes_max: 256 * 1024,
        group_wait_max_ms: 0,
        idle_wait_max_ms: 1,
        tail_bytes_max: 16 * 1024,
        body_message_bytes_max: 16 * 1024,
        rows_message_bytes_max: 16 * 1024,
        retention_interval_s: 1,
        partitions: PartitionCounts {
            requests: 2,
            events: 2,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        ..Config::default()
    }
}

/// A record of any topic.
pub fn record(topic: Topic, partition: u32, text: &str) -> Record {
    Record {
        topic,
        partition,
        key: Bytes::from_static(b"key"),
        meta: Bytes::from_static(b"{\"v\":1}"),
        value: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A request.
pub fn request(partition: u32, text: &str) -> Record {
    record(Topic::Requests, partition, text)
}

/// A batch of outcome rows.
pub fn outcome(text: &str) -> Record {
    record(Topic::Outcomes, 0, text)
}
