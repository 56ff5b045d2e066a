//! Reading: a partition in order, or single messages by pointer.
//!
//! What is still in memory is handed out without a copy. The rest is planned by the segments' indexes, sorted by place
//! and read in one pass, neighbours together. A message is checked when it comes from the disk; damage is an error,
//! never a skip.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_schemas::{Pointer, Topic};

use super::disk::read_up_to;
use super::frame;
use super::index::Entry;
use super::log::Log;
use super::segment::{self, Segment};
use super::state::Phase;
use crate::error::{Damage, Error};
use crate::message::Message;

/// Bytes between two records that are read along rather than skipped.
const BRIDGE_BYTES: u64 = 16 * 1024;
/// Bytes read from the disk in one call, unless one record is larger.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// What a reader can have now.
pub enum Next {
    /// Records in memory.
    Memory(Vec<Bytes>),
    /// Messages on the disk, to be read outside the lock.
    Disk(DiskPlan),
    /// Nothing yet.
    Nothing,
}

/// Where messages may lie on the disk.
pub struct DiskPlan {
    place: (Topic, u32),
    /// The offsets wanted.
    range: Range<u64>,
    /// The segment that holds the first new ones of them.
    fresh: Option<Arc<Segment>>,
    /// Segments that hold some of them again.
    kept: Vec<Arc<Segment>>,
    messages_max: usize,
    bytes_max: usize,
}

/// A message's place on the disk.
#[derive(Clone)]
pub struct Located {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Where in it.
    pub entry: Entry,
}

impl Log {
    /// What a reader of `slot` at `from` can have now.
    pub fn next(
        &self,
        slot: usize,
        from: u64,
        (messages_max, bytes_max): (usize, usize),
    ) -> Result<Next, Error> {
        let state = self.lock();
        let partition = &state.partitions[slot];
        let from = from.max(partition.start());
        if from >= partition.readable {
            return if state.phase == Phase::Open {
                Ok(Next::Nothing)
            } else {
                Err(Error::Closed)
            };
        }
        let tail_start = partition.tail_start();
        if from >= tail_start {
            let skip = usize::try_from(from - tail_start).unwrap_or(usize::MAX);
            let readable = usize::try_from(partition.readable - from).unwrap_or(usize::MAX);
            let mut bytes = 0;
            let records = partition
                .tail
                .iter()
                .skip(skip)
                .take(readable.min(messages_max.max(1)));
            let fits = |record: &&Bytes| {
                let first = bytes == 0;
                bytes += record.len();
                first || bytes <= bytes_max
            };
            return Ok(Next::Memory(records.take_while(fits).cloned().collect()));
        }
        let mut range = from..tail_start.min(partition.readable);
        // The extents stand in order; the first one that ends behind `from` holds the next new message.
        let at = partition
            .extents
            .partition_point(|(extent, _)| extent.end <= from);
        let mut fresh = None;
        if let Some((extent, number)) = partition.extents.get(at) {
            range.end = range.end.min(extent.end);
            fresh = state.segments.get(number).cloned();
        }
        let kept = partition
            .kept
            .iter()
            .filter(|(kept, _)| kept.start < range.end && from < kept.end);
        let kept = kept
            .filter_map(|(_, number)| state.segments.get(number).cloned())
            .collect();
        let place = self.layout.place(slot);
        Ok(Next::Disk(DiskPlan {
            place,
            range,
            fresh,
            kept,
            messages_max,
            bytes_max,
        }))
    }

    /// Finds messages by pointer; those in memory at once. Blocks while it reads indexes and segments.
    pub fn read_pointers(&self, topic: Topic, pointers: &[Pointer]) -> Result<Vec<Option<Message>>, Error> {
        let mut found: Vec<Option<Message>> = vec![None; pointers.len()];
        let mut located = Vec::new();
        for (at, pointer) in pointers.iter().enumerate() {
            let Some(slot) = self.layout.slot(topic, pointer.partition) else {
                continue;
            };
            let next = self.next_at(slot, pointer.offset);
            match next {
                Next::Memory(records) => found[at] = records.first().map(frame::own_message),
                Next::Disk(plan) => {
                    let place = plan.locate()?.into_iter().next();
                    located.extend(
                        place
                            .filter(|place| place.entry.offset == pointer.offset)
                            .map(|place| (at, place)),
                    );
                }
                Next::Nothing => {}
            }
        }
        located.sort_by_key(|(_, place)| (place.segment.number, place.entry.position));
        let (order, places): (Vec<usize>, Vec<Located>) = located.into_iter().unzip();
        for (at, message) in order
            .into_iter()
            .zip(read_located((topic, None), &places, usize::MAX)?)
        {
            found[at] = Some(message);
        }
        Ok(found)
    }

    /// Bytes of a partition's records, headers included, above its trim. Blocks while it reads indexes.
    pub fn held_bytes(&self, slot: usize) -> Result<u64, Error> {
        let (trimmed, fresh, kept) = {
            let state = self.lock();
            let partition = &state.partitions[slot];
            let placed = |(range, number): &(Range<u64>, u64)| {
                let segment = state.segments.get(number).cloned();
                segment.map(|segment| (range.clone(), segment))
            };
            let fresh: Vec<_> = partition.extents.iter().filter_map(placed).collect();
            let kept: Vec<_> = partition.kept.iter().filter_map(placed).collect();
            (partition.trimmed, fresh, kept)
        };
        let place = self.layout.place(slot);
        let mut lengths = BTreeMap::new();
        for (is_kept, (range, segment)) in std::iter::repeat(false)
            .zip(&fresh)
            .chain(std::iter::repeat(true).zip(&kept))
        {
            let range = range.start.max(trimmed)..range.end;
            if range.is_empty() {
                continue;
            }
            let index = segment.index.read();
            let entries = if is_kept {
                index.kept(place, range, usize::MAX)
            } else {
                index.fresh(place, range, usize::MAX)
            };
            let entries = entries.map_err(index_unread(segment))?;
            let entries = entries.into_iter().filter(|entry| !entry.is_given_up());
            lengths.extend(entries.map(|entry| (entry.offset, u64::from(entry.length))));
        }
        Ok(lengths.values().sum())
    }

    /// What there is at one offset.
    fn next_at(&self, slot: usize, offset: u64) -> Next {
        let state = self.lock();
        let partition = &state.partitions[slot];
        if offset < partition.trimmed || offset >= partition.readable {
            return Next::Nothing;
        }
        let tail_start = partition.tail_start();
        if offset >= tail_start {
            let at = usize::try_from(offset - tail_start).unwrap_or(usize::MAX);
            return Next::Memory(partition.tail.get(at).cloned().into_iter().collect());
        }
        let at = partition
            .extents
            .partition_point(|(extent, _)| extent.end <= offset);
        let fresh = partition
            .extents
            .get(at)
            .filter(|(extent, _)| extent.contains(&offset));
        let fresh = fresh.and_then(|(_, number)| state.segments.get(number).cloned());
        let kept = partition.kept.iter().filter(|(kept, _)| kept.contains(&offset));
        let kept = kept
            .filter_map(|(_, number)| state.segments.get(number).cloned())
            .collect();
        let (place, range) = (self.layout.place(slot), offset..offset + 1);
        Next::Disk(DiskPlan {
            place,
            range,
            fresh,
            kept,
            messages_max: 1,
            bytes_max: usize::MAX,
        })
    }
}

impl DiskPlan {
    /// Where a reader goes on when the plan turns out to hold nothing.
    pub fn end(&self) -> u64 {
        self.range.end
    }

    /// Reads the messages.
    pub fn read(&self) -> Result<Vec<Message>, Error> {
        let located = self.locate()?;
        read_located((self.place.0, Some(self.place.1)), &located, self.bytes_max)
    }

    /// Finds the messages by the indexes, in order.
    fn locate(&self) -> Result<Vec<Located>, Error> {
        let mut located = BTreeMap::new();
        let mut range = self.range.clone();
        let max = self.messages_max.max(1);
        if let Some(segment) = &self.fresh {
            let entries = segment.index.read().fresh(self.place, range.clone(), max);
            let entries = entries.map_err(index_unread(segment))?;
            if entries.len() == max {
                range.end = entries.last().map_or(range.end, |entry| entry.offset + 1);
            }
            for entry in entries.into_iter().filter(|entry| !entry.is_given_up()) {
                located.insert(
                    entry.offset,
                    Located {
                        segment: Arc::clone(segment),
                        entry,
                    },
                );
            }
        }
        for segment in &self.kept {
            let entries = segment
                .index
                .read()
                .kept(self.place, range.clone(), max)
                .map_err(index_unread(segment))?;
            for entry in entries {
                // Of two places the older segment's is certainly written.
                located.entry(entry.offset).or_insert(Located {
                    segment: Arc::clone(segment),
                    entry,
                });
            }
        }
        Ok(located.into_values().take(max).collect())
    }
}

fn index_unread(segment: &Segment) -> impl FnOnce(io::Error) -> Error {
    Error::io(format!("read {}", segment::index_name(segment.number)))
}

/// Reads messages in the order given, neighbours together, until `bytes_max`; at least one.
pub fn read_located(
    place: (Topic, Option<u32>),
    located: &[Located],
    bytes_max: usize,
) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::with_capacity(located.len());
    let mut bytes = 0_usize;
    let mut rest = located;
    while let Some(first) = rest.first() {
        if bytes > 0 && bytes + first.entry.length as usize > bytes_max {
            break;
        }
        let (count, end) = neighbours(rest, bytes_max.saturating_sub(bytes));
        let (run, behind) = rest.split_at(count);
        rest = behind;
        let start = u64::from(first.entry.position);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        let failed = || Error::io(format!("read {}", segment::file_name(first.segment.number)));
        if length as u64 > READ_BYTES && end > first.segment.file.length().map_err(failed())? {
            return Err(damaged(
                &first.segment,
                first.entry,
                "an index that points behind the segment's end",
            ));
        }
        let piece = read_up_to(&*first.segment.file, start, length).map_err(failed())?;
        let piece = Bytes::from(piece);
        for Located { entry, segment } in run {
            let from = (u64::from(entry.position) - start) as usize;
            let record = piece.slice(from.min(piece.len())..(from + entry.length as usize).min(piece.len()));
            let message =
                frame::message(&record).map_err(|bad| damaged(segment, *entry, &bad.to_string()))?;
            let partition_fits = place.1.is_none_or(|partition| partition == message.partition);
            if (message.topic, message.offset) != (place.0, entry.offset) || !partition_fits {
                return Err(damaged(segment, *entry, "another message than the index says"));
            }
            bytes += entry.length as usize;
            messages.push(message);
        }
    }
    Ok(messages)
}

/// How many of `located` are read together, and where the last one ends.
fn neighbours(located: &[Located], bytes_max: usize) -> (usize, u64) {
    let end = |entry: &Entry| u64::from(entry.position) + u64::from(entry.length);
    let first = &located[0];
    let (mut count, mut until, mut bytes) = (1, end(&first.entry), first.entry.length as usize);
    for next in &located[1..] {
        let position = u64::from(next.entry.position);
        bytes += next.entry.length as usize;
        let near = Arc::ptr_eq(&next.segment, &first.segment)
            && (until..=until + BRIDGE_BYTES).contains(&position)
            && end(&next.entry) - u64::from(first.entry.position) <= READ_BYTES;
        if !near || bytes > bytes_max {
            break;
        }
        (count, until) = (count + 1, end(&next.entry));
    }
    (count, until)
}

fn damaged(segment: &Segment, entry: Entry, found: &str) -> Error {
    Error::Damaged(Damage {
        segment: segment.number,
        position: u64::from(entry.position),
        sequence: 0,
        synced: 0,
        found: format!("{found} at offset {}", entry.offset),
        offsets: Vec::new(),
    })
}
