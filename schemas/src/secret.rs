//! Bytes that must never be shown: a type without `Debug` or `Display`, wiped when dropped.
//! In: bytes. Out: bytes, only by the explicit [`Secret::expose`]. Compares nothing.

use zeroize::Zeroizing;

/// A secret's bytes. Has no `Debug`, so that no log line or error can print it by accident.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes, for signing, verifying and encrypting.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is nothing in it; an empty secret verifies nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
