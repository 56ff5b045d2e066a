//! How far the reading of journals has come, for whoever waits for it: a line a second in the log for all partitions of a
//! topic together, and a gauge for each. In: the next offset to read, now and then. Journals that are read within a second
//! are not worth a line. Reads nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_schemas::Topic;

use super::Progress;
use crate::broker::Broker;
use crate::metrics;

/// How often it is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The journals that are being read, by topic.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<BTreeMap<Topic, Reading>>);

/// The journals of one topic that are read at the same time.
#[derive(Debug)]
struct Reading {
    began: Instant,
    told: Instant,
    journals: BTreeMap<u32, Unread>,
}

/// What is left of one of them, and what there was, in messages; nothing left: it is read.
#[derive(Debug, Clone, Copy, Default)]
struct Unread {
    left: u64,
    all: u64,
}

impl Reading {
    fn begin() -> Self {
        let began = Instant::now();
        Self {
            began,
            told: began,
            journals: BTreeMap::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.journals.values().all(|unread| unread.left == 0)
    }

    fn words(&self) -> String {
        let all: u64 = self.journals.values().map(|unread| unread.all).sum();
        let left: u64 = self.journals.values().map(|unread| unread.left).sum();
        let over = self.journals.values().filter(|unread| unread.left == 0).count();
        let percent = all.saturating_sub(left) * 100 / all.max(1);
        format!(
            "{percent} %, {over} of {} partitions are read",
            self.journals.len()
        )
    }
}

/// The reading of one journal. Dropped before it has [ended](Telling::ended), it counts no more.
#[derive(Debug)]
pub struct Telling {
    readings: Arc<Readings>,
    place: (Topic, u32),
    /// The first offset that was read.
    first: Option<u64>,
    ended: bool,
}

impl Telling {
    /// The reading of a journal begins.
    #[must_use]
    pub fn of(broker: &Broker, (topic, partition): (Topic, u32)) -> Telling {
        let readings = broker.readings();
        // Until it is known how much there is, it is not over.
        let unread = Unread { left: 1, all: 1 };
        let mut topics = readings.0.lock();
        let reading = topics.entry(topic).or_insert_with(Reading::begin);
        reading.journals.insert(partition, unread);
        drop(topics);
        Telling {
            readings,
            place: (topic, partition),
            first: None,
            ended: false,
        }
    }

    /// It has come so far.
    pub fn tell(&mut self, Progress { offset, end }: Progress) {
        let first = *self.first.get_or_insert(offset);
        // The last message is behind `end`.
        let unread = Unread {
            left: end.saturating_sub(offset).max(1),
            all: end.saturating_sub(first).max(1),
        };
        let (topic, partition) = self.place;
        metrics::journal_unread((topic.label(), partition), unread.left);
        let mut topics = self.readings.0.lock();
        let Some(reading) = topics.get_mut(&topic) else {
            return;
        };
        reading.journals.insert(partition, unread);
        if reading.told.elapsed() < TELL_EVERY {
            return;
        }
        reading.told = Instant::now();
        let words = reading.words();
        drop(topics);
        tracing::info!(%topic, "reading the journals: {words}");
    }

    /// All of it is read.
    pub fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let (topic, partition) = self.place;
        metrics::journal_unread((topic.label(), partition), 0);
        let mut topics = self.readings.0.lock();
        let Some(reading) = topics.get_mut(&topic) else {
            return;
        };
        match reading.journals.get_mut(&partition) {
            Some(unread) if self.ended => unread.left = 0,
            _ => drop(reading.journals.remove(&partition)),
        }
        if !reading.is_over() {
            return;
        }
        let over = topics.remove(&topic);
        drop(topics);
        if let Some(reading) = over.filter(|reading| reading.told > reading.began) {
            let (journals, took) = (reading.journals.len(), reading.began.elapsed());
            tracing::info!(%topic, journals, "the journals are read after {took:.1?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_partitions_of_a_topic_are_told_together() {
        let mut reading = Reading::begin();
        let check = |reading: &Reading, words: &str, is_over: bool| {
            assert_eq!((reading.words().as_str(), reading.is_over()), (words, is_over));
        };
        reading.journals.insert(3, Unread { left: 1, all: 1 });
        check(&reading, "0 %, 0 of 1 partitions are read", false);
        reading.journals.insert(3, Unread { left: 10, all: 40 });
        reading.journals.insert(4, Unread { left: 0, all: 60 });
        check(&reading, "90 %, 1 of 2 partitions are read", false);
        reading.journals.insert(3, Unread { left: 0, all: 40 });
        check(&reading, "100 %, 2 of 2 partitions are read", true);
    }
}
