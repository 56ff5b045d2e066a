//! A set of offsets as runs and gaps: what an endpoint that takes nothing now has waiting, at a byte or two each.
//! In: offsets, nearly always ascending. Out: them in order, from any place. Holds no payload and no reason.

use std::collections::VecDeque;
use std::ops::Range;

/// A chunk is closed when its encoded runs reach this many bytes, so that a removal rewrites little.
const CHUNK_BYTES: usize = 512;

/// A set of offsets of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetSet {
    chunks: VecDeque<Chunk>,
    count: u64,
}

/// Offsets from `first` to `last`. All runs but the last are encoded as (gap before, length) in varints; the last one,
/// which grows, is `tail..=last` after a gap of `gap`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    first: u64,
    gap: u64,
    tail: u64,
    last: u64,
    runs: Vec<u8>,
}

impl OffsetSet {
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Heap bytes.
    pub(crate) fn bytes(&self) -> usize {
        let runs: usize = self.chunks.iter().map(|chunk| chunk.runs.capacity()).sum();
        runs + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Adds `offset`; `false` when it was there.
    pub(crate) fn insert(&mut self, offset: u64) -> bool {
        let added = match self.chunks.back_mut() {
            Some(chunk) if offset > chunk.last => {
                if chunk.runs.len() < CHUNK_BYTES {
                    chunk.append(offset);
                } else {
                    chunk.runs.shrink_to_fit();
                    self.chunks.push_back(Chunk::single(offset));
                }
                true
            }
            Some(_) => self.insert_before_the_end(offset),
            None => {
                self.chunks.push_back(Chunk::single(offset));
                true
            }
        };
        self.count += u64::from(added);
        added
    }

    fn insert_before_the_end(&mut self, offset: u64) -> bool {
        let at = self.chunks.partition_point(|chunk| chunk.last < offset);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return false;
        };
        let mut runs: Vec<Range<u64>> = chunk.runs().collect();
        let place = runs.partition_point(|run| run.end <= offset);
        if runs.get(place).is_some_and(|run| run.contains(&offset)) {
            return false;
        }
        runs.insert(place, offset..offset + 1);
        *chunk = Chunk::of(runs);
        true
    }

    /// Takes `offset` out; `false` when it was not there.
    pub(crate) fn remove(&mut self, offset: u64) -> bool {
        let at = self.chunks.partition_point(|chunk| chunk.last < offset);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return false;
        };
        let mut runs: Vec<Range<u64>> = chunk.runs().collect();
        let place = runs.partition_point(|run| run.end <= offset);
        let Some(run) = runs.get(place).cloned().filter(|run| run.contains(&offset)) else {
            return false;
        };
        let parts = [run.start..offset, offset + 1..run.end];
        runs.splice(place..=place, parts.into_iter().filter(|part| !part.is_empty()));
        if runs.is_empty() {
            self.chunks.remove(at);
        } else {
            *chunk = Chunk::of(runs);
        }
        self.count -= 1;
        true
    }

    pub(crate) fn contains(&self, offset: u64) -> bool {
        self.from(offset).next() == Some(offset)
    }

    /// The offsets that are `from` or higher, in order.
    pub(crate) fn from(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let at = self.chunks.partition_point(|chunk| chunk.last < from);
        let runs = self.chunks.iter().skip(at).flat_map(Chunk::runs);
        runs.flat_map(move |run| run.start.max(from)..run.end.max(from))
    }
}

impl Chunk {
    fn single(offset: u64) -> Self {
        Self {
            first: offset,
            gap: 0,
            tail: offset,
            last: offset,
            runs: Vec::new(),
        }
    }

    /// A chunk of at least one run, in order; runs that touch become one.
    fn of(runs: Vec<Range<u64>>) -> Self {
        let mut runs = runs.into_iter();
        let first = runs.next().expect("a chunk keeps at least one run");
        let mut chunk = Self {
            last: first.end - 1,
            ..Self::single(first.start)
        };
        for run in runs {
            chunk.append(run.start);
            chunk.last = run.end - 1;
        }
        chunk
    }

    /// Adds an offset beyond the last.
    fn append(&mut self, offset: u64) {
        if offset != self.last + 1 {
            // The low bit says that the run is one offset, as nearly all are where endpoints share a partition.
            let length = self.last - self.tail + 1;
            write_varint(&mut self.runs, self.gap << 1 | u64::from(length == 1));
            if length > 1 {
                write_varint(&mut self.runs, length);
            }
            self.gap = offset - (self.last + 1);
            self.tail = offset;
        }
        self.last = offset;
    }

    fn runs(&self) -> Runs<'_> {
        Runs {
            bytes: &self.runs,
            next: self.first,
            tail: Some(self.tail..self.last + 1),
        }
    }
}

/// The runs of a chunk, in order.
struct Runs<'a> {
    bytes: &'a [u8],
    next: u64,
    tail: Option<Range<u64>>,
}

impl Iterator for Runs<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.bytes.is_empty() {
            return self.tail.take();
        }
        let gap_and_bit = read_varint(&mut self.bytes)?;
        let length = if gap_and_bit & 1 == 1 {
            1
        } else {
            read_varint(&mut self.bytes)?
        };
        let start = self.next + (gap_and_bit >> 1);
        self.next = start + length;
        Some(start..self.next)
    }
}

/// Writes `number`, seven bits a byte, the low ones first.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

/// Reads what [`write_varint`] wrote; `None` when the bytes end first or the number is too long.
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_plain_set(steps in prop::collection::vec((any::<bool>(), 0u64..3000, 1u64..40), 0..400)) {
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            let mut high = 0;
            for (adds, place, stride) in steps {
                // Mostly ascending, as events come, with strays below.
                let offset = if place % 4 == 0 { place } else { high + stride };
                if adds || place % 3 > 0 {
                    high = high.max(offset);
                    prop_assert_eq!(set.insert(offset), model.insert(offset));
                } else {
                    prop_assert_eq!(set.remove(place), model.remove(&place));
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.from(0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.from(1500).collect::<Vec<_>>(), model.range(1500..).copied().collect::<Vec<_>>());
            for offset in 0..3000 {
                prop_assert_eq!(set.contains(offset), model.contains(&offset));
            }
        }
    }

    #[test]
    fn an_offset_costs_at_most_four_bytes() {
        for stride in [1, 2, 100, 100_000] {
            let mut set = OffsetSet::default();
            for number in 0..200_000u64 {
                set.insert(number * stride);
            }
            assert!(
                set.bytes() <= 4 * 200_000,
                "{} bytes at stride {stride}",
                set.bytes()
            );
        }
    }
}
