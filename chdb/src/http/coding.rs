//! How bodies are coded on the way: `Content-Encoding` of both directions.
//!
//! In: headers; then bytes in pieces. Out: bytes coded or decoded, piece by piece. Bodies may be gzip or deflate; answers gzip, deflate or LZ4 frames.
//! ClickHouse's own compressed blocks are another thing, inside these: [`crate::blocks`].

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use lz4_flex::frame::FrameEncoder;

use crate::blocks;
use crate::exception::{Exception, codes};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Lz4,
}

impl Coding {
    /// How a request's body is coded.
    pub(crate) fn of_body(headers: &HeaderMap) -> Result<Coding, Exception> {
        let named = headers
            .get(CONTENT_ENCODING)
            .map_or("", |value| value.to_str().unwrap_or("?"));
        match named.trim() {
            "" | "identity" => Ok(Coding::Identity),
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "deflate" => Ok(Coding::Deflate),
            other => {
                let sentence =
                    format!("Content-Encoding {other} is not understood here: send gzip, deflate or none.");
                Err(Exception::new(codes::NOT_IMPLEMENTED, sentence))
            }
        }
    }

    /// The best coding that the client takes.
    pub(crate) fn of_answer(headers: &HeaderMap) -> Coding {
        let accepted = headers
            .get(ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let takes = |name: &str| {
            accepted.split(',').any(|offer| {
                let (coding, weight) = offer.split_once(';').unwrap_or((offer, ""));
                coding.trim().eq_ignore_ascii_case(name) && !matches!(weight.trim(), "q=0" | "q=0.0")
            })
        };
        [
            ("lz4", Coding::Lz4),
            ("gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
        ]
        .into_iter()
        .find_map(|(name, coding)| takes(name).then_some(coding))
        .unwrap_or(Coding::Identity)
    }

    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some("gzip"),
            Coding::Deflate => Some("deflate"),
            Coding::Lz4 => Some("lz4"),
        }
    }
}

/// Decodes a request's body: the content coding, then ClickHouse's blocks.
pub(crate) struct Decoder {
    coding: Inflate,
    blocks: Option<blocks::Decoder>,
}

enum Inflate {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Deflate(Box<ZlibDecoder<Vec<u8>>>),
}

impl Decoder {
    pub(crate) fn new(coding: Coding, blocks: Option<blocks::Decoder>) -> Self {
        let coding = match coding {
            Coding::Identity | Coding::Lz4 => Inflate::Identity,
            Coding::Gzip => Inflate::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Inflate::Deflate(Box::new(ZlibDecoder::new(Vec::new()))),
        };
        Decoder { coding, blocks }
    }

    /// Whether bytes come out as they went in.
    pub(crate) fn is_identity(&self) -> bool {
        self.blocks.is_none() && matches!(self.coding, Inflate::Identity)
    }

    /// Takes a piece; gives what can be decoded so far.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, Exception> {
        let inflated = match &mut self.coding {
            Inflate::Identity => piece.to_vec(),
            Inflate::Gzip(decoder) => {
                decoder.write_all(piece).map_err(|error| broken(&error))?;
                std::mem::take(decoder.get_mut())
            }
            Inflate::Deflate(decoder) => {
                decoder.write_all(piece).map_err(|error| broken(&error))?;
                std::mem::take(decoder.get_mut())
            }
        };
        self.unblock(inflated)
    }

    /// Gives what is left at the body's end.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Exception> {
        let inflated = match &mut self.coding {
            Inflate::Identity => Vec::new(),
            Inflate::Gzip(decoder) => {
                decoder.try_finish().map_err(|error| broken(&error))?;
                std::mem::take(decoder.get_mut())
            }
            Inflate::Deflate(decoder) => {
                decoder.try_finish().map_err(|error| broken(&error))?;
                std::mem::take(decoder.get_mut())
            }
        };
        let rest = self.unblock(inflated)?;
        self.blocks.as_ref().map_or(Ok(()), blocks::Decoder::finish)?;
        Ok(rest)
    }

    fn unblock(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, Exception> {
        let Some(decoder) = &mut self.blocks else {
            return Ok(bytes);
        };
        let mut out = Vec::new();
        decoder.push(&bytes, &mut out)?;
        Ok(out)
    }
}

fn broken(error: &std::io::Error) -> Exception {
    Exception::new(
        codes::CANNOT_DECOMPRESS,
        format!("Cannot decode the body: {error}."),
    )
}

/// Codes an answer: ClickHouse's blocks, then the content coding.
pub(crate) struct Encoder {
    coding: Deflater,
    in_blocks: bool,
}

enum Deflater {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Blocks and a content coding exclude each other, as with ClickHouse: blocks win.
    pub(crate) fn new(coding: Coding, in_blocks: bool) -> Self {
        let level = Compression::new(3);
        let coding = match if in_blocks { Coding::Identity } else { coding } {
            Coding::Identity => Deflater::Identity(Vec::new()),
            Coding::Gzip => Deflater::Gzip(GzEncoder::new(Vec::new(), level)),
            Coding::Deflate => Deflater::Deflate(ZlibEncoder::new(Vec::new(), level)),
            Coding::Lz4 => Deflater::Lz4(Box::new(FrameEncoder::new(Vec::new()))),
        };
        Encoder { coding, in_blocks }
    }

    /// Codes a piece of the result; all of it comes out at once, so that a slow result still streams.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.in_blocks {
            let mut out = Vec::new();
            blocks::encode(piece, &mut out);
            return out;
        }
        self.push_unblocked(piece)
    }

    /// Codes text that is not part of the result; it stands outside of ClickHouse's blocks.
    pub(crate) fn push_unblocked(&mut self, piece: &[u8]) -> Vec<u8> {
        const WHY: &str = "writing to a vector does not fail";
        match &mut self.coding {
            Deflater::Identity(out) => {
                out.extend_from_slice(piece);
                std::mem::take(out)
            }
            Deflater::Gzip(encoder) => {
                encoder
                    .write_all(piece)
                    .and_then(|()| encoder.flush())
                    .expect(WHY);
                std::mem::take(encoder.get_mut())
            }
            Deflater::Deflate(encoder) => {
                encoder
                    .write_all(piece)
                    .and_then(|()| encoder.flush())
                    .expect(WHY);
                std::mem::take(encoder.get_mut())
            }
            Deflater::Lz4(encoder) => {
                encoder
                    .write_all(piece)
                    .and_then(|()| encoder.flush())
                    .expect(WHY);
                std::mem::take(encoder.get_mut())
            }
        }
    }

    /// What ends the coded answer.
    pub(crate) fn finish(self) -> Vec<u8> {
        const WHY: &str = "writing to a vector does not fail";
        match self.coding {
            Deflater::Identity(out) => out,
            Deflater::Gzip(encoder) => encoder.finish().expect(WHY),
            Deflater::Deflate(encoder) => encoder.finish().expect(WHY),
            Deflater::Lz4(encoder) => encoder.finish().expect(WHY),
        }
    }
}
