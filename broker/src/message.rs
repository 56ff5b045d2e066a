//! What goes into a topic and what comes out of it.
//! In: a [`Record`] without offset. Out: a [`Message`] with its place and time. Neither knows how it is stored.

use bytes::Bytes;
use tidegate_schemas::{Pointer, Topic, UnixMillis};

/// A message to append; the broker gives it its offset and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The topic it goes to.
    pub topic: Topic,
    /// The partition of that topic.
    pub partition: u32,
    /// The key: what keeps messages together on Kafka. May be empty.
    pub key: Bytes,
    /// The metadata as compact JSON.
    pub meta: Bytes,
    /// The body itself.
    pub value: Bytes,
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic it lies in.
    pub topic: Topic,
    /// The partition of that topic.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// When it was appended; kept when the log has to append it again.
    pub timestamp: UnixMillis,
    /// The key it was appended with.
    pub key: Bytes,
    /// The metadata as compact JSON.
    pub meta: Bytes,
    /// The body itself.
    pub value: Bytes,
}

impl Message {
    /// Where it lies in its topic.
    #[must_use]
    pub fn pointer(&self) -> Pointer {
        Pointer {
            partition: self.partition,
            offset: self.offset,
        }
    }

    /// Bytes of key, metadata and value together.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.key.len() + self.meta.len() + self.value.len()
    }
}
