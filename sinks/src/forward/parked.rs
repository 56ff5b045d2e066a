//! Parked deliveries: a pointer, the endpoint, the tries made, the due time; found by pointer and by due time.
//! In: deliveries that wait for their next try. Out: those that are due. 32 bytes an entry and its share of two
//! indexes (measured below 64). Knows nothing of what a delivery holds.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use tidegate_schemas::UnixMillis;
use xxhash_rust::xxh3::xxh3_64;

/// Entries are kept in chunks, so that growing never copies nor doubles.
const CHUNK: usize = 4096;
const NONE: u32 = u32::MAX;
/// Due times are kept to the millisecond, but fire together by this many bits of milliseconds (256 ms).
const BUCKET_BITS: u32 = 8;
const DUE_BITS: u32 = 56;

/// Which delivery: an event of this partition, on its way to one endpoint (an index of the partition's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) offset: u64,
    pub(crate) endpoint: u32,
}

impl Key {
    fn hash(self) -> u64 {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.endpoint.to_le_bytes());
        xxh3_64(&bytes)
    }
}

/// A delivery that waits for its next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(crate) key: Key,
    /// Tries made so far.
    pub(crate) tries: u8,
    /// When the next one is due.
    pub(crate) due: UnixMillis,
    /// When its schedule ends, to the second: without a try until then it dies.
    pub(crate) ends: UnixMillis,
}

#[derive(Clone, Copy)]
struct Entry {
    offset: u64,
    due_and_tries: u64,
    endpoint: u32,
    ends_seconds: u32,
    previous: u32,
    next: u32,
}

/// All parked deliveries of one partition.
#[derive(Default)]
pub(crate) struct ParkedTable {
    chunks: Vec<Box<[Entry]>>,
    used: u32,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Bucket → the first entry of its list. An entry that was taken stands in no list.
    buckets: BTreeMap<u64, u32>,
}

impl ParkedTable {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Heap bytes; the tree of buckets is reckoned at half-full nodes.
    pub(crate) fn bytes(&self) -> usize {
        let indexed = self.index.capacity() * 8 / 7 * (size_of::<u32>() + 1);
        self.chunks.len() * CHUNK * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
            + indexed
            + self.buckets.len() * 2 * (size_of::<u64>() + size_of::<u32>())
    }

    pub(crate) fn get(&self, key: Key) -> Option<Parked> {
        self.find(key).map(|slot| self.entry(slot).parked())
    }

    /// Parks a delivery, or changes what is known of it.
    pub(crate) fn park(&mut self, parked: Parked) {
        let slot = self.put(parked);
        self.link(slot);
    }

    /// The same for a delivery that is being tried: it is not found as due before it is parked again.
    pub(crate) fn park_taken(&mut self, parked: Parked) {
        self.put(parked);
    }

    /// Forgets a delivery; `false` when it was not parked.
    pub(crate) fn remove(&mut self, key: Key) -> bool {
        let Some(slot) = self.find(key) else { return false };
        self.unlink(slot);
        if let Ok(found) = self.index.find_entry(key.hash(), |other| *other == slot) {
            found.remove();
        }
        self.entry_mut(slot).endpoint = NONE;
        self.free.push(slot);
        true
    }

    /// Takes up to `max` deliveries that are due; they stay in the table, but are not found as due again.
    pub(crate) fn take_due(&mut self, now: UnixMillis, max: usize) -> Vec<Parked> {
        let mut due = Vec::new();
        while let Some((bucket, slot)) = self
            .buckets
            .first_key_value()
            .map(|(bucket, slot)| (*bucket, *slot))
        {
            if due.len() >= max || bucket_end(bucket) > now {
                break;
            }
            due.push(self.entry(slot).parked());
            self.unlink(slot);
        }
        due
    }

    /// When the next delivery fires.
    pub(crate) fn next_due(&self) -> Option<UnixMillis> {
        self.buckets
            .first_key_value()
            .map(|(bucket, _)| bucket_end(*bucket))
    }

    /// Entries from slot `from` on, each with its slot; taken ones too.
    pub(crate) fn entries_from(&self, from: u32) -> impl Iterator<Item = (u32, Parked)> + '_ {
        (from..self.used)
            .map(|slot| (slot, self.entry(slot)))
            .filter(|(_, entry)| entry.endpoint != NONE)
            .map(|(slot, entry)| (slot, entry.parked()))
    }

    fn find(&self, key: Key) -> Option<u32> {
        self.index
            .find(key.hash(), |slot| self.entry(*slot).key() == key)
            .copied()
    }

    /// Writes the entry, in no list.
    fn put(&mut self, parked: Parked) -> u32 {
        let entry = Entry::of(parked);
        if let Some(slot) = self.find(parked.key) {
            self.unlink(slot);
            *self.entry_mut(slot) = entry;
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.used as usize == self.chunks.len() * CHUNK {
                self.chunks.push(vec![entry; CHUNK].into_boxed_slice());
            }
            self.used += 1;
            self.used - 1
        });
        *self.entry_mut(slot) = entry;
        let chunks = &self.chunks;
        let rehash = |slot: &u32| {
            chunks[*slot as usize / CHUNK][*slot as usize % CHUNK]
                .key()
                .hash()
        };
        self.index.insert_unique(parked.key.hash(), slot, rehash);
        slot
    }

    fn link(&mut self, slot: u32) {
        let head = self
            .buckets
            .insert(self.entry(slot).bucket(), slot)
            .unwrap_or(NONE);
        self.entry_mut(slot).next = head;
        if head != NONE {
            self.entry_mut(head).previous = slot;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { previous, next, .. } = *self.entry(slot);
        let bucket = self.entry(slot).bucket();
        if previous != NONE {
            self.entry_mut(previous).next = next;
        } else if self.buckets.get(&bucket) == Some(&slot) {
            if next == NONE {
                self.buckets.remove(&bucket);
            } else {
                self.buckets.insert(bucket, next);
            }
        }
        if next != NONE {
            self.entry_mut(next).previous = previous;
        }
        let entry = self.entry_mut(slot);
        (entry.previous, entry.next) = (NONE, NONE);
    }

    fn entry(&self, slot: u32) -> &Entry {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }
}

impl Entry {
    fn of(parked: Parked) -> Self {
        let due = parked.due.0.min((1 << DUE_BITS) - 1);
        Self {
            offset: parked.key.offset,
            due_and_tries: due | u64::from(parked.tries) << DUE_BITS,
            endpoint: parked.key.endpoint,
            ends_seconds: u32::try_from(parked.ends.seconds()).unwrap_or(u32::MAX),
            previous: NONE,
            next: NONE,
        }
    }

    fn key(&self) -> Key {
        Key {
            offset: self.offset,
            endpoint: self.endpoint,
        }
    }

    fn due(&self) -> u64 {
        self.due_and_tries & ((1 << DUE_BITS) - 1)
    }

    fn bucket(&self) -> u64 {
        self.due() >> BUCKET_BITS
    }

    fn parked(&self) -> Parked {
        Parked {
            key: self.key(),
            tries: u8::try_from(self.due_and_tries >> DUE_BITS).expect("eight bits are left"),
            due: UnixMillis(self.due()),
            ends: UnixMillis(u64::from(self.ends_seconds) * 1000),
        }
    }
}

fn bucket_end(bucket: u64) -> UnixMillis {
    UnixMillis((bucket + 1) << BUCKET_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn parked(offset: u64, endpoint: u32, due: u64) -> Parked {
        let key = Key { offset, endpoint };
        Parked {
            key,
            tries: 3,
            due: UnixMillis(due),
            ends: UnixMillis(9_000),
        }
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_plain_map(steps in prop::collection::vec((0u8..4, 0u64..40, 0u32..3, 0u64..5_000), 0..300)) {
            let (mut table, mut model, mut taken) = (ParkedTable::default(), BTreeMap::new(), BTreeMap::new());
            for (step, offset, endpoint, due) in steps {
                let entry = parked(offset, endpoint, due);
                match step {
                    0 => {
                        prop_assert_eq!(table.remove(entry.key), model.remove(&entry.key).or(taken.remove(&entry.key)).is_some());
                    }
                    1 => {
                        for fired in table.take_due(UnixMillis(due), usize::MAX) {
                            prop_assert!(fired.due.0 < due);
                            prop_assert_eq!(model.remove(&fired.key), Some(fired));
                            taken.insert(fired.key, fired);
                        }
                        prop_assert!(model.values().all(|left| left.due.0 + 256 > due));
                    }
                    2 => {
                        table.park_taken(entry);
                        model.remove(&entry.key);
                        taken.insert(entry.key, entry);
                    }
                    _ => {
                        table.park(entry);
                        taken.remove(&entry.key);
                        model.insert(entry.key, entry);
                    }
                }
            }
            let mut all: Vec<Parked> = table.entries_from(0).map(|(_, entry)| entry).collect();
            all.sort_by_key(|entry| entry.key);
            let mut expected: Vec<Parked> = model.values().chain(taken.values()).copied().collect();
            expected.sort_by_key(|entry| entry.key);
            prop_assert_eq!(table.len(), all.len());
            prop_assert_eq!(all, expected);
        }
    }

    #[test]
    fn a_parked_delivery_holds_at_most_64_bytes() {
        const COUNT: u64 = 500_000;
        let mut table = ParkedTable::default();
        for offset in 0..COUNT {
            // Spread over the longest step of the schedule, a day.
            table.park(parked(offset, 0, offset * 86_400_000 / COUNT));
        }
        let each = table.bytes() as u64 / COUNT;
        assert!(each <= 64, "{each} bytes");
    }
}
