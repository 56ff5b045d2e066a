//! Taking one segment in: by its index where it has one that fits, else frame by frame, after which it gets one.
//! In: a segment that follows the chain. Out: the partitions as they stand behind it.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;
use tidegate_schemas::Topic;

use super::frame::{Bad, KEPT, RECORD_HEADER, RecordHeader, STANDING, TRIM};
use super::index::{self, Entry, Index, IndexFile, MemoryIndex, Seal};
use super::partition::Partition;
use super::recover::{Found, Recovery, Walked};
use super::segment::{self, Chain, Segment, SegmentHeader, WalkedFrame};
use crate::error::Error;

impl Recovery<'_> {
    /// Takes a segment in by its index, if it has one that fits.
    pub(super) fn take_sealed(
        &mut self,
        found: &Found,
        header: &SegmentHeader,
    ) -> Result<Option<Seal>, Error> {
        let name = segment::index_name(found.number);
        let opened = IndexFile::open(self.disk, &name).map_err(Error::io(format!("read {name}")))?;
        let Some((file, seal)) = opened else {
            return Ok(None);
        };
        let length = found.file.length().map_err(Error::io("look at a segment"))?;
        let fits = seal.segment == found.number && seal.first_sequence == header.first_sequence;
        // A segment that is shorter than its index says is walked, and then judged by what is missing.
        if !fits || length < seal.used_bytes {
            return Ok(None);
        }
        let index = Index::File(file);
        for extent in index.extents() {
            let Some(slot) = self.layout.slot(extent.topic, extent.partition) else {
                continue;
            };
            if extent.count > 0 {
                self.partitions[slot]
                    .extents
                    .push_back((extent.fresh(), found.number));
            }
            if extent.kept > 0 {
                self.partitions[slot].kept.push((extent.kept_span, found.number));
            }
        }
        for (topic, partition, range) in &seal.standings {
            let slot = self
                .layout
                .slot(*topic, *partition)
                .ok_or_else(|| missing(*topic, *partition))?;
            stand(&mut self.partitions[slot], range.start, range.end);
        }
        self.bytes += length;
        let segment = Segment {
            number: found.number,
            file: Arc::clone(&found.file),
            created: header.created,
            index: RwLock::new(index),
        };
        self.segments.insert(found.number, Arc::new(segment));
        Ok(Some(seal))
    }

    /// Takes a segment in frame by frame.
    pub(super) fn walk(
        &mut self,
        found: &Found,
        header: &SegmentHeader,
        start: Chain,
    ) -> Result<(Chain, Bad), Error> {
        let mut index = MemoryIndex::default();
        let mut holds_messages = false;
        let mut unknown = None;
        let (layout, partitions) = (self.layout, &mut self.partitions);
        let walked = segment::walk(&*found.file, header.mark, start, |frame| {
            for (record, place) in &frame.records {
                let Some(slot) = layout.slot(record.topic, record.partition) else {
                    unknown = Some((record.topic, record.partition));
                    continue;
                };
                holds_messages |= record.flags & STANDING == 0;
                let partition = &mut partitions[slot];
                apply(partition, frame, (record, place), found.number);
                let position = u32::try_from(frame.position).unwrap_or(u32::MAX) + place.start as u32;
                let entry = Entry {
                    offset: record.offset,
                    position,
                    length: place.len() as u32,
                };
                match record.flags {
                    0 => index.push((record.topic, record.partition), entry, record.timestamp),
                    KEPT => index.push_kept((record.topic, record.partition), entry, record.timestamp),
                    _ => {}
                }
            }
        });
        let end = walked.map_err(Error::io(format!("read {}", segment::file_name(found.number))))?;
        if let Some((topic, partition)) = unknown {
            return Err(missing(topic, partition));
        }
        let index = RwLock::new(Index::Memory(index));
        let segment = Arc::new(Segment {
            number: found.number,
            file: Arc::clone(&found.file),
            created: header.created,
            index,
        });
        self.walked = Some(Walked {
            segment,
            first_sequence: header.first_sequence,
            holds_messages,
        });
        Ok(end)
    }

    /// Makes a walked segment durable and writes its index.
    pub(super) fn seal_walked(&mut self, end: Chain) -> Result<(), Error> {
        let Some(walked) = self.walked.take() else {
            return Ok(());
        };
        let number = walked.segment.number;
        let standings = self
            .partitions
            .iter()
            .enumerate()
            .filter(|(_, partition)| partition.end > 0);
        let seal = Seal {
            segment: number,
            first_sequence: walked.first_sequence,
            last_sequence: end.sequence - 1,
            last_crc: end.previous_crc,
            used_bytes: end.position,
            standings: standings
                .map(|(slot, partition)| {
                    let (topic, place) = self.layout.place(slot);
                    (topic, place, partition.trimmed..partition.end)
                })
                .collect(),
        };
        let failed = || Error::io(format!("seal {}", segment::file_name(number)));
        walked.segment.file.sync().map_err(failed())?;
        let bytes = match &*walked.segment.index.read() {
            Index::Memory(memory) => memory.encode(&seal),
            Index::File(_) => Vec::new(),
        };
        let name = segment::index_name(number);
        index::write(self.disk, &name, &bytes).map_err(failed())?;
        if let Some((file, _)) = IndexFile::open(self.disk, &name).map_err(failed())? {
            *walked.segment.index.write() = Index::File(file);
        }
        self.bytes += walked.segment.file.length().map_err(failed())?;
        self.segments.insert(number, walked.segment);
        Ok(())
    }
}

/// Applies one walked record to its partition.
fn apply(
    partition: &mut Partition,
    frame: &WalkedFrame<'_>,
    (record, place): (&RecordHeader, &Range<usize>),
    segment: u64,
) {
    match record.flags {
        0 => partition.note(record.offset, segment),
        KEPT => partition.note_kept(record.offset, segment),
        TRIM => partition.trim(record.offset),
        STANDING => {
            let value = frame
                .bytes
                .get(place.start + RECORD_HEADER..place.end)
                .unwrap_or_default();
            let start = value.first_chunk().map_or(0, |start| u64::from_le_bytes(*start));
            stand(partition, start, record.offset);
        }
        _ => {}
    }
}

fn stand(partition: &mut Partition, start: u64, end: u64) {
    partition.end = partition.end.max(end);
    partition.trimmed = partition.trimmed.max(start);
}

fn missing(topic: Topic, partition: u32) -> Error {
    Error::Config(format!(
        "the log has messages in {} partition {partition}: raise broker.embedded.partitions.{} above it, partitions are never taken away",
        topic.label(),
        topic.label()
    ))
}
