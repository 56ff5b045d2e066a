//! What must outlive a segment: found by its index, by the rules of its topics and by its keepers.
//! In: a segment that is to go. Out: its messages that are appended again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_schemas::{Topic, UnixMillis};

use super::frame::FRAME_HEADER;
use super::index::{Entry, Extent};
use super::log::Log;
use super::reader::{Located, read_located};
use super::retention::Unfreed;
use super::segment::{self, SEGMENT_HEADER, Segment};
use crate::error::Error;

/// Bytes of messages in one frame where segments are large.
const BATCH_BYTES: usize = 1024 * 1024;

/// What must outlive a segment.
pub struct Live {
    located: Vec<(Topic, Located)>,
}

impl Live {
    /// Finds what must outlive `segment`; without the yielding keepers if they are not heard.
    pub fn find(log: &Log, segment: &Arc<Segment>, yielding_too: bool) -> Result<Live, Error> {
        let mut located = Vec::new();
        let extents = segment.index.read().extents();
        for extent in extents {
            let Some(slot) = log.layout.slot(extent.topic, extent.partition) else {
                continue;
            };
            let wish = Wish {
                log,
                slot,
                extent: &extent,
                yielding_too,
            };
            let mut entries = wish.select(segment).map_err(index_unread(segment))?;
            let again = appended_again(log, segment.number, slot, &extent)?;
            entries.retain(|entry| !entry.is_given_up() && !again.contains(&entry.offset));
            let locate = |entry| {
                (
                    extent.topic,
                    Located {
                        segment: Arc::clone(segment),
                        entry,
                    },
                )
            };
            located.extend(entries.into_iter().map(locate));
        }
        located.sort_by_key(|(topic, located)| (*topic, located.entry.position));
        Ok(Live { located })
    }

    /// How many messages that are.
    pub fn messages(&self) -> usize {
        self.located.len()
    }

    /// Bytes of segments that appending them again takes: a frame that no longer fits leaves the rest of its segment
    /// empty, and every segment begins with where the partitions stand.
    pub fn cost_bytes(&self, log: &Log) -> u64 {
        let lengths = || {
            self.located
                .iter()
                .map(|(_, located)| u64::from(located.entry.length))
        };
        let frame = lengths().max().unwrap_or(0).max(batch_bytes(log) as u64) + FRAME_HEADER as u64;
        let segment = log.config.segment_bytes;
        let waste = frame + log.layout.standing_bytes() + SEGMENT_HEADER as u64;
        let usable = segment.saturating_sub(waste).max(1);
        lengths().sum::<u64>().saturating_mul(segment) / usable
    }

    /// Appends them at the tail, under their own offsets, and waits until that is durable.
    pub fn append_again(&self, log: &Log) -> Result<(), Unfreed> {
        let now = (log.host.now)();
        let batch_bytes = batch_bytes(log);
        for run in self.located.chunk_by(|one, next| one.0 == next.0) {
            let topic = run[0].0;
            let mut rest = run.iter().map(|(_, located)| located.clone()).collect::<Vec<_>>();
            while !rest.is_empty() {
                let mut messages = read_located((topic, None), &rest, batch_bytes)?;
                rest.drain(..messages.len());
                let age_max = if topic == Topic::Dead {
                    log.config.message_age_max(topic)
                } else {
                    None
                };
                messages.retain(|message| age_max.is_none_or(|age| message.timestamp.after(age) > now));
                if !messages.is_empty() {
                    log.append_kept(&messages)?;
                }
            }
        }
        Ok(())
    }
}

/// Bytes of messages that are appended again in one frame, unless one is larger.
fn batch_bytes(log: &Log) -> usize {
    BATCH_BYTES.min(log.frame_bytes_max() / 8)
}

/// Which of a partition's messages in a segment are still wanted.
struct Wish<'a> {
    log: &'a Log,
    slot: usize,
    extent: &'a Extent,
    yielding_too: bool,
}

impl Wish<'_> {
    fn select(&self, segment: &Segment) -> std::io::Result<Vec<Entry>> {
        if self.is_past(self.extent.newest) {
            return Ok(Vec::new());
        }
        let place = (self.extent.topic, self.extent.partition);
        let trimmed = self.log.lock().partitions[self.slot].trimmed;
        let untrimmed = |span: Range<u64>| span.start.max(trimmed)..span.end;
        let (fresh, kept) = (
            untrimmed(self.extent.fresh()),
            untrimmed(self.extent.kept_span.clone()),
        );
        let index = segment.index.read();
        let mut entries = Vec::new();
        let wanted = self.wanted(fresh.clone());
        if wanted.as_ref().is_none_or(|wanted| !wanted.is_empty()) {
            entries = index.fresh(place, fresh, usize::MAX)?;
            entries.retain(|entry| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.contains(&entry.offset))
            });
        }
        // Kept messages may lie far apart: keepers are asked for what is there, not for what lies between.
        let kept = index.kept(place, kept, usize::MAX)?;
        for run in kept.chunk_by(|one, next| one.offset + 1 == next.offset) {
            let wanted = self.wanted(run[0].offset..run[run.len() - 1].offset + 1);
            let heard = |entry: &&Entry| {
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.contains(&entry.offset))
            };
            entries.extend(run.iter().filter(heard));
        }
        Ok(entries)
    }

    fn is_past(&self, newest: UnixMillis) -> bool {
        let age_max = self.log.config.dead_retention_hours.saturating_mul(3600);
        self.extent.topic == Topic::Dead
            && newest.after(Duration::from_secs(age_max)) <= (self.log.host.now)()
    }

    /// The offsets wanted; `None` for all of them.
    fn wanted(&self, range: Range<u64>) -> Option<BTreeSet<u64>> {
        if range.is_empty() {
            return Some(BTreeSet::new());
        }
        if self.extent.topic.is_journal() || self.extent.topic == Topic::Dead {
            return None;
        }
        let keepers = self.log.keepers.of(self.slot);
        Some(
            keepers
                .iter()
                .flat_map(|keeper| keeper.wanted(range.clone(), self.yielding_too))
                .collect(),
        )
    }
}

fn index_unread(segment: &Segment) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(format!("read {}", segment::index_name(segment.number)))
}

/// Messages of `extent` that a newer segment holds again: an earlier try got that far.
fn appended_again(log: &Log, segment: u64, slot: usize, extent: &Extent) -> Result<BTreeSet<u64>, Error> {
    let state = log.lock();
    let newer = state.partitions[slot]
        .kept
        .iter()
        .filter(|(_, number)| *number > segment);
    let newer: Vec<_> = newer
        .filter_map(|(_, number)| state.segments.get(number).cloned())
        .collect();
    drop(state);
    let mut offsets = BTreeSet::new();
    for newer in newer {
        for span in [extent.fresh(), extent.kept_span.clone()] {
            let kept = newer
                .index
                .read()
                .kept((extent.topic, extent.partition), span, usize::MAX);
            let kept = kept.map_err(index_unread(&newer))?;
            offsets.extend(kept.into_iter().map(|entry| entry.offset));
        }
    }
    Ok(offsets)
}
