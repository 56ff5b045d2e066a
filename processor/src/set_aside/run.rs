//! A run: pointers that were set aside together, delta-coded in a few bytes each.
//! In: offsets of one partition that never go down, each with the position of one event or none. Out: the same, and
//! the bytes that the journal keeps. Knows nothing of queues or of time beyond when the run began.

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// When the first of them was set aside.
    pub since: UnixMillis,
    /// When it is to be read again. Not journalled: after a restore everything is due.
    pub due: UnixMillis,
    last: u64,
    coded: Vec<u8>,
}

impl Run {
    pub fn new(since: UnixMillis, due: UnixMillis) -> Self {
        Self {
            since,
            due,
            last: 0,
            coded: Vec::new(),
        }
    }

    /// How many bytes the pointers take.
    pub fn len_bytes(&self) -> usize {
        self.coded.len()
    }

    /// Whether `entry` may join at `now`, given how far apart the members of a run may be.
    pub fn takes(&self, entry: Entry, (now, apart): (UnixMillis, std::time::Duration)) -> bool {
        entry.offset >= self.last && self.coded.len() < RUN_BYTES_MAX && now < self.since.after(apart)
    }

    /// Appends a pointer; its offset is at least the last one's.
    pub fn push(&mut self, entry: Entry) {
        debug_assert!(entry.offset >= self.last, "a run's offsets never go down");
        let delta = entry.offset - self.last;
        let flags = u64::from(entry.replay) << 1 | u64::from(entry.position.is_some());
        write_varint(&mut self.coded, delta << 2 | flags);
        if let Some(position) = entry.position {
            write_varint(&mut self.coded, u64::from(position));
        }
        self.last = entry.offset;
    }

    /// A run like this one, of other pointers.
    pub fn with(&self, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut run = Run::new(self.since, self.due);
        entries.into_iter().for_each(|entry| run.push(entry));
        run
    }

    /// The pointers, in the order they were pushed.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut rest = self.coded.as_slice();
        let mut offset = 0;
        std::iter::from_fn(move || next_entry(&mut rest, &mut offset))
    }

    /// Appends the run as the journal keeps it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.since.0.to_le_bytes());
        out.extend_from_slice(&self.coded);
    }

    /// Reads what [`Run::encode`] wrote; the run is due at once.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChangeError> {
        let Some((since, coded)) = bytes.split_first_chunk::<8>() else {
            return Err(ChangeError::new("a run of pointers has no time"));
        };
        let mut run = Run::new(UnixMillis(u64::from_le_bytes(*since)), UnixMillis(0));
        let mut rest = coded;
        while next_entry(&mut rest, &mut run.last).is_some() {}
        if !rest.is_empty() {
            return Err(ChangeError::new("a run of pointers breaks off"));
        }
        run.coded = coded.to_vec();
        Ok(run)
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
            prop_assert_eq!(&decoded, &run);
            prop_assert_eq!(decoded.entries().collect::<Vec<_>>(), pushed);
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(run) = Run::decode(&bytes) {
                let mut again = Vec::new();
                run.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
