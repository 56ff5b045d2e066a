//! What the journal `retries` says: parked deliveries, and the sets of offsets that wait for an endpoint.
//! In: changes, from this owner or from the journal. Out: the state by pointer and by due time, and slices of it.
//! What is being tried or queued in memory stands here too, as the journal would restore it after a crash.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_broker::journal::{self, ChangeError, Changes};
use tidegate_schemas::EndpointId;

use super::change::{Change, runs_of};
use super::offset_set::{OffsetSet, read_varint, write_varint};
use super::parked::{Key, ParkedTable};

/// Offsets of one endpoint in one change of a slice.
const SLICE_OFFSETS: usize = 4096;

/// The state of one partition of `events`.
#[derive(Default)]
pub(crate) struct Tables {
    endpoints: Vec<EndpointId>,
    indexes: HashMap<EndpointId, u32>,
    pub(crate) parked: ParkedTable,
    waiting: BTreeMap<u32, OffsetSet>,
}

impl Tables {
    /// The partition's own number for an endpoint.
    pub(crate) fn index_of(&mut self, endpoint: EndpointId) -> u32 {
        if let Some(index) = self.indexes.get(&endpoint) {
            return *index;
        }
        let index = u32::try_from(self.endpoints.len()).expect("fewer endpoints than 4 billion");
        self.endpoints.push(endpoint);
        self.indexes.insert(endpoint, index);
        index
    }

    pub(crate) fn endpoint(&self, index: u32) -> EndpointId {
        self.endpoints[index as usize]
    }

    /// The offsets that wait for an endpoint.
    pub(crate) fn waiting(&self, endpoint: u32) -> Option<&OffsetSet> {
        self.waiting.get(&endpoint)
    }

    pub(crate) fn wait(&mut self, key: Key) {
        self.waiting.entry(key.endpoint).or_default().insert(key.offset);
    }

    pub(crate) fn stop_waiting(&mut self, key: Key) {
        if let Some(set) = self.waiting.get_mut(&key.endpoint) {
            set.remove(key.offset);
            if set.is_empty() {
                self.waiting.remove(&key.endpoint);
            }
        }
    }

    /// Endpoints that have offsets waiting.
    pub(crate) fn endpoints_waited_for(&self) -> Vec<u32> {
        self.waiting.keys().copied().collect()
    }

    pub(crate) fn waiting_len(&self) -> u64 {
        self.waiting.values().map(OffsetSet::len).sum()
    }

    /// Heap bytes of what is parked and what waits.
    pub(crate) fn bytes(&self) -> usize {
        self.parked.bytes() + self.waiting.values().map(OffsetSet::bytes).sum::<usize>()
    }

    /// The offsets of `range` that a delivery still points at.
    pub(crate) fn pointed_at(&self, range: &Range<u64>) -> Vec<u64> {
        let parked = self.parked.entries_from(0).map(|(_, parked)| parked.key.offset);
        let mut offsets: Vec<u64> = parked.filter(|offset| range.contains(offset)).collect();
        for set in self.waiting.values() {
            offsets.extend(set.from(range.start).take_while(|offset| *offset < range.end));
        }
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Park { endpoint, mut parked } => {
                parked.key.endpoint = self.index_of(endpoint);
                self.parked.park(parked);
            }
            Change::Unpark { endpoint, offset } => {
                let endpoint = self.index_of(endpoint);
                self.parked.remove(Key { offset, endpoint });
            }
            Change::Wait { endpoint, runs } => {
                let endpoint = self.index_of(endpoint);
                runs.into_iter()
                    .flatten()
                    .for_each(|offset| self.wait(Key { offset, endpoint }));
            }
            Change::StopWaiting { endpoint, runs } => {
                let endpoint = self.index_of(endpoint);
                runs.into_iter()
                    .flatten()
                    .for_each(|offset| self.stop_waiting(Key { offset, endpoint }));
            }
        }
    }

    fn slice(&self, cursor: Cursor, bytes_max: usize, out: &mut Changes) -> Option<Cursor> {
        let start = out.len_bytes();
        let full = |out: &Changes| out.len_bytes() - start >= bytes_max;
        let (first_endpoint, first_offset) = match cursor {
            Cursor::Parked { slot } => {
                for (slot, parked) in self.parked.entries_from(slot) {
                    if full(out) {
                        return Some(Cursor::Parked { slot });
                    }
                    let endpoint = self.endpoint(parked.key.endpoint);
                    out.push(&Change::Park { endpoint, parked }.encode());
                }
                (0, 0)
            }
            Cursor::Waiting { endpoint, offset } => (endpoint, offset),
        };
        for (index, set) in self.waiting.range(first_endpoint..) {
            let mut from = if *index == first_endpoint { first_offset } else { 0 };
            loop {
                let offsets: Vec<u64> = set.from(from).take(SLICE_OFFSETS).collect();
                let Some(last) = offsets.last() else { break };
                if full(out) {
                    return Some(Cursor::Waiting {
                        endpoint: *index,
                        offset: from,
                    });
                }
                from = last + 1;
                out.push(
                    &Change::Wait {
                        endpoint: self.endpoint(*index),
                        runs: runs_of(&offsets),
                    }
                    .encode(),
                );
            }
        }
        None
    }
}

/// Where a round of slices goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    Parked { slot: u32 },
    Waiting { endpoint: u32, offset: u64 },
}

impl Cursor {
    fn encode(self) -> Vec<u8> {
        let (kind, numbers) = match self {
            Cursor::Parked { slot } => (0, [u64::from(slot), 0]),
            Cursor::Waiting { endpoint, offset } => (1, [u64::from(endpoint), offset]),
        };
        let mut bytes = vec![kind];
        numbers
            .into_iter()
            .for_each(|number| write_varint(&mut bytes, number));
        bytes
    }

    /// Reads a cursor of this process; anything else begins the round anew.
    fn decode(bytes: &[u8]) -> Self {
        let read = || {
            let (kind, mut rest) = bytes.split_first()?;
            let first = u32::try_from(read_varint(&mut rest)?).ok()?;
            let second = read_varint(&mut rest)?;
            Some(match kind {
                0 => Cursor::Parked { slot: first },
                _ => Cursor::Waiting {
                    endpoint: first,
                    offset: second,
                },
            })
        };
        read().unwrap_or(Cursor::Parked { slot: 0 })
    }
}

/// The tables as their owner, the journal and the keeper of `events` share them.
#[derive(Clone, Default)]
pub(crate) struct SharedTables(Arc<Mutex<Tables>>);

impl SharedTables {
    /// Forgets everything, for a new owner to read it from the journal.
    pub(crate) fn reset(&self) {
        *self.0.lock() = Tables::default();
    }

    /// Never held across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock()
    }
}

impl journal::Tables for SharedTables {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let change =
            Change::decode(change).ok_or_else(|| ChangeError::new("it is no change of `retries`"))?;
        self.lock().apply(change);
        Ok(())
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let cursor = after.map_or(Cursor::Parked { slot: 0 }, Cursor::decode);
        self.lock().slice(cursor, bytes_max, out).map(Cursor::encode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_broker::journal::Tables as _;
    use tidegate_schemas::UnixMillis;

    use super::super::parked::Parked;
    use super::*;

    fn filled(parked: &[(u64, u32, u64)], waiting: &[(u64, u32)]) -> Tables {
        let mut tables = Tables::default();
        for endpoint in 0..3u32 {
            tables.index_of(EndpointId::new(UnixMillis(u64::from(endpoint))));
        }
        for (offset, endpoint, due) in parked {
            let key = Key {
                offset: *offset,
                endpoint: *endpoint,
            };
            tables.parked.park(Parked {
                key,
                tries: 2,
                due: UnixMillis(*due),
                ends: UnixMillis(77_000),
            });
        }
        for (offset, endpoint) in waiting {
            tables.wait(Key {
                offset: *offset,
                endpoint: *endpoint,
            });
        }
        tables
    }

    type Content = (Vec<(EndpointId, Parked)>, Vec<(EndpointId, Vec<u64>)>);

    /// All there is, in an order of its own.
    fn content(tables: &Tables) -> Content {
        let plain = |parked: Parked| Parked {
            key: Key {
                endpoint: 0,
                ..parked.key
            },
            ..parked
        };
        let of = |parked: &Parked| tables.endpoint(parked.key.endpoint);
        let mut parked: Vec<_> = tables
            .parked
            .entries_from(0)
            .map(|(_, parked)| (of(&parked), plain(parked)))
            .collect();
        parked.sort_by_key(|(endpoint, parked)| (parked.key.offset, *endpoint));
        let waiting = tables.waiting.iter();
        let mut waiting: Vec<_> = waiting
            .map(|(index, set)| (tables.endpoint(*index), set.from(0).collect()))
            .collect();
        waiting.sort();
        (parked, waiting)
    }

    proptest! {
        #[test]
        fn slices_of_any_size_restore_the_whole(
            parked in prop::collection::vec((0u64..200, 0u32..3, 0u64..9_000), 0..60),
            waiting in prop::collection::vec((0u64..20_000, 0u32..3), 0..200),
            bytes_max in 1usize..300,
        ) {
            let tables = filled(&parked, &waiting);
            let (mut restored, shared) = (SharedTables::default(), SharedTables(Arc::new(Mutex::new(tables))));
            let mut cursor: Option<Vec<u8>> = None;
            loop {
                let mut out = Changes::new();
                let next = shared.slice(cursor.as_deref(), bytes_max, &mut out);
                for change in Changes::decode(out.as_bytes()) {
                    restored.apply(change.expect("a whole list")).expect("our own change");
                }
                match next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(content(&restored.lock()), content(&shared.lock()));
        }

        #[test]
        fn foreign_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut tables = SharedTables::default();
            // Whether they happen to be a change is of no interest.
            drop(tables.apply(&bytes));
        }
    }

    #[test]
    fn the_keeper_is_told_of_every_pointer_once() {
        let tables = filled(
            &[(5, 0, 1), (5, 1, 1), (9, 0, 1)],
            &[(4, 2), (5, 2), (8, 2), (12, 2)],
        );
        assert_eq!(tables.pointed_at(&(5..12)), [5, 8, 9]);
    }
}
