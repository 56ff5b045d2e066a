//! A run: pointers that were set aside together, delta-coded in a few bytes each.
//! In: offsets of one partition that never go down, each with the position of one event or none. Out: the same, and
//! the bytes that the journal keeps. Knows nothing of queues or of time beyond when the run began.

use std::ops::Range;

use tidegate_broker::journal::ChangeError;
use tidegate_schemas::UnixMillis;

/// What is to be read again: a request of the owner's partition, or one event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The request's offset.
    pub offset: u64,
    /// The event's position; `None` stands for the whole request.
    pub position: Option<u32>,
    /// Whether a `replay` command asked for it.
    pub replay: bool,
}

/// How many bytes a run may take before the next one begins: a change rewrites one run whole.
pub(super) const RUN_BYTES_MAX: usize = 512;

/// Pointers that were set aside within a short time of one another.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// When the first of them was set aside.
    pub since: UnixMillis,
    /// When it is to be read again. Not journalled: after a restore everything is due.
    pub due: UnixMillis,
    /// The offset that the first pointer counts from, and the last one's.
    base: u64,
    last: u64,
    len: u32,
    /// So many of the coded bytes are of pointers that were taken out.
    taken_bytes: u32,
    coded: Vec<u8>,
}

impl Run {
    pub fn new(since: UnixMillis, due: UnixMillis) -> Self {
        Self {
            since,
            due,
            base: 0,
            last: 0,
            len: 0,
            taken_bytes: 0,
            coded: Vec::new(),
        }
    }

    /// How many pointers there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// How many bytes the pointers take.
    pub fn len_bytes(&self) -> usize {
        self.coded.len()
    }

    /// Whether `entry` may join at `now`, given how far apart the members of a run may be.
    pub fn takes(&self, entry: Entry, (now, apart): (UnixMillis, std::time::Duration)) -> bool {
        entry.offset >= self.last && self.coded.len() < RUN_BYTES_MAX && now < self.since.after(apart)
    }

    /// Whether a pointer may lie within a range of offsets.
    pub fn may_lie_in(&self, range: &Range<u64>) -> bool {
        self.base < range.end && range.start <= self.last
    }

    /// Appends a pointer; its offset is at least the last one's.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(entry.offset >= self.last, "a run's offsets never go down");
        if self.coded.is_empty() {
            (self.base, self.last) = (entry.offset, entry.offset);
        }
        push_coded(&mut self.coded, entry, self.last);
        self.last = entry.offset;
        self.len += 1;
        if self.coded.len() >= RUN_BYTES_MAX {
            self.coded.shrink_to_fit();
        }
    }

    /// Takes the first pointers out.
    pub fn take_first(&mut self, entries: usize) {
        for _ in 0..entries {
            let mut rest = self.coded.get(self.taken_bytes as usize..).unwrap_or_default();
            if next_entry(&mut rest, &mut self.base).is_none() {
                break;
            }
            let left = rest.len();
            self.taken_bytes = u32::try_from(self.coded.len() - left).unwrap_or(u32::MAX);
            self.len -= 1;
        }
        // Moved up seldom, so that taking one costs no more than one.
        let taken = self.taken_bytes as usize;
        if 2 * taken > self.coded.len() {
            self.coded.drain(..taken);
            self.taken_bytes = 0;
        }
    }

    /// A run like this one, of other pointers.
    pub fn with(&self, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut run = Run::new(self.since, self.due);
        entries.into_iter().for_each(|entry| run.push(entry));
        run
    }

    /// The pointers, in the order they were pushed.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut rest = self.rest();
        let mut offset = self.base;
        std::iter::from_fn(move || next_entry(&mut rest, &mut offset))
    }

    /// Appends the run as the journal keeps it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.since.0.to_le_bytes());
        let (mut rest, mut offset) = (self.rest(), self.base);
        // The journal's first pointer counts from zero.
        if let Some(first) = next_entry(&mut rest, &mut offset) {
            push_coded(out, first, 0);
            out.extend_from_slice(rest);
        }
    }

    /// Reads what [`Run::encode`] wrote; the run is due at once.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChangeError> {
        let Some((since, coded)) = bytes.split_first_chunk::<8>() else {
            return Err(ChangeError::new("a run of pointers has no time"));
        };
        let mut run = Run::new(UnixMillis(u64::from_le_bytes(*since)), UnixMillis(0));
        let mut rest = coded;
        if let Some(first) = next_entry(&mut rest, &mut 0) {
            run.push(first);
        }
        run.coded.reserve_exact(rest.len());
        run.coded.extend_from_slice(rest);
        while next_entry(&mut rest, &mut run.last).is_some() {
            run.len += 1;
        }
        if !rest.is_empty() {
            return Err(ChangeError::new("a run of pointers breaks off"));
        }
        Ok(run)
    }

    fn rest(&self) -> &[u8] {
        self.coded.get(self.taken_bytes as usize..).unwrap_or_default()
    }
}

/// Appends a pointer that counts from the offset `last`.
fn push_coded(coded: &mut Vec<u8>, entry: Entry, last: u64) {
    let flags = u64::from(entry.replay) << 1 | u64::from(entry.position.is_some());
    write_varint(coded, (entry.offset - last) << 2 | flags);
    if let Some(position) = entry.position {
        write_varint(coded, u64::from(position));
    }
}

/// Takes one pointer off `rest`; `None` at its end, and where it breaks off (`rest` is not empty then).
fn next_entry(rest: &mut &[u8], offset: &mut u64) -> Option<Entry> {
    let mut ahead = *rest;
    let flagged = read_varint(&mut ahead)?;
    let position = match flagged & 1 {
        0 => None,
        _ => Some(u32::try_from(read_varint(&mut ahead)?).ok()?),
    };
    *offset = offset.checked_add(flagged >> 2)?;
    *rest = ahead;
    Some(Entry {
        offset: *offset,
        position,
        replay: flagged & 2 != 0,
    })
}

/// Writes a number in base 128, the low seven bits first.
pub(super) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Reads what [`write_varint`] wrote.
pub(super) fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
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
    use std::collections::VecDeque;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_comes_back(
            steps in proptest::collection::vec((0u64..100_000, proptest::option::of(0u32..10_000), any::<bool>()), 0..80),
            since in any::<u32>(),
        ) {
            let mut run = Run::new(UnixMillis(u64::from(since)), UnixMillis(0));
            let mut offset = 0;
            let mut pushed = Vec::new();
            for (step, position, replay) in steps {
                offset += step;
                pushed.push(Entry { offset, position, replay });
                run.push(Entry { offset, position, replay });
            }
            let first_bytes = 16;
            prop_assert!(run.len_bytes() <= pushed.len() * 8 + first_bytes);
            let mut bytes = Vec::new();
            run.encode(&mut bytes);
            let decoded = Run::decode(&bytes).expect("what was written");
            prop_assert_eq!((decoded.since, decoded.len(), decoded.last), (run.since, pushed.len(), run.last));
            prop_assert_eq!(decoded.entries().collect::<Vec<_>>(), pushed);
        }

        #[test]
        fn what_is_taken_from_the_front_is_gone_and_the_rest_comes_back(
            steps in proptest::collection::vec((0u64..100_000, proptest::option::of(0u32..10_000)), 1..80),
            takes in proptest::collection::vec(0usize..7, 1..20),
        ) {
            let mut run = Run::new(UnixMillis(7), UnixMillis(0));
            let mut kept = VecDeque::new();
            let mut offset = 0;
            for (step, position) in steps {
                offset += step;
                let entry = Entry { offset, position, replay: false };
                kept.push_back(entry);
                run.push(entry);
            }
            for take in takes {
                run.take_first(take);
                kept.drain(..take.min(kept.len()));
                prop_assert_eq!((run.len(), run.entries().collect::<VecDeque<_>>()), (kept.len(), kept.clone()));
                let mut bytes = Vec::new();
                run.encode(&mut bytes);
                let decoded = Run::decode(&bytes).expect("what was written");
                prop_assert_eq!(decoded.entries().collect::<VecDeque<_>>(), kept.clone());
                let range = offset / 2..offset;
                let lies = kept.iter().any(|entry| range.contains(&entry.offset));
                prop_assert!(!lies || run.may_lie_in(&range));
            }
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(run) = Run::decode(&bytes) {
                let mut again = Vec::new();
                run.encode(&mut again);
                let again = Run::decode(&again).expect("what was written");
                prop_assert_eq!(again.since, run.since);
                prop_assert!(again.entries().eq(run.entries()));
            }
        }
    }
}
