//! The sync group: frames that are written and become durable together.
//! Plain bookkeeping under the log's lock.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::config::Config;
use super::segment::Segment;

/// Frames that become durable together.
#[derive(Default)]
pub struct Group {
    /// What to write, in the order of the chain.
    pub writes: Vec<Write>,
    /// Bytes of them.
    pub bytes: usize,
    /// The sequence of its last frame.
    pub last_sequence: u64,
    /// How many appends wait for it.
    pub awaited: usize,
    /// When its first frame came.
    pub since: Option<Instant>,
    /// Slots whose readers see more once it is durable: the new end of each.
    pub readable: Vec<(usize, u64)>,
}

/// Bytes on their way into a segment.
pub struct Write {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Where in it.
    pub position: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Group {
    /// Adds bytes on their way into `segment`.
    pub fn push(&mut self, segment: &Arc<Segment>, position: u64, bytes: Bytes) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += bytes.len();
        self.writes.push(Write {
            segment: Arc::clone(segment),
            position,
            bytes,
        });
    }

    /// Whether it should be taken without further waiting.
    pub fn is_full(&self, config: &Config) -> bool {
        self.bytes > config.group_bytes_max / 2
    }
}

/// Whether the flusher sleeps, and what is to wake it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleep {
    /// It is at work and looks again by itself.
    Awake,
    /// Any frame wakes it.
    UntilFrame,
    /// Frames are there that nobody waits for: it wakes by itself, or for one that is awaited.
    UntilAwaited,
    /// It keeps a group open for company: it wakes by itself, or when the group is half full.
    UntilFull,
}
