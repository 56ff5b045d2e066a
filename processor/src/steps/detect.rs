//! Has the object changed? In: the hashes of its content as last handed on, and the content at hand. Out: unchanged, or
//! the hashes from now on. The bytes are compared first; what they mean only when they differ.

/// Bits of a hash of bytes that are kept.
pub(crate) const RAW_BITS: u32 = 54;

/// The hashes of a content; zero stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ContentHashes {
    /// Of its bytes, [`RAW_BITS`] of it.
    pub raw: u64,
    /// Of what they mean: sorted keys, numbers by value, without what is ignored.
    pub canonical: u64,
}

/// Whether an object has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is what it was. The hashes are kept: its bytes may be others.
    Unchanged(ContentHashes),
    /// It has another content, which has these hashes.
    Changed(ContentHashes),
}

/// Judges a content by the `last` one's hashes; `canonical` is asked only when its bytes differ.
pub(crate) fn detect(last: ContentHashes, raw: u64, canonical: impl FnOnce() -> u64) -> Change {
    let raw = (raw >> (u64::BITS - RAW_BITS)).max(1);
    if last.raw == raw {
        return Change::Unchanged(last);
    }
    let canonical = canonical().max(1);
    let hashes = ContentHashes { raw, canonical };
    if last.canonical == canonical {
        Change::Unchanged(hashes)
    } else {
        Change::Changed(hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bytes_mean_is_asked_only_when_they_differ() {
        let never = || panic!("the bytes are the same");
        let (a, b) = (u64::MAX, 1 << 63);
        let Change::Changed(first) = detect(ContentHashes::default(), a, || 5) else {
            panic!("nothing was known");
        };
        assert_eq!(detect(first, a, never), Change::Unchanged(first));
        let Change::Unchanged(other_bytes) = detect(first, b, || 5) else {
            panic!("it means the same");
        };
        assert_ne!(other_bytes.raw, first.raw);
        assert_eq!(detect(other_bytes, b, never), Change::Unchanged(other_bytes));
        assert!(matches!(detect(first, b, || 6), Change::Changed(_)));
    }

    #[test]
    fn no_content_is_nothing_that_a_content_could_equal() {
        assert!(
            matches!(detect(ContentHashes::default(), 0, || 0), Change::Changed(hashes) if hashes.raw > 0)
        );
    }
}
