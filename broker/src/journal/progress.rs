//! How far the opening of a journal has come, for whoever waits for it: a line a second in the log, and a gauge. In: the
//! next offset to read, now and then. A journal that is read within a second is not worth a line.

use std::time::{Duration, Instant};

use tidegate_schemas::Topic;

use super::Progress;
use crate::metrics;

/// How often it is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The opening of one journal.
pub struct Telling {
    place: (&'static str, u32),
    began: Instant,
    told: Instant,
    /// The first offset that was read.
    first: Option<u64>,
}

impl Telling {
    pub fn of((topic, partition): (Topic, u32)) -> Telling {
        let began = Instant::now();
        Telling {
            place: (topic.label(), partition),
            began,
            told: began,
            first: None,
        }
    }

    /// It has come so far.
    pub fn tell(&mut self, Progress { offset, end }: Progress) {
        let first = *self.first.get_or_insert(offset);
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let (topic, partition) = self.place;
        let percent = offset.saturating_sub(first) * 100 / end.saturating_sub(first).max(1);
        tracing::info!(topic, partition, offset, end, "reading the journal: {percent} %");
        metrics::journal_unread(self.place, end.saturating_sub(offset));
    }

    /// All of it is read.
    pub fn ended(&self, end: u64) {
        if self.told == self.began {
            return;
        }
        let ((topic, partition), took) = (self.place, self.began.elapsed());
        tracing::info!(topic, partition, end, "the journal is read after {took:.1?}");
        metrics::journal_unread(self.place, 0);
    }
}
