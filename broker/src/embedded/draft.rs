//! Writing a frame: records are encoded and summed outside the log's lock, and only what the log alone knows (offsets,
//! sequence, the predecessor's CRC) is filled in under it.
//! In: records. Out: the bytes of a frame.

use bytes::Bytes;
use tidegate_schemas::{Topic, UnixMillis};

use super::frame::{
    ALIGNMENT, FRAME_HEADER, FrameHeader, KEPT, Mark, RECORD_HEADER, RECORDS, STANDING, TRIM, frame_crc,
    topic_code,
};
use crate::message::{Message, Record};

/// A frame being written: everything but what only the log knows.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    records: Vec<DraftRecord>,
}

/// A record of a [`Draft`].
#[derive(Debug, Clone, Copy)]
pub struct DraftRecord {
    /// Its topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: u32,
    /// Where it begins in the frame.
    pub position: u32,
    /// Its bytes, header included.
    pub length: u32,
    /// Its flags; 0 asks for a new offset.
    pub flags: u8,
    /// Its offset, once it is known.
    pub offset: u64,
    /// When the message was first appended, for [`KEPT`].
    pub timestamp: UnixMillis,
}

/// What only the log knows of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The log's mark.
    pub mark: Mark,
    /// The CRC of the frame before.
    pub previous_crc: u32,
    /// Its number.
    pub sequence: u64,
    /// The sequence up to which the log is synced now.
    pub synced: u64,
    /// Now.
    pub timestamp: UnixMillis,
}

impl Draft {
    /// An empty frame with room for `bytes` of keys, metadata and values in `records` records.
    pub fn new(records: usize, bytes: usize) -> Draft {
        let mut frame = Vec::with_capacity(FRAME_HEADER + records * RECORD_HEADER + bytes + ALIGNMENT);
        frame.resize(FRAME_HEADER, 0);
        Draft {
            bytes: frame,
            records: Vec::with_capacity(records),
        }
    }

    /// Adds a new message.
    pub fn push(&mut self, record: &Record) {
        let (topic, partition) = (record.topic, record.partition);
        self.add((topic, partition), 0, [&record.key, &record.meta, &record.value]);
    }

    /// Adds a message that is in the log already, under its own offset.
    pub fn push_kept(&mut self, message: &Message) {
        let (topic, partition) = (message.topic, message.partition);
        self.add(
            (topic, partition),
            KEPT,
            [&message.key, &message.meta, &message.value],
        );
        let record = self.records.last_mut().expect("it was added just now");
        record.offset = message.offset;
        record.timestamp = message.timestamp;
    }

    /// Adds a partition's new start.
    pub fn push_trim(&mut self, topic: Topic, partition: u32, start: u64) {
        self.add((topic, partition), TRIM, [&[], &[], &[]]);
        self.records.last_mut().expect("it was added just now").offset = start;
    }

    /// Adds where a partition stands.
    pub fn push_standing(&mut self, place: (Topic, u32), start: u64, end: u64) {
        self.add(place, STANDING, [&[], &[], &start.to_le_bytes()]);
        self.records.last_mut().expect("it was added just now").offset = end;
    }

    /// Its records, to give them offsets.
    pub fn records_mut(&mut self) -> &mut [DraftRecord] {
        &mut self.records
    }

    /// Bytes of the finished frame.
    pub fn length(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGNMENT)
    }

    /// Fills in what only the log knows; returns the frame, its CRC and its records.
    pub fn seal(mut self, stamp: Stamp) -> (Bytes, u32, Vec<DraftRecord>) {
        for record in &self.records {
            let start = record.position as usize;
            let header = &mut self.bytes[start..start + RECORD_HEADER];
            let timestamp = if record.flags & KEPT == 0 {
                stamp.timestamp
            } else {
                record.timestamp
            };
            header[8..16].copy_from_slice(&record.offset.to_le_bytes());
            header[16..24].copy_from_slice(&timestamp.0.to_le_bytes());
            let crc = crc32c::crc32c(&header[4..]).to_le_bytes();
            header[..4].copy_from_slice(&crc);
        }
        self.bytes.resize(self.length(), 0);
        let header = FrameHeader {
            length: u32::try_from(self.bytes.len()).expect("a frame is smaller than its segment"),
            crc: 0,
            previous_crc: stamp.previous_crc,
            sequence: stamp.sequence,
            synced: stamp.synced,
            timestamp: stamp.timestamp,
            count: u32::try_from(self.records.len()).expect("a frame is smaller than its segment"),
            kind: RECORDS,
        };
        header.encode(stamp.mark, &mut self.bytes);
        let headers = self.records.iter().map(|record| record.position as usize);
        let crc = headers.fold(frame_crc(&self.bytes), |crc, start| {
            crc32c::crc32c_append(crc, &self.bytes[start..start + 4])
        });
        self.bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        (Bytes::from(self.bytes), crc, self.records)
    }

    fn add(&mut self, (topic, partition): (Topic, u32), flags: u8, [key, meta, value]: [&[u8]; 3]) {
        let position = self.bytes.len();
        let size = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), meta), value);
        let mut header = [0; RECORD_HEADER];
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        header[24..26].copy_from_slice(&u16::try_from(partition).unwrap_or(u16::MAX).to_le_bytes());
        header[26] = topic_code(topic);
        header[27] = flags;
        header[28..32].copy_from_slice(&size(key));
        header[32..36].copy_from_slice(&size(meta));
        header[36..40].copy_from_slice(&size(value));
        for part in [&header[..], key, meta, value] {
            self.bytes.extend_from_slice(part);
        }
        self.records.push(DraftRecord {
            topic,
            partition,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            length: u32::try_from(self.bytes.len() - position).unwrap_or(u32::MAX),
            flags,
            offset: 0,
            timestamp: UnixMillis(0),
        });
    }
}
