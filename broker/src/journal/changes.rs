//! Changes as bytes: each one with its length before it.
//! What a change says belongs to the journal's user.

/// A change that its user cannot apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change cannot be applied: {reason}")]
pub struct ChangeError {
    /// What is wrong with it.
    pub reason: String,
}

impl ChangeError {
    /// A change that cannot be applied, and why.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> ChangeError {
        ChangeError {
            reason: reason.into(),
        }
    }
}

/// Bytes of a change's length before it.
const LENGTH_BYTES: usize = 4;

/// A list of changes, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    bytes: Vec<u8>,
}

impl Changes {
    /// No changes.
    #[must_use]
    pub fn new() -> Changes {
        Changes::default()
    }

    /// No changes, with room for so many bytes of them.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Changes {
        Changes {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds a change.
    ///
    /// # Panics
    /// When it has 4 GiB or more; a journal message holds at most 16 MiB.
    pub fn push(&mut self, change: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(change));
    }

    /// Adds the change that begins with `tag` and goes on with `rest`.
    ///
    /// # Panics
    /// As [`Changes::push`].
    pub fn push_tagged(&mut self, tag: u8, rest: &[u8]) {
        self.push_with(|bytes| {
            bytes.push(tag);
            bytes.extend_from_slice(rest);
        });
    }

    /// Adds the change that `write` appends to the bytes it is given, which it must leave as they are: no buffer of the
    /// change's own is needed.
    ///
    /// # Panics
    /// As [`Changes::push`].
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        write(&mut self.bytes);
        let (length, change) = self.bytes[start..]
            .split_first_chunk_mut::<LENGTH_BYTES>()
            .expect("bytes are only added");
        let bytes = u32::try_from(change.len()).expect("a change is smaller than a journal message");
        *length = bytes.to_le_bytes();
    }

    /// Bytes that they take in the journal.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The encoded list.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Goes through an encoded list; ends with an error where it is cut short.
    pub fn decode(mut bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], ChangeError>> {
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let change = bytes.split_first_chunk().and_then(|(length, rest)| {
                rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
            });
            let Some((change, rest)) = change else {
                bytes = &[];
                return Some(Err(ChangeError::new("the list of changes is cut short")));
            };
            bytes = rest;
            Some(Ok(change))
        })
    }
}
