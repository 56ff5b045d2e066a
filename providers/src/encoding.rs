//! Hex and base64 as providers write them: hex in either case, base64 with or without padding, both alphabets where a
//! definition does not say which. In: text. Out: bytes, or none where the alphabet is broken.

use base64::alphabet::{STANDARD as STANDARD_ALPHABET, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use serde::Deserialize;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD_ALPHABET, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    Hex,
    Base64,
    Base64Url,
}

impl Encoding {
    /// Reads text strictly about the alphabet, leniently about padding and the case of hex.
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Encoding::Hex => decode_hex(text),
            Encoding::Base64 => STANDARD.decode(text).ok(),
            Encoding::Base64Url => URL.decode(text).ok(),
        }
    }

    /// Writes bytes.
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => hex::encode(bytes),
            Encoding::Base64 => STANDARD.encode(bytes),
            Encoding::Base64Url => URL.encode(bytes),
        }
    }
}

/// What a hex digit stands for, by its byte; 0xff for what is none.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digits[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// Reads hex of either case. Every request of most providers carries some.
fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_chunks::<2>();
    let mut bytes = Vec::with_capacity(pairs.len());
    let mut seen = 0;
    for pair in pairs {
        let [high, low] = pair.map(|digit| DIGITS[usize::from(digit)]);
        seen |= high | low;
        bytes.push(high << 4 | low);
    }
    (odd.is_empty() && seen < 16).then_some(bytes)
}

/// Reads base64 of either alphabet.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let engine = if memchr::memchr2(b'-', b'_', text).is_some() {
        &URL
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[u8]>) {
        assert_eq!(decode_hex(text.as_bytes()).as_deref(), expected, "{text}");
        assert_eq!(hex::decode(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn hex_is_read_in_either_case_and_whole() {
        check("", Some(&[]));
        check("00fF", Some(&[0, 0xff]));
        check(
            "0123456789abcdefABCDEF",
            Some(&[1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef]),
        );
        for wrong in ["0", "00f", "0g", "g0", "0x", " 0", "0/", "0:", "0@", "0`", "ö"] {
            check(wrong, None);
        }
    }
}
