//! One partition as the log holds it: its offsets, the segments they lie in, and its newest records in memory.
//! Plain bookkeeping under the log's lock; reads no file.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// A partition of a topic.
#[derive(Debug, Default)]
pub struct Partition {
    /// Everything below was trimmed by the partition's owner.
    pub trimmed: u64,
    /// The next offset.
    pub end: u64,
    /// Readers see what is below.
    pub readable: u64,
    /// The newest records, the last one ending at `end`.
    pub tail: VecDeque<Bytes>,
    /// Which segments hold which new messages, in order.
    pub extents: VecDeque<(Range<u64>, u64)>,
    /// Which segments hold messages that were appended again, in the order of the segments.
    pub kept: Vec<(Range<u64>, u64)>,
}

impl Partition {
    /// The lowest offset that is still there; the end when none is.
    pub fn start(&self) -> u64 {
        let fresh = self.extents.front().map(|(range, _)| range.start);
        let kept = self.kept.iter().map(|(range, _)| range.start).min();
        let lowest = fresh.into_iter().chain(kept).min().unwrap_or(self.end);
        lowest.max(self.trimmed)
    }

    /// The offset of the first record in memory.
    pub fn tail_start(&self) -> u64 {
        self.end - self.tail.len() as u64
    }

    /// Notes that `offset` lies in `segment`.
    pub fn note(&mut self, offset: u64, segment: u64) {
        match self.extents.back_mut() {
            Some((range, last)) if *last == segment => range.end = offset + 1,
            _ => self.extents.push_back((offset..offset + 1, segment)),
        }
        self.end = offset + 1;
    }

    /// Notes that `offset` was appended again in `segment`.
    pub fn note_kept(&mut self, offset: u64, segment: u64) {
        match self.kept.last_mut() {
            Some((range, last)) if *last == segment => {
                *range = range.start.min(offset)..range.end.max(offset + 1);
            }
            _ => self.kept.push((offset..offset + 1, segment)),
        }
    }

    /// Gives up everything below `start`.
    pub fn trim(&mut self, start: u64) {
        self.trimmed = self.trimmed.max(start.min(self.end));
        let trimmed = self.trimmed;
        while self
            .extents
            .front()
            .is_some_and(|(range, _)| range.end <= trimmed)
        {
            self.extents.pop_front();
        }
        self.kept.retain(|(range, _)| range.end > trimmed);
    }

    /// Whether nothing of it lies in `segment`, the oldest one, any more.
    pub fn has_nothing_in(&self, segment: u64) -> bool {
        let holds = |(range, number): &(Range<u64>, u64)| *number == segment && range.end > self.trimmed;
        !self.extents.front().is_some_and(holds) && !self.kept.iter().any(holds)
    }

    /// Forgets a segment that was freed.
    pub fn forget(&mut self, segment: u64) {
        self.extents.retain(|(_, number)| *number != segment);
        self.kept.retain(|(_, number)| *number != segment);
    }
}
