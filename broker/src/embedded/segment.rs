//! A segment: its name, its header, and how its frames are walked.
//!
//! A segment is written full of zeros ahead of use and then filled front to back. Its header says which frame comes
//! first and which one came before; a blank header says that it has not been used. Nothing here decides what a bad
//! frame means: that is `recover`.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tidegate_schemas::UnixMillis;

use super::disk::{DiskFile, read_up_to};
use super::frame::{self, ALIGNMENT, Bad, FRAME_HEADER, FrameHeader, Mark, Placed};
use super::index::Index;

const MAGIC: [u8; 8] = *b"TGlog001";
/// Bytes of a segment's header.
pub const SEGMENT_HEADER: usize = 64;
/// Bytes read at a time when a segment is walked.
const WALK_BYTES: usize = 1024 * 1024;

/// A segment in use.
pub struct Segment {
    /// Its number; numbers have no holes.
    pub number: u64,
    /// Its file.
    pub file: Arc<dyn DiskFile>,
    /// When it was taken into use.
    pub created: UnixMillis,
    /// Where its messages lie.
    pub index: RwLock<Index>,
}

/// The name of a segment's file.
pub fn file_name(number: u64) -> String {
    format!("{number:016}.segment")
}

/// The name of a segment's index file.
pub fn index_name(number: u64) -> String {
    format!("{number:016}.index")
}

/// The number in the name of a segment's file.
pub fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".segment")
        .filter(|digits| digits.len() == 16)?
        .parse()
        .ok()
}

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number.
    pub number: u64,
    /// The sequence of its first frame.
    pub first_sequence: u64,
    /// The CRC of the frame before that.
    pub previous_crc: u32,
    /// The mark that every frame of the log begins with.
    pub mark: Mark,
    /// When the segment was taken into use.
    pub created: UnixMillis,
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[12..16].copy_from_slice(&self.previous_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[32..40].copy_from_slice(&self.mark);
        out[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; [`Bad::Blank`] when the segment has not been used.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, Bad> {
        let header: &[u8; SEGMENT_HEADER] = bytes.first_chunk().ok_or(Bad::Length)?;
        if header.iter().all(|byte| *byte == 0) {
            return Err(Bad::Blank);
        }
        if header[..8] != MAGIC || crc32c::crc32c(&header[12..]) != frame::u32_at(header, 8) {
            return Err(Bad::Checksum);
        }
        Ok(SegmentHeader {
            previous_crc: frame::u32_at(header, 12),
            number: frame::u64_at(header, 16),
            first_sequence: frame::u64_at(header, 24),
            mark: *header[32..].first_chunk().expect("the header is longer"),
            created: UnixMillis(frame::u64_at(header, 40)),
        })
    }
}

/// Reads a file front to back in large pieces.
pub struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// A window on a file.
    pub fn new(file: &'a dyn DiskFile) -> Window<'a> {
        Window {
            file,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// The bytes from `position` on, `length` of them or what the file has.
    pub fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.bytes.len() as u64;
        if position < held.start || position + length as u64 > held.end {
            self.bytes = read_up_to(self.file, position, length.max(WALK_BYTES))?;
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(&rest[..rest.len().min(length)])
    }

    /// The frame at `position`: its header, its records and its bytes.
    pub fn frame(&mut self, position: u64, mark: Mark) -> io::Result<Result<WalkedFrame<'_>, Bad>> {
        let header = match FrameHeader::decode(self.bytes(position, FRAME_HEADER)?, mark) {
            Ok(header) => header,
            Err(bad) => return Ok(Err(bad)),
        };
        let here = if header.kind == frame::GAP {
            FRAME_HEADER
        } else {
            header.length as usize
        };
        if position + u64::from(header.length) > self.file.length()? {
            return Ok(Err(Bad::Length));
        }
        let bytes = self.bytes(position, here)?;
        if header.kind == frame::GAP {
            let whole = FrameHeader {
                length: FRAME_HEADER as u32,
                ..header
            };
            return Ok(frame::records(&whole, bytes).map(|records| WalkedFrame {
                header,
                position,
                records,
                bytes,
            }));
        }
        Ok(frame::records(&header, bytes).map(|records| WalkedFrame {
            header,
            position,
            records,
            bytes,
        }))
    }
}

/// A good frame as it was found.
pub struct WalkedFrame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// Where it begins in the segment.
    pub position: u64,
    /// Its records.
    pub records: Vec<Placed>,
    /// All its bytes; of a gap only the header.
    pub bytes: &'a [u8],
}

/// Where a walk over the chain stands: what the next frame must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Where the next frame begins.
    pub position: u64,
    /// The sequence it must have.
    pub sequence: u64,
    /// The CRC it must name.
    pub previous_crc: u32,
    /// The highest sequence that any frame so far says was synced.
    pub synced: u64,
}

impl Chain {
    /// The chain at the beginning of a segment.
    pub fn at(header: &SegmentHeader) -> Chain {
        Chain {
            position: SEGMENT_HEADER as u64,
            sequence: header.first_sequence,
            previous_crc: header.previous_crc,
            synced: 0,
        }
    }

    /// The chain at the beginning of segment `number` behind `before`, if the segment follows: the number of the one
    /// before and the chain at its end, or nothing for the first.
    pub fn enter(
        before: Option<(u64, Chain)>,
        number: u64,
        header: Result<SegmentHeader, Bad>,
    ) -> Result<(SegmentHeader, Chain), Bad> {
        let header = header?;
        let Some((before, chain)) = before else {
            return Ok((header, Chain::at(&header)));
        };
        let follows = (header.first_sequence, header.previous_crc) == (chain.sequence, chain.previous_crc)
            && (header.number, number) == (before + 1, before + 1);
        let chain = Chain {
            position: SEGMENT_HEADER as u64,
            ..chain
        };
        if follows {
            Ok((header, chain))
        } else {
            Err(Bad::Chain)
        }
    }

    /// The end of the chain where a segment cannot be entered.
    pub fn stopped(before: Option<(u64, Chain)>) -> Chain {
        let nothing = Chain {
            position: 0,
            sequence: 1,
            previous_crc: 0,
            synced: 0,
        };
        before.map_or(nothing, |(_, chain)| Chain { position: 0, ..chain })
    }

    /// Whether the chain goes on in a segment with this header.
    pub fn goes_on(&self, header: Option<SegmentHeader>) -> bool {
        let next = header.map(|header| (header.first_sequence, header.previous_crc));
        next == Some((self.sequence, self.previous_crc))
    }

    /// The chain behind `frame`, if the frame follows.
    pub fn follow(self, frame: &FrameHeader) -> Result<Chain, Bad> {
        if frame.sequence != self.sequence || frame.previous_crc != self.previous_crc {
            return Err(Bad::Chain);
        }
        let position = self.position + u64::from(frame.length);
        if frame.kind == frame::GAP {
            return Ok(Chain {
                position,
                sequence: frame.synced + 1,
                previous_crc: frame.count,
                ..self
            });
        }
        let (sequence, synced) = (frame.sequence + 1, self.synced.max(frame.synced));
        Ok(Chain {
            position,
            sequence,
            previous_crc: frame.crc,
            synced,
        })
    }
}

/// Walks a segment's frames from `chain` on; returns where the chain ends and why.
pub fn walk(
    file: &dyn DiskFile,
    mark: Mark,
    mut chain: Chain,
    mut visit: impl FnMut(&WalkedFrame<'_>),
) -> io::Result<(Chain, Bad)> {
    let mut window = Window::new(file);
    loop {
        let frame = match window.frame(chain.position, mark)? {
            Ok(frame) => frame,
            Err(bad) => return Ok((chain, bad)),
        };
        match chain.follow(&frame.header) {
            Ok(next) => {
                visit(&frame);
                chain = next;
            }
            Err(bad) => return Ok((chain, bad)),
        }
    }
}

/// Looks for good frames of the log from `position` on, wherever they begin.
pub fn search(
    file: &dyn DiskFile,
    mark: Mark,
    mut position: u64,
    mut visit: impl FnMut(&WalkedFrame<'_>) -> bool,
) -> io::Result<()> {
    let length = file.length()?;
    let mut window = Window::new(file);
    while position + FRAME_HEADER as u64 <= length {
        let piece = window.bytes(position, WALK_BYTES / 2)?;
        let found = piece.chunks_exact(ALIGNMENT).position(|chunk| chunk == mark);
        let Some(found) = found else {
            position += (piece.len() / ALIGNMENT * ALIGNMENT).max(ALIGNMENT) as u64;
            continue;
        };
        position += (found * ALIGNMENT) as u64;
        match window.frame(position, mark)? {
            Ok(frame) => {
                let length = u64::from(frame.header.length);
                if !visit(&frame) {
                    return Ok(());
                }
                position += length;
            }
            Err(_) => position += ALIGNMENT as u64,
        }
    }
    Ok(())
}
