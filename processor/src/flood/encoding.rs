//! Numbers in as many bytes as they need, in slots and in changes. In and out: bytes, little endian.

use tidegate_broker::journal::ChangeError;

/// Writes into a slot or a change, from its beginning.
pub(super) struct Writer<'b> {
    bytes: &'b mut [u8],
    at: usize,
}

impl<'b> Writer<'b> {
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    /// The low `width` bytes of a number; a larger number becomes the largest that fits.
    pub fn number(&mut self, number: u64, width: usize) -> &mut Self {
        let most = if width >= 8 {
            u64::MAX
        } else {
            (1 << (8 * width)) - 1
        };
        self.bytes(&number.min(most).to_le_bytes()[..width])
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Clone, Copy)]
pub(super) struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'b [u8], ChangeError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(broken)?;
        self.0 = rest;
        Ok(bytes)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ChangeError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or_else(broken)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// A number of so many bytes. Inlined, because with a width that is known it is one load.
    #[inline(always)]
    pub fn number(&mut self, width: usize) -> Result<u64, ChangeError> {
        let mut whole = [0; 8];
        whole
            .get_mut(..width)
            .ok_or_else(broken)?
            .copy_from_slice(self.bytes(width)?);
        Ok(u64::from_le_bytes(whole))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A change that ends too early.
pub(super) fn broken() -> ChangeError {
    ChangeError::new("a change of flood control breaks off")
}
