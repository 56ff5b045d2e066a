//! The embedded log's limits and choices, each with its default, and the layout of partitions that follows from them.
//! Plain values: nothing is read from files or the environment here.

use std::time::Duration;

use serde::Deserialize;
use tidegate_schemas::Topic;

use crate::error::Error;

/// How the embedded log works and what it may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When an append counts as done: after `fdatasync`, after the write with a sync now and then, or after the write.
    pub durability: Durability,
    /// With `durability = "interval"`: milliseconds between syncs.
    pub sync_interval_ms: u64,
    /// Bytes of a segment, written ahead of use; 64–256 MiB are sensible.
    pub segment_bytes: u64,
    /// Segments kept ready ahead of the one in use; one of them is a reserve for freeing others.
    pub spare_segments: usize,
    /// Bytes that all segments together may take on the disk, those ahead of use included.
    pub disk_bytes_max: u64,
    /// Bytes of a sync group; appends wait while one is full.
    pub group_bytes_max: usize,
    /// Milliseconds that a sync group stays open for company once several appends came together; a lone one never waits.
    pub group_wait_max_ms: u64,
    /// Milliseconds that frames nobody waits for may stay unwritten.
    pub idle_wait_max_ms: u64,
    /// Bytes of the newest messages that are kept in memory for readers.
    pub tail_bytes_max: usize,
    /// Bytes of a message in `requests`, `events` and `dead`: the largest body and 1 MiB of metadata.
    pub body_message_bytes_max: usize,
    /// Bytes of a message in `outcomes`, `attempts` and the journals.
    pub rows_message_bytes_max: usize,
    /// Hours that `requests` and `events` stay readable.
    pub retention_hours: u64,
    /// Hours that `dead` stays readable.
    pub dead_retention_hours: u64,
    /// Seconds between two looks for segments that may go.
    pub retention_interval_s: u64,
    /// Partitions of each topic.
    pub partitions: PartitionCounts,
}

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After `fdatasync`: survives power loss.
    Fsync,
    /// After the write; synced every `sync_interval_ms`: survives a killed process, a power loss costs the last interval.
    Interval,
    /// After the write: survives a killed process, a power loss costs what the system had not yet written back.
    Os,
}

/// Partitions per topic; `state` has as many as `requests`, `retries` as `events`, `registry` one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionCounts {
    /// Partitions of `requests` and of `state`.
    pub requests: u32,
    /// Partitions of `events` and of `retries`.
    pub events: u32,
    /// Partitions of `outcomes`.
    pub outcomes: u32,
    /// Partitions of `attempts`.
    pub attempts: u32,
    /// Partitions of `dead`.
    pub dead: u32,
    /// Partitions of `audit`.
    pub audit: u32,
}

impl PartitionCounts {
    /// Partitions of a topic.
    #[must_use]
    pub fn of(&self, topic: Topic) -> u32 {
        match topic {
            Topic::Requests | Topic::State => self.requests,
            Topic::Events | Topic::Retries => self.events,
            Topic::Outcomes => self.outcomes,
            Topic::Attempts => self.attempts,
            Topic::Dead => self.dead,
            Topic::Registry => 1,
            Topic::Audit => self.audit,
        }
    }
}

impl Default for PartitionCounts {
    fn default() -> Self {
        PartitionCounts {
            requests: 32,
            events: 32,
            outcomes: 4,
            attempts: 4,
            dead: 4,
            audit: 1,
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl Default for Config {
    fn default() -> Self {
        Config {
            durability: Durability::Fsync,
            sync_interval_ms: 50,
            segment_bytes: 128 * MIB,
            spare_segments: 2,
            disk_bytes_max: 100 * 1024 * MIB,
            group_bytes_max: 32 * 1024 * 1024,
            group_wait_max_ms: 2,
            idle_wait_max_ms: 20,
            tail_bytes_max: 256 * 1024 * 1024,
            body_message_bytes_max: 26 * 1024 * 1024,
            rows_message_bytes_max: 16 * 1024 * 1024,
            retention_hours: 7 * 24,
            dead_retention_hours: 30 * 24,
            retention_interval_s: 30,
            partitions: PartitionCounts::default(),
        }
    }
}

impl Config {
    /// Partitions of a topic.
    #[must_use]
    pub fn partitions_of(&self, topic: Topic) -> u32 {
        self.partitions.of(topic)
    }

    /// Bytes of key, metadata and value that a message of `topic` may have.
    #[must_use]
    pub fn message_bytes_max(&self, topic: Topic) -> usize {
        if topic.holds_bodies() {
            self.body_message_bytes_max
        } else {
            self.rows_message_bytes_max
        }
    }

    pub(crate) fn message_age_max(&self, topic: Topic) -> Option<Duration> {
        let hours = |hours: u64| Duration::from_secs(hours.saturating_mul(3600));
        match topic {
            Topic::Requests | Topic::Events => Some(hours(self.retention_hours)),
            Topic::Dead => Some(hours(self.dead_retention_hours)),
            _ => None,
        }
    }

    /// Bytes of the frame that every segment begins with.
    pub(crate) fn standing_bytes(&self) -> u64 {
        Layout::new(self).standing_bytes()
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let counts = Topic::ALL.iter().map(|topic| (topic, self.partitions_of(*topic)));
        for (topic, count) in counts {
            if count == 0 || count > u32::from(u16::MAX) {
                let topic = topic.label();
                return Err(Error::Config(format!(
                    "{topic} has {count} partitions, it needs 1 to 65535"
                )));
            }
        }
        if self.segment_bytes > 1024 * MIB {
            let bytes = self.segment_bytes;
            return Err(Error::Config(format!(
                "segment_bytes is {bytes}, at most 1 GiB is possible"
            )));
        }
        let message = self.body_message_bytes_max.max(self.rows_message_bytes_max) as u64;
        let needed = message + Layout::new(self).standing_bytes() + 4096;
        if self.segment_bytes < needed {
            let bytes = self.segment_bytes;
            return Err(Error::Config(format!(
                "segment_bytes is {bytes}, the largest message needs {needed}: raise it or lower the message limits"
            )));
        }
        if self.spare_segments < 2
            || self.disk_bytes_max < self.segment_bytes * (self.spare_segments as u64 + 2)
        {
            return Err(Error::Config(format!(
                "spare_segments must be at least 2, and disk_bytes_max hold spare_segments + 2 segments of {} bytes",
                self.segment_bytes
            )));
        }
        Ok(())
    }
}

/// Every partition of every topic as one number, its slot.
#[derive(Debug, Clone)]
pub struct Layout {
    slots: Vec<(Topic, u32)>,
    topics: Vec<(Topic, usize, u32)>,
}

impl Layout {
    pub(crate) fn new(config: &Config) -> Layout {
        let mut layout = Layout {
            slots: Vec::new(),
            topics: Vec::new(),
        };
        for topic in Topic::ALL.iter().copied() {
            let count = config.partitions_of(topic);
            layout.topics.push((topic, layout.slots.len(), count));
            layout
                .slots
                .extend((0..count).map(|partition| (topic, partition)));
        }
        layout
    }

    /// The slot of a partition, if the topic has it.
    pub(crate) fn slot(&self, topic: Topic, partition: u32) -> Option<usize> {
        // The topics stand in the order of their declaration.
        let (_, first, count) = self.topics[topic as usize];
        (partition < count).then_some(first + partition as usize)
    }

    /// The partition of a slot.
    pub(crate) fn place(&self, slot: usize) -> (Topic, u32) {
        self.slots[slot]
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that a frame needs in which every partition says where it stands.
    pub(crate) fn standing_bytes(&self) -> u64 {
        (super::frame::FRAME_HEADER + self.len() * (super::frame::RECORD_HEADER + 8) + 8) as u64
    }
}
