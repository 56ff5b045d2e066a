//! Where a segment's messages lie: per partition, the position of every message by offset.
//!
//! While its segment grows, an index is in memory; then it becomes a file beside the segment, 8 bytes a message
//! (16 for one that was appended again), of which only the directory is read at start. A lookup is arithmetic, not a
//! search. An index file is derived: if it is missing or damaged, the segment is walked and it is written again.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use tidegate_schemas::{Topic, UnixMillis};

use super::disk::{Disk, DiskFile, read_up_to};
use super::frame::{topic_code, topic_of, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"TGindex1";
const FOOTER: usize = 64;
const DIRECTORY_ENTRY: usize = 56;
const STANDING_ENTRY: usize = 24;
const PLACE: usize = 8;
const KEPT_PLACE: usize = 16;

/// Where one message lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The message's offset.
    pub offset: u64,
    /// Where its record begins.
    pub position: u32,
    /// Bytes of its record.
    pub length: u32,
}

/// The place of a message that `log repair` gave up.
const GIVEN_UP: (u32, u32) = (u32::MAX, u32::MAX);

impl Entry {
    /// Whether `log repair` gave the message up.
    pub fn is_given_up(&self) -> bool {
        (self.position, self.length) == GIVEN_UP
    }
}

/// One partition's messages in one segment.
#[derive(Debug, Default, Clone)]
pub struct PartitionIndex {
    /// The offset of the first place.
    first: u64,
    /// Position and length by offset, [`GIVEN_UP`] where `log repair` gave a message up.
    places: Vec<(u32, u32)>,
    /// Messages that were appended again.
    kept: BTreeMap<u64, (u32, u32)>,
    /// When the newest message was appended.
    newest: UnixMillis,
}

/// The index of a segment while it is in memory, by slot.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    partitions: BTreeMap<u32, PartitionIndex>,
}

/// What the directory of an index says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// The first new message's offset.
    pub first: u64,
    /// How many new messages there are.
    pub count: u32,
    /// How many messages were appended again.
    pub kept: u32,
    /// The range that their offsets span.
    pub kept_span: Range<u64>,
    /// When the newest of them was first appended.
    pub newest: UnixMillis,
    at: u64,
}

impl Extent {
    /// The offsets of its new messages.
    pub fn fresh(&self) -> Range<u64> {
        self.first..self.first + u64::from(self.count)
    }
}

/// Where a partition stands: its start and its end.
pub type Standing = (Topic, u32, Range<u64>);

/// What a sealed segment is known by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seal {
    /// The segment's number.
    pub segment: u64,
    /// The sequence of its first frame.
    pub first_sequence: u64,
    /// The sequence of its last frame.
    pub last_sequence: u64,
    /// The CRC of its last frame.
    pub last_crc: u32,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Where every partition stood at its end.
    pub standings: Vec<Standing>,
}

/// An index that is a file; only its directory is in memory.
pub struct IndexFile {
    file: Arc<dyn DiskFile>,
    extents: BTreeMap<(u8, u32), Extent>,
}

fn key(topic: Topic, partition: u32) -> u32 {
    (u32::from(topic_code(topic)) << 16) | partition
}

impl MemoryIndex {
    /// Notes a new message; its offset is not below those noted before.
    pub fn push(&mut self, place: (Topic, u32), entry: Entry, timestamp: UnixMillis) {
        let partition = self.partitions.entry(key(place.0, place.1)).or_default();
        if partition.places.is_empty() {
            partition.first = entry.offset;
        }
        let at = usize::try_from(entry.offset - partition.first).unwrap_or(usize::MAX);
        if at > partition.places.len() {
            partition.places.resize(at, GIVEN_UP);
        }
        partition.places.push((entry.position, entry.length));
        partition.newest = partition.newest.max(timestamp);
    }

    /// Notes a message that was appended again.
    pub fn push_kept(&mut self, place: (Topic, u32), entry: Entry, timestamp: UnixMillis) {
        let partition = self.partitions.entry(key(place.0, place.1)).or_default();
        partition
            .kept
            .insert(entry.offset, (entry.position, entry.length));
        partition.newest = partition.newest.max(timestamp);
    }

    /// What it knows of each partition.
    pub fn extents(&self) -> Vec<Extent> {
        let extent = |(key, index): (&u32, &PartitionIndex)| Extent {
            topic: topic_of((key >> 16) as u8).expect("the key was made from a topic"),
            partition: key & 0xFFFF,
            first: index.first,
            count: u32::try_from(index.places.len()).expect("a segment is under 4 GiB"),
            kept: u32::try_from(index.kept.len()).expect("a segment is under 4 GiB"),
            kept_span: index.kept.first_key_value().map_or(0, |(first, _)| *first)
                ..index.kept.last_key_value().map_or(0, |(last, _)| *last + 1),
            newest: index.newest,
            at: 0,
        };
        self.partitions.iter().map(extent).collect()
    }

    fn fresh(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> Vec<Entry> {
        let Some(index) = self.partitions.get(&key(place.0, place.1)) else {
            return Vec::new();
        };
        let from = usize::try_from(range.start.saturating_sub(index.first)).unwrap_or(usize::MAX);
        let places = index.places.get(from..).unwrap_or_default();
        let entry = |(at, (position, length)): (usize, &(u32, u32))| Entry {
            offset: index.first + (from + at) as u64,
            position: *position,
            length: *length,
        };
        places
            .iter()
            .enumerate()
            .map(entry)
            .take_while(|entry| entry.offset < range.end)
            .take(max)
            .collect()
    }

    fn kept(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> Vec<Entry> {
        let Some(index) = self.partitions.get(&key(place.0, place.1)) else {
            return Vec::new();
        };
        let kept = index.kept.range(range).take(max);
        kept.map(|(offset, (position, length))| Entry {
            offset: *offset,
            position: *position,
            length: *length,
        })
        .collect()
    }

    /// The index as a file's bytes.
    pub fn encode(&self, seal: &Seal) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for (extent, index) in self.extents().iter().zip(self.partitions.values()) {
            let at = out.len() as u64;
            for (position, length) in &index.places {
                out.extend_from_slice(&position.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
            }
            for (offset, (position, length)) in &index.kept {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&position.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
            }
            encode_extent(extent, at, &mut directory);
        }
        for (topic, partition, range) in &seal.standings {
            directory.extend_from_slice(&key(*topic, *partition).to_le_bytes());
            directory.extend_from_slice(&[0; 4]);
            directory.extend_from_slice(&range.start.to_le_bytes());
            directory.extend_from_slice(&range.end.to_le_bytes());
        }
        let mut footer = [0; FOOTER];
        footer[..8].copy_from_slice(&MAGIC);
        footer[12..16].copy_from_slice(&seal.last_crc.to_le_bytes());
        footer[16..24].copy_from_slice(&seal.segment.to_le_bytes());
        footer[24..32].copy_from_slice(&seal.first_sequence.to_le_bytes());
        footer[32..40].copy_from_slice(&seal.last_sequence.to_le_bytes());
        footer[40..48].copy_from_slice(&seal.used_bytes.to_le_bytes());
        footer[48..52].copy_from_slice(&(self.partitions.len() as u32).to_le_bytes());
        footer[52..56].copy_from_slice(&(seal.standings.len() as u32).to_le_bytes());
        footer[56..64].copy_from_slice(&(out.len() as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&directory), &footer[12..]);
        footer[8..12].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&directory);
        out.extend_from_slice(&footer);
        out
    }
}

fn encode_extent(extent: &Extent, at: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&key(extent.topic, extent.partition).to_le_bytes());
    out.extend_from_slice(&extent.count.to_le_bytes());
    out.extend_from_slice(&extent.kept.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&extent.first.to_le_bytes());
    out.extend_from_slice(&extent.newest.0.to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&extent.kept_span.start.to_le_bytes());
    out.extend_from_slice(&extent.kept_span.end.to_le_bytes());
}

/// Writes an index beside its segment; it is there whole or not at all.
pub fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = format!("{name}.tmp");
    let file = disk.create(&unfinished)?;
    file.write_at(&[bytes], 0)?;
    file.sync()?;
    disk.rename(&unfinished, name)?;
    disk.sync_names()
}

impl IndexFile {
    /// Reads the directory of an index; `None` when the file is missing or not whole.
    pub fn open(disk: &dyn Disk, name: &str) -> io::Result<Option<(IndexFile, Seal)>> {
        let file = match disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(footer_at) = file.length()?.checked_sub(FOOTER as u64) else {
            return Ok(None);
        };
        let footer = read_up_to(&*file, footer_at, FOOTER)?;
        if footer.len() < FOOTER || footer[..8] != MAGIC {
            return Ok(None);
        }
        let (extents, standings) = (u32_at(&footer, 48) as usize, u32_at(&footer, 52) as usize);
        let length = extents.saturating_mul(DIRECTORY_ENTRY) + standings.saturating_mul(STANDING_ENTRY);
        let directory_at = u64_at(&footer, 56);
        if directory_at.checked_add(length as u64) != Some(footer_at) {
            return Ok(None);
        }
        let directory = read_up_to(&*file, directory_at, length)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&directory), &footer[12..]);
        if directory.len() < length || crc != u32_at(&footer, 8) {
            return Ok(None);
        }
        let (directory, rest) = directory.split_at(extents * DIRECTORY_ENTRY);
        let extents = directory.chunks_exact(DIRECTORY_ENTRY).filter_map(decode_extent);
        let seal = Seal {
            segment: u64_at(&footer, 16),
            first_sequence: u64_at(&footer, 24),
            last_sequence: u64_at(&footer, 32),
            last_crc: u32_at(&footer, 12),
            used_bytes: u64_at(&footer, 40),
            standings: rest
                .chunks_exact(STANDING_ENTRY)
                .filter_map(decode_standing)
                .collect(),
        };
        let extents = extents
            .map(|extent| ((topic_code(extent.topic), extent.partition), extent))
            .collect();
        Ok(Some((IndexFile { file, extents }, seal)))
    }

    fn fresh(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> io::Result<Vec<Entry>> {
        let Some(extent) = self.extents.get(&(topic_code(place.0), place.1)) else {
            return Ok(Vec::new());
        };
        let fresh = extent.fresh();
        let range = range.start.max(fresh.start)..range.end.min(fresh.end);
        let count = usize::try_from(range.end.saturating_sub(range.start))
            .unwrap_or(usize::MAX)
            .min(max);
        let at = extent.at + range.start.saturating_sub(extent.first) * PLACE as u64;
        let bytes = read_up_to(&*self.file, at, count * PLACE)?;
        let entry = |(index, place): (usize, &[u8])| Entry {
            offset: range.start + index as u64,
            position: u32_at(place, 0),
            length: u32_at(place, 4),
        };
        Ok(bytes.chunks_exact(PLACE).enumerate().map(entry).collect())
    }

    fn kept(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> io::Result<Vec<Entry>> {
        let Some(extent) = self.extents.get(&(topic_code(place.0), place.1)) else {
            return Ok(Vec::new());
        };
        let at = extent.at + u64::from(extent.count) * PLACE as u64;
        let read = |from: u32, count: usize| -> io::Result<Vec<Entry>> {
            let bytes = read_up_to(
                &*self.file,
                at + u64::from(from) * KEPT_PLACE as u64,
                count * KEPT_PLACE,
            )?;
            let entry = |place: &[u8]| Entry {
                offset: u64_at(place, 0),
                position: u32_at(place, 8),
                length: u32_at(place, 12),
            };
            Ok(bytes.chunks_exact(KEPT_PLACE).map(entry).collect())
        };
        // They stand in the order of their offsets: the first one of the range is found by halving.
        let (mut low, mut high) = (0, extent.kept);
        while low < high {
            let middle = low.midpoint(high);
            let below = read(middle, 1)?
                .first()
                .is_none_or(|entry| entry.offset < range.start);
            (low, high) = if below { (middle + 1, high) } else { (low, middle) };
        }
        let count = (extent.kept - low) as usize;
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut entries = read(low, count.min(wanted).min(max))?;
        entries.retain(|entry| entry.offset < range.end);
        Ok(entries)
    }
}

fn decode_extent(bytes: &[u8]) -> Option<Extent> {
    let key = u32_at(bytes, 0);
    Some(Extent {
        topic: topic_of((key >> 16) as u8)?,
        partition: key & 0xFFFF,
        count: u32_at(bytes, 4),
        kept: u32_at(bytes, 8),
        first: u64_at(bytes, 16),
        newest: UnixMillis(u64_at(bytes, 24)),
        at: u64_at(bytes, 32),
        kept_span: u64_at(bytes, 40)..u64_at(bytes, 48),
    })
}

fn decode_standing(bytes: &[u8]) -> Option<Standing> {
    let key = u32_at(bytes, 0);
    Some((
        topic_of((key >> 16) as u8)?,
        key & 0xFFFF,
        u64_at(bytes, 8)..u64_at(bytes, 16),
    ))
}

/// A segment's index, wherever it is.
pub enum Index {
    /// The segment still grows, or is not sealed yet.
    Memory(MemoryIndex),
    /// The segment is sealed.
    File(IndexFile),
}

impl Index {
    /// New messages of a partition with offsets in `range`, in order, at most `max`; given-up ones left out.
    pub fn fresh(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> io::Result<Vec<Entry>> {
        match self {
            Index::Memory(index) => Ok(index.fresh(place, range, max)),
            Index::File(index) => index.fresh(place, range, max),
        }
    }

    /// Messages of a partition that were appended again, with offsets in `range`, in order, at most `max`.
    pub fn kept(&self, place: (Topic, u32), range: Range<u64>, max: usize) -> io::Result<Vec<Entry>> {
        match self {
            Index::Memory(index) => Ok(index.kept(place, range, max)),
            Index::File(index) => index.kept(place, range, max),
        }
    }

    /// What the segment holds of each partition.
    pub fn extents(&self) -> Vec<Extent> {
        match self {
            Index::Memory(index) => index.extents(),
            Index::File(index) => index.extents.values().cloned().collect(),
        }
    }
}
