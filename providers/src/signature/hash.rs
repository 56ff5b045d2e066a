//! Hashes and message codes over pieces, so that nothing is copied together to be signed. In: pieces of text, a key. Out:
//! the digest or code. Compares nothing.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The hash functions that providers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A digest or code: at most 64 bytes, on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    bytes: [u8; 64],
    length: usize,
}

impl Code {
    fn new(code: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let length = code.len().min(bytes.len());
        for (to, from) in bytes.iter_mut().zip(code) {
            *to = *from;
        }
        Self { bytes, length }
    }
}

impl std::ops::Deref for Code {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Hash {
    /// The hash of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sha1" => Hash::Sha1,
            "sha256" => Hash::Sha256,
            "sha384" => Hash::Sha384,
            "sha512" => Hash::Sha512,
            _ => return None,
        })
    }

    /// The plain hash of all pieces together.
    pub fn digest<P: AsRef<[u8]>>(self, pieces: &[P]) -> Code {
        macro_rules! digest {
            ($hash:ty) => {{
                let mut hash = <$hash>::new();
                pieces.iter().for_each(|piece| hash.update(piece));
                Code::new(&hash.finalize())
            }};
        }
        match self {
            Hash::Sha1 => digest!(Sha1),
            Hash::Sha256 => digest!(Sha256),
            Hash::Sha384 => digest!(Sha384),
            Hash::Sha512 => digest!(Sha512),
        }
    }

    /// HMAC of all pieces together.
    pub fn mac<P: AsRef<[u8]>>(self, key: &[u8], pieces: &[P]) -> Code {
        macro_rules! mac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
                pieces.iter().for_each(|piece| mac.update(piece.as_ref()));
                Code::new(&mac.finalize().into_bytes())
            }};
        }
        match self {
            Hash::Sha1 => mac!(Sha1),
            Hash::Sha256 => mac!(Sha256),
            Hash::Sha384 => mac!(Sha384),
            Hash::Sha512 => mac!(Sha512),
        }
    }
}
