//! ClickHouse's own compressed blocks, which `compress=1` and `decompress=1` speak of.
//!
//! In: bytes in pieces of any size. Out: blocks of LZ4, each with its checksum (CityHash 1.0.2, 128 bits), and back. ZSTD blocks are refused by name.
//! It holds at most one block.
//!
//! A block: 16 bytes checksum of all that follows; 1 byte method; 4 bytes size from the method on; 4 bytes size decompressed; the bytes.

use crate::exception::{Exception, codes};

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const LZ4: u8 = 0x82;
const NONE: u8 = 0x02;
/// What ClickHouse puts in a block.
const BLOCK: usize = 1 << 20;

/// Appends `bytes` to `out` as blocks.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(BLOCK) {
        let packed = lz4_flex::block::compress(piece);
        let size = |length: usize| {
            u32::try_from(length)
                .expect("a block of 1 MiB is far below 4 GiB, compressed or not")
                .to_le_bytes()
        };
        let mut block = Vec::with_capacity(HEADER + packed.len());
        block.push(LZ4);
        block.extend_from_slice(&size(HEADER + packed.len()));
        block.extend_from_slice(&size(piece.len()));
        block.extend_from_slice(&packed);
        out.extend_from_slice(&checksum(&block));
        out.extend_from_slice(&block);
    }
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(block)
        .rotate_right(64)
        .to_le_bytes()
}

/// Takes blocks apart.
#[derive(Debug)]
pub(crate) struct Decoder {
    pending: Vec<u8>,
    block_bytes_max: usize,
}

impl Decoder {
    pub(crate) fn new(block_bytes_max: usize) -> Self {
        Decoder {
            pending: Vec::new(),
            block_bytes_max,
        }
    }

    /// Takes `bytes` and appends to `out` what the blocks that are complete hold.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Exception> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(block) = self.block(at)? {
            self.decode(at, block, out)?;
            at += CHECKSUM + block.packed;
        }
        self.pending.drain(..at);
        Ok(())
    }

    /// Whether all that was pushed made whole blocks.
    pub(crate) fn finish(&self) -> Result<(), Exception> {
        if self.pending.is_empty() {
            return Ok(());
        }
        Err(Exception::new(
            codes::CANNOT_DECOMPRESS,
            "The compressed body ends inside a block.",
        ))
    }

    /// The sizes of the block at `at`, once all of it is there.
    fn block(&self, at: usize) -> Result<Option<Sizes>, Exception> {
        let Some(header) = self.pending.get(at + CHECKSUM..at + CHECKSUM + HEADER) else {
            return Ok(None);
        };
        let size = |from: usize| {
            let bytes = header
                .get(from..from + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or_default();
            u32::from_le_bytes(bytes) as usize
        };
        let sizes = Sizes {
            method: header.first().copied().unwrap_or_default(),
            packed: size(1),
            whole: size(5),
        };
        let limit = self.block_bytes_max;
        if sizes.packed < HEADER || sizes.packed > limit || sizes.whole > limit {
            let sentence = format!(
                "A compressed block of {} bytes for {} is not within 9 and {limit}.",
                sizes.packed, sizes.whole
            );
            return Err(Exception::new(codes::CANNOT_DECOMPRESS, sentence));
        }
        Ok((self.pending.len() >= at + CHECKSUM + sizes.packed).then_some(sizes))
    }

    fn decode(&self, at: usize, sizes: Sizes, out: &mut Vec<u8>) -> Result<(), Exception> {
        let given = self.pending.get(at..at + CHECKSUM).unwrap_or_default();
        let block = self
            .pending
            .get(at + CHECKSUM..at + CHECKSUM + sizes.packed)
            .unwrap_or_default();
        if checksum(block) != given {
            return Err(Exception::new(
                codes::CHECKSUM_DOESNT_MATCH,
                "Checksum doesn't match: corrupted data.",
            ));
        }
        let packed = block.get(HEADER..).unwrap_or_default();
        match sizes.method {
            NONE => out.extend_from_slice(packed),
            LZ4 => {
                let start = out.len();
                out.resize(start + sizes.whole, 0);
                let room = out.get_mut(start..).unwrap_or_default();
                let written = lz4_flex::block::decompress_into(packed, room).map_err(|error| {
                    Exception::new(
                        codes::CANNOT_DECOMPRESS,
                        format!("Cannot decompress an LZ4 block: {error}."),
                    )
                })?;
                out.truncate(start + written);
            }
            method => {
                let sentence = format!(
                    "Compression method {method:#x} is not known here: send LZ4 blocks (0x82) or none (0x2)."
                );
                return Err(Exception::new(codes::UNKNOWN_COMPRESSION, sentence));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    method: u8,
    packed: usize,
    whole: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_encoded_comes_back_whatever_the_pieces(text in proptest::collection::vec(0_u8..4, 0..5_000), piece in 1_usize..700) {
            let mut packed = Vec::new();
            encode(&text, &mut packed);
            let mut decoder = Decoder::new(1 << 20);
            let mut back = Vec::new();
            for piece in packed.chunks(piece) {
                decoder.push(piece, &mut back).unwrap();
            }
            decoder.finish().unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn a_changed_byte_is_refused(at in 0_usize..60) {
            let mut packed = Vec::new();
            encode(b"some rows that are long enough to be worth a block of their own", &mut packed);
            packed[at] ^= 1;
            let mut decoder = Decoder::new(1 << 20);
            let outcome = decoder.push(&packed, &mut Vec::new()).and_then(|()| decoder.finish());
            prop_assert!(outcome.is_err());
        }
    }

    #[test]
    fn a_block_cut_short_is_refused() {
        let mut packed = Vec::new();
        encode(b"rows", &mut packed);
        let mut decoder = Decoder::new(1 << 20);
        decoder
            .push(&packed[..packed.len() - 1], &mut Vec::new())
            .unwrap();
        assert_eq!(decoder.finish().unwrap_err().code(), 271);
    }
}
