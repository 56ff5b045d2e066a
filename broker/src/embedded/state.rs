//! What the log's one lock protects: the end of the chain, the open sync group and every partition's bookkeeping.
//!
//! [`State::place`] gives a frame its place and its records their offsets; the frame is written later by the flusher.
//! Nothing here does I/O or waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tidegate_schemas::{Topic, UnixMillis};

use super::config::{Config, Layout};
use super::disk::DiskFile;
use super::draft::{Draft, DraftRecord, Stamp};
use super::frame::{KEPT, Mark, STANDING, TRIM};
use super::group::{Group, Sleep};
use super::index::{Entry, Index, MemoryIndex, Seal, Standing};
use super::partition::Partition;
use super::segment::{SEGMENT_HEADER, Segment, SegmentHeader};

/// Memory that a record in a partition's tail costs beside its bytes.
const TAIL_RECORD_BYTES: usize = 96;

/// Everything under the log's lock.
pub struct State {
    /// By slot.
    pub partitions: Vec<Partition>,
    /// All segments in use, the one being filled included.
    pub segments: BTreeMap<u64, Arc<Segment>>,
    /// The segment being filled.
    pub active: Active,
    /// Segments that are full and whose index is still in memory.
    pub unsealed: VecDeque<(Arc<Segment>, Seal)>,
    /// Segments written ahead, by number.
    pub spares: VecDeque<(u64, Arc<dyn DiskFile>)>,
    /// What the flusher takes next.
    pub group: Group,
    /// Records in memory, oldest first, over all partitions.
    pub tail: Tail,
    /// The sequence of the last frame.
    pub sequence: u64,
    /// Its CRC.
    pub last_crc: u32,
    /// The sequence up to which frames are in their files.
    pub written: u64,
    /// The sequence up to which frames are durable.
    pub synced: u64,
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// Why no further segment can be written ahead, if none can.
    pub short_of_space: bool,
    /// Whether it takes appends.
    pub phase: Phase,
    /// Whether the flusher sleeps, and what is to wake it.
    pub sleep: Sleep,
}

/// Whether the log takes appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does.
    Open,
    /// It writes what it has and ends.
    Closing,
    /// The disk failed; only the process's end helps.
    Failed,
}

/// The segment being filled.
pub struct Active {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Where the next frame goes.
    pub position: u64,
    /// Bytes in the file.
    pub length: u64,
    /// The sequence of its first frame.
    pub first_sequence: u64,
}

/// The order in which records leave the memory.
#[derive(Default)]
pub struct Tail {
    records: VecDeque<(u64, u32, u32)>,
    /// Bytes that they hold.
    pub bytes: usize,
}

/// For whom space is needed; the later ones may go on when the earlier ones must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// New requests.
    Intake,
    /// What the system needs to get rid of what it has.
    Work,
    /// What gives space back: trims, and appending again what must outlive its segment.
    Retention,
}

/// Why a frame got no place.
pub enum NoPlace {
    /// A group or a segment must be finished first; wait and try again.
    Wait,
    /// There is no space for so many bytes.
    Full(u64),
    /// The log is closed.
    Closed,
    /// A partition's next offset is another than expected: its slot, the expected one, the found one.
    Overtaken(usize, u64, u64),
}

/// A frame that has its place.
pub struct InPlace {
    /// Its sequence.
    pub sequence: u64,
    /// Its records with their offsets.
    pub records: Vec<DraftRecord>,
    /// Slots whose readers see more now.
    pub readable: Vec<usize>,
}

/// What a frame asks for besides its place.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// For whom.
    pub class: Class,
    /// Now.
    pub now: UnixMillis,
    /// A partition and the offset that its next message must get.
    pub expected: Option<(usize, u64)>,
    /// Whether the caller waits until it is durable.
    pub awaited: bool,
}

/// What never changes while a log is open.
pub struct Rules<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The partitions.
    pub layout: &'a Layout,
    /// The mark of the log's frames.
    pub mark: Mark,
}

impl State {
    /// Gives the frame in `draft` its place and takes it; leaves it there when it gets none.
    pub fn place(
        &mut self,
        rules: &Rules<'_>,
        draft: &mut Option<Draft>,
        ask: &Ask,
    ) -> Result<InPlace, NoPlace> {
        if self.phase != Phase::Open {
            return Err(NoPlace::Closed);
        }
        let length = draft.as_ref().map_or(0, Draft::length);
        if let Some((slot, expected)) = ask.expected
            && self.partitions[slot].end != expected
        {
            return Err(NoPlace::Overtaken(slot, expected, self.partitions[slot].end));
        }
        if self.group.bytes > 0 && self.group.bytes + length > rules.config.group_bytes_max {
            return Err(NoPlace::Wait);
        }
        let largest = rules.config.segment_bytes - SEGMENT_HEADER as u64 - rules.layout.standing_bytes();
        if length as u64 > largest {
            // Only a kept message can be so large, after segments were made smaller; it stays where it is.
            return Err(NoPlace::Full(length as u64));
        }
        let fits = self.active.position + length as u64 <= self.active.length;
        if !self.has_room(rules, length as u64, ask.class) {
            return Err(NoPlace::Full(length as u64));
        }
        if !fits {
            if self.spares.is_empty() {
                return Err(if self.short_of_space {
                    NoPlace::Full(length as u64)
                } else {
                    NoPlace::Wait
                });
            }
            self.rotate(rules, ask.now);
        }
        let draft = draft.take().expect("a frame is placed once");
        Ok(self.enter(rules, draft, ask))
    }

    /// Whether a frame of `length` bytes leaves enough room for those that come before `class`.
    pub fn has_room(&self, rules: &Rules<'_>, length: u64, class: Class) -> bool {
        // At the budget the reserves count before anybody has tried in vain to write a segment ahead.
        let grows = self.used_bytes + rules.config.segment_bytes <= rules.config.disk_bytes_max;
        if !self.short_of_space && grows {
            return true;
        }
        let room = self.room_bytes(rules, length);
        let reserve = match class {
            Class::Intake => rules.config.segment_bytes / 2 * 3,
            Class::Work => rules.config.segment_bytes,
            Class::Retention => 0,
        };
        room >= reserve + length
    }

    /// Bytes that frames of `length` bytes find in the segment being filled and those ahead.
    pub fn room_bytes(&self, rules: &Rules<'_>, length: u64) -> u64 {
        let rest = self.active.length - self.active.position;
        let rest = if rest < length { 0 } else { rest };
        rest + self.spares.len() as u64 * rules.config.segment_bytes
    }

    fn enter(&mut self, rules: &Rules<'_>, mut draft: Draft, ask: &Ask) -> InPlace {
        for record in draft.records_mut() {
            if record.flags == 0 {
                let slot = slot_of(rules, record);
                record.offset = self.partitions[slot].end;
                self.partitions[slot].note(record.offset, self.active.segment.number);
            }
        }
        let (bytes, position, records) = self.chain(rules, draft, ask.now);
        let mut readable = Vec::new();
        let segment = Arc::clone(&self.active.segment);
        let mut index = segment.index.write();
        for record in &records {
            let entry = Entry {
                offset: record.offset,
                position: position + record.position,
                length: record.length,
            };
            note_record(&mut index, record, entry, ask.now);
            let slot = self.publish(rules, record, &bytes);
            readable.extend(slot.filter(|slot| readable.last() != Some(slot)));
        }
        drop(index);
        self.group.awaited += usize::from(ask.awaited);
        InPlace {
            sequence: self.sequence,
            records,
            readable,
        }
    }

    /// Makes a record known; returns its slot if readers may have it at once.
    fn publish(&mut self, rules: &Rules<'_>, record: &DraftRecord, frame: &Bytes) -> Option<usize> {
        let slot = slot_of(rules, record);
        let partition = &mut self.partitions[slot];
        if record.flags & TRIM != 0 {
            partition.trim(record.offset);
            return None;
        }
        if record.flags & KEPT != 0 {
            partition.note_kept(record.offset, self.active.segment.number);
            return None;
        }
        let start = record.position as usize;
        partition
            .tail
            .push_back(frame.slice(start..start + record.length as usize));
        self.tail.bytes += record.length as usize + TAIL_RECORD_BYTES;
        self.tail
            .records
            .push_back((self.sequence, slot as u32, record.length));
        if record.topic.waits_for_sync() {
            self.group.readable.push((slot, record.offset + 1));
            return None;
        }
        partition.readable = record.offset + 1;
        Some(slot)
    }

    /// Joins a frame to the chain; returns its bytes, its position and its records.
    fn chain(&mut self, rules: &Rules<'_>, draft: Draft, now: UnixMillis) -> (Bytes, u32, Vec<DraftRecord>) {
        let stamp = Stamp {
            mark: rules.mark,
            previous_crc: self.last_crc,
            sequence: self.sequence + 1,
            synced: self.synced,
            timestamp: now,
        };
        let (bytes, crc, records) = draft.seal(stamp);
        let position = self.active.position;
        self.sequence += 1;
        self.last_crc = crc;
        self.active.position += bytes.len() as u64;
        self.write(position, bytes.clone());
        self.group.last_sequence = self.sequence;
        (
            bytes,
            u32::try_from(position).expect("a segment is under 4 GiB"),
            records,
        )
    }

    fn write(&mut self, position: u64, bytes: Bytes) {
        self.group.push(&self.active.segment, position, bytes);
    }

    /// Goes on in the next spare; there is one.
    pub fn rotate(&mut self, rules: &Rules<'_>, now: UnixMillis) {
        let (number, file) = self.spares.pop_front().expect("the caller has looked");
        let full = self.seal(rules);
        let index = RwLock::new(Index::Memory(MemoryIndex::default()));
        let segment = Arc::new(Segment {
            number,
            file,
            created: now,
            index,
        });
        self.segments.insert(number, Arc::clone(&segment));
        let before = Active {
            segment,
            position: SEGMENT_HEADER as u64,
            length: rules.config.segment_bytes,
            first_sequence: self.sequence + 1,
        };
        let before = std::mem::replace(&mut self.active, before);
        self.unsealed.push_back((before.segment, full));
        self.begin_segment(rules, now);
    }

    /// Writes the header of the segment being filled, and where every partition stands.
    pub fn begin_segment(&mut self, rules: &Rules<'_>, now: UnixMillis) {
        let header = SegmentHeader {
            number: self.active.segment.number,
            first_sequence: self.sequence + 1,
            previous_crc: self.last_crc,
            mark: rules.mark,
            created: now,
        };
        self.write(0, Bytes::copy_from_slice(&header.encode()));
        let standings = self.standings(rules.layout);
        let mut draft = Draft::new(standings.len(), standings.len() * 8);
        for (topic, partition, range) in standings {
            draft.push_standing((topic, partition), range.start, range.end);
        }
        self.chain(rules, draft, now);
    }

    /// What the segment being filled is known by, as it is now.
    pub fn seal(&self, rules: &Rules<'_>) -> Seal {
        Seal {
            segment: self.active.segment.number,
            first_sequence: self.active.first_sequence,
            last_sequence: self.sequence,
            last_crc: self.last_crc,
            used_bytes: self.active.position,
            standings: self.standings(rules.layout),
        }
    }

    fn standings(&self, layout: &Layout) -> Vec<Standing> {
        let used = self
            .partitions
            .iter()
            .enumerate()
            .filter(|(_, partition)| partition.end > 0);
        used.map(|(slot, partition)| {
            let (topic, number) = layout.place(slot);
            (topic, number, partition.trimmed..partition.end)
        })
        .collect()
    }

    /// Takes the oldest written records out until the tail is within its limit. They are returned because giving their
    /// memory back takes long, for what is done under the lock.
    pub fn shrink_tail(&mut self, bytes_max: usize) -> Vec<Bytes> {
        let mut gone = Vec::new();
        while self.tail.bytes > bytes_max {
            let oldest = self.tail.records.front().copied();
            let Some((_, slot, length)) = oldest.filter(|(sequence, ..)| *sequence <= self.written) else {
                break;
            };
            self.tail.bytes -= length as usize + TAIL_RECORD_BYTES;
            gone.extend(self.partitions[slot as usize].tail.pop_front());
            self.tail.records.pop_front();
        }
        gone
    }
}

/// The slot of a record whose partition was checked when it was taken.
fn slot_of(rules: &Rules<'_>, record: &DraftRecord) -> usize {
    rules
        .layout
        .slot(record.topic, record.partition)
        .expect("partitions are checked before a frame is drafted")
}

fn note_record(index: &mut Index, record: &DraftRecord, entry: Entry, now: UnixMillis) {
    let Index::Memory(index) = index else {
        unreachable!("the segment being filled has its index in memory")
    };
    let place: (Topic, u32) = (record.topic, record.partition);
    if record.flags & KEPT != 0 {
        index.push_kept(place, entry, record.timestamp);
    } else if record.flags & (TRIM | STANDING) == 0 {
        index.push(place, entry, now);
    }
}
