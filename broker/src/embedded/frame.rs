//! Frames: how a batch stands in a segment.
//!
//! A frame is a header and its records, padded to 8 bytes. Every byte is covered once: a record's CRC covers its
//! key, metadata and value; the record header's CRC covers that CRC and the record's place; the frame's CRC covers
//! the frame header and its records' header CRCs. So a whole frame is checked in one walk, and one record can be read
//! and checked alone. Decoding, and what both ways share: no file, no clock, no
//! lock. Writing one is [`super::draft`].

use bytes::Bytes;
use tidegate_schemas::{Topic, UnixMillis};

use crate::message::Message;

/// Bytes of a frame's header.
pub const FRAME_HEADER: usize = 48;
/// Bytes of a record's header.
pub const RECORD_HEADER: usize = 40;
/// Frames begin at multiples of this.
pub const ALIGNMENT: usize = 8;
/// The first bytes of every frame of a log: random, chosen when the log is made, named by its segments' headers.
/// Whoever sends a body cannot know it, so no body can hold what looks like a frame of the log it lies in.
pub type Mark = [u8; 8];

/// A record that the log appended again so that its first segment could go.
pub const KEPT: u8 = 1;
/// A record that moves its partition's start to its offset.
pub const TRIM: u8 = 2;
/// A record that says where its partition stands: the offset is the end, the value the start.
pub const STANDING: u8 = 4;

/// The bits of a frame's timestamp; the byte above them is the frame's kind.
const TIMESTAMP_BITS: u64 = (1 << 56) - 1;

/// A frame of records.
pub const RECORDS: u8 = 0;
/// A frame that stands for bytes that `log repair` gave up. Its `synced` is the sequence before the frame behind
/// it, its `count` the CRC which that frame names as its predecessor's.
pub const GAP: u8 = 1;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the frame, header and padding included.
    pub length: u32,
    /// CRC32C of the rest of the header and of the records' header CRCs.
    pub crc: u32,
    /// The CRC of the frame before.
    pub previous_crc: u32,
    /// Its number in the log, from 1, without holes.
    pub sequence: u64,
    /// The sequence up to which the log was synced when this frame was written.
    pub synced: u64,
    /// When it was appended.
    pub timestamp: UnixMillis,
    /// How many records it holds.
    pub count: u32,
    /// [`RECORDS`] or [`GAP`].
    pub kind: u8,
}

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// Nothing was ever written there.
    #[error("nothing written")]
    Blank,
    /// The first bytes are not a frame's.
    #[error("no frame")]
    Mark,
    /// A length that cannot be, or that goes beyond the segment.
    #[error("a length that cannot be")]
    Length,
    /// A checksum does not fit.
    #[error("a checksum that does not fit")]
    Checksum,
    /// A good frame, but not the one that follows.
    #[error("a frame that does not follow its predecessor")]
    Chain,
}

impl FrameHeader {
    /// Reads a header; its CRC is checked by [`records`], with the rest of the frame.
    pub fn decode(bytes: &[u8], mark: Mark) -> Result<FrameHeader, Bad> {
        let header: &[u8; FRAME_HEADER] = bytes.first_chunk().ok_or(Bad::Length)?;
        if header[..8] != mark {
            return Err(if header.iter().all(|byte| *byte == 0) {
                Bad::Blank
            } else {
                Bad::Mark
            });
        }
        let length = u32_at(header, 8);
        if (length as usize) < FRAME_HEADER || !(length as usize).is_multiple_of(ALIGNMENT) {
            return Err(Bad::Length);
        }
        Ok(FrameHeader {
            length,
            crc: u32_at(header, 12),
            previous_crc: u32_at(header, 16),
            count: u32_at(header, 20),
            sequence: u64_at(header, 24),
            synced: u64_at(header, 32),
            timestamp: UnixMillis(u64_at(header, 40) & TIMESTAMP_BITS),
            kind: header[47],
        })
    }

    /// Writes the header without its CRC.
    pub fn encode(&self, mark: Mark, out: &mut [u8]) {
        out[..8].copy_from_slice(&mark);
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[16..20].copy_from_slice(&self.previous_crc.to_le_bytes());
        out[20..24].copy_from_slice(&self.count.to_le_bytes());
        out[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced.to_le_bytes());
        out[40..48].copy_from_slice(&(self.timestamp.0 & TIMESTAMP_BITS).to_le_bytes());
        out[47] = self.kind;
    }
}

/// The header of a [`GAP`] frame over `length` bytes.
pub fn gap(mut header: FrameHeader, mark: Mark) -> [u8; FRAME_HEADER] {
    let mut bytes = [0; FRAME_HEADER];
    header.kind = GAP;
    header.encode(mark, &mut bytes);
    let crc = frame_crc(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The CRC of a frame's header, its own field left out.
pub fn frame_crc(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[16..FRAME_HEADER])
}

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: u32,
    /// The offset; see [`TRIM`] and [`STANDING`].
    pub offset: u64,
    /// When the message was first appended.
    pub timestamp: UnixMillis,
    /// [`KEPT`], [`TRIM`] or [`STANDING`]; 0 for a new message.
    pub flags: u8,
    key_bytes: u32,
    meta_bytes: u32,
    value_bytes: u32,
    body_crc: u32,
}

impl RecordHeader {
    /// Reads and checks a header.
    pub fn decode(bytes: &[u8]) -> Result<RecordHeader, Bad> {
        let header: &[u8; RECORD_HEADER] = bytes.first_chunk().ok_or(Bad::Length)?;
        if crc32c::crc32c(&header[4..]) != u32_at(header, 0) {
            return Err(Bad::Checksum);
        }
        Ok(RecordHeader {
            body_crc: u32_at(header, 4),
            offset: u64_at(header, 8),
            timestamp: UnixMillis(u64_at(header, 16)),
            partition: u32::from(u16::from_le_bytes([header[24], header[25]])),
            topic: topic_of(header[26]).ok_or(Bad::Checksum)?,
            flags: header[27],
            key_bytes: u32_at(header, 28),
            meta_bytes: u32_at(header, 32),
            value_bytes: u32_at(header, 36),
        })
    }

    /// Bytes of the record, header included.
    pub fn length(&self) -> usize {
        RECORD_HEADER + self.key_bytes as usize + self.meta_bytes as usize + self.value_bytes as usize
    }
}

/// Reads one record, checked in full, sharing `bytes`.
pub fn message(bytes: &Bytes) -> Result<Message, Bad> {
    let header = RecordHeader::decode(bytes)?;
    if bytes.len() < header.length() {
        return Err(Bad::Length);
    }
    if crc32c::crc32c(&bytes[RECORD_HEADER..header.length()]) != header.body_crc {
        return Err(Bad::Checksum);
    }
    Ok(unchecked_message(&header, bytes))
}

/// Reads one record that this process encoded itself, without checking its body again.
pub fn own_message(bytes: &Bytes) -> Message {
    let header = RecordHeader::decode(bytes).expect("the record was encoded by this process");
    unchecked_message(&header, bytes)
}

fn unchecked_message(header: &RecordHeader, bytes: &Bytes) -> Message {
    let meta = RECORD_HEADER + header.key_bytes as usize;
    let value = meta + header.meta_bytes as usize;
    Message {
        topic: header.topic,
        partition: header.partition,
        offset: header.offset,
        timestamp: header.timestamp,
        key: bytes.slice(RECORD_HEADER..meta),
        meta: bytes.slice(meta..value),
        value: bytes.slice(value..header.length()),
    }
}

/// A record in a frame: its header, and where it lies in the frame.
pub type Placed = (RecordHeader, std::ops::Range<usize>);

/// Checks a whole frame and lists its records.
pub fn records(header: &FrameHeader, frame: &[u8]) -> Result<Vec<Placed>, Bad> {
    let frame = frame.get(..header.length as usize).ok_or(Bad::Length)?;
    let mut crc = frame_crc(frame);
    let mut placed = Vec::new();
    if header.kind == GAP {
        return if crc == header.crc {
            Ok(placed)
        } else {
            Err(Bad::Checksum)
        };
    }
    let mut position = FRAME_HEADER;
    for _ in 0..header.count {
        let rest = frame.get(position..).ok_or(Bad::Length)?;
        let record = RecordHeader::decode(rest)?;
        let body = rest.get(RECORD_HEADER..record.length()).ok_or(Bad::Length)?;
        if crc32c::crc32c(body) != record.body_crc {
            return Err(Bad::Checksum);
        }
        crc = crc32c::crc32c_append(crc, &rest[..4]);
        placed.push((record, position..position + record.length()));
        position += record.length();
    }
    let padding = frame.get(position..).ok_or(Bad::Length)?;
    if crc != header.crc || padding.len() >= ALIGNMENT || padding.iter().any(|byte| *byte != 0) {
        return Err(Bad::Checksum);
    }
    Ok(placed)
}

/// A topic's number on disk; never changes.
pub const fn topic_code(topic: Topic) -> u8 {
    match topic {
        Topic::Requests => 1,
        Topic::Events => 2,
        Topic::Outcomes => 3,
        Topic::Attempts => 4,
        Topic::Dead => 5,
        Topic::State => 6,
        Topic::Retries => 7,
        Topic::Registry => 8,
        Topic::Audit => 9,
    }
}

/// The topic of a number on disk.
pub fn topic_of(code: u8) -> Option<Topic> {
    Topic::ALL
        .iter()
        .copied()
        .find(|topic| topic_code(*topic) == code)
}

/// Four bytes at `at` as a number; `at` is a constant inside a checked length.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

/// Eight bytes at `at` as a number; `at` is a constant inside a checked length.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}
