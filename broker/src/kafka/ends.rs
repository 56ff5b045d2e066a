//! Where partitions begin and end, as far as this process knows: from what it read, wrote, asked and was told.
//! In: offsets. Out: the range last known, without asking. A question to the cluster is asked elsewhere.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_schemas::Topic;

use super::topics::Names;
use crate::embedded::PartitionCounts;

/// The known ranges of all partitions.
pub struct Ends {
    names: Names,
    topics: Vec<(Topic, Vec<Known>)>,
}

#[derive(Default)]
struct Known {
    start: AtomicU64,
    end: AtomicU64,
}

impl Ends {
    pub fn new(names: Names, partitions: &PartitionCounts) -> Self {
        let known = |topic| (0..partitions.of(topic)).map(|_| Known::default()).collect();
        let topics = Topic::ALL.iter().map(|topic| (*topic, known(*topic))).collect();
        Self { names, topics }
    }

    fn known(&self, topic: Topic, partition: u32) -> Option<&Known> {
        let (_, partitions) = self.topics.iter().find(|(at, _)| *at == topic)?;
        partitions.get(usize::try_from(partition).ok()?)
    }

    /// The range last known.
    pub fn get(&self, topic: Topic, partition: u32) -> Range<u64> {
        let Some(known) = self.known(topic, partition) else {
            return 0..0;
        };
        let end = known.end.load(Ordering::Acquire);
        known.start.load(Ordering::Acquire).min(end)..end
    }

    /// A message of this offset exists.
    pub fn reached(&self, topic: Topic, partition: u32, offset: u64) {
        if let Some(known) = self.known(topic, partition) {
            known.end.fetch_max(offset + 1, Ordering::AcqRel);
        }
    }

    /// The cluster was asked.
    pub fn asked(&self, topic: Topic, partition: u32, range: &Range<u64>) {
        if let Some(known) = self.known(topic, partition) {
            known.start.fetch_max(range.start, Ordering::AcqRel);
            known.end.fetch_max(range.end, Ordering::AcqRel);
        }
    }

    /// The client told where a partition of the topic of this name begins and ends; negative: it does not know.
    pub fn seen(&self, name: &str, partition: i32, (low, high): (i64, i64)) {
        let Some(topic) = self.names.topic(name) else {
            return;
        };
        let known = (u32::try_from(partition), u64::try_from(low), u64::try_from(high));
        if let (Ok(partition), Ok(low), Ok(high)) = known {
            self.asked(topic, partition, &(low..high));
        }
    }
}
