//! What is known of each object: the newest rank seen and the hashes of its content as last handed on.
//! In: fingerprints of objects. Out: their state; the journal's changes. An object that finds no room is not known.

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_schemas::UnixMillis;

use super::budget::{Full, Share};
use super::encoding::{Reader, Writer};
use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint, FingerprintSet};
use super::segment::key_of;
use super::table::Table;
use crate::steps::detect::ContentHashes;
use crate::steps::order::Rank;

/// Bytes of an object: fingerprint, rank, canonical hash, raw hash with the rank's kind in its two low bits.
const SLOT: usize = FINGERPRINT_BYTES + 8 + 8 + 7;
/// Objects in one change.
const CHUNK: usize = 512;
/// The tag of its changes.
pub(super) const OBJECTS: u8 = 19;

/// The state of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Object {
    pub newest: Option<Rank>,
    pub content: ContentHashes,
}

/// All objects.
#[derive(Debug)]
pub(super) struct Objects {
    table: Table<SLOT>,
    dirty: FingerprintSet,
    share: Share,
}

impl Objects {
    pub fn new(share: Share) -> Self {
        Self {
            table: Table::new(),
            dirty: FingerprintSet::default(),
            share,
        }
    }

    pub fn get(&self, object: Fingerprint) -> Option<Object> {
        self.table.get(object).map(decode)
    }

    /// Keeps an object's state.
    ///
    /// # Errors
    /// [`Full`]: it is a new object, and there is no room for it.
    pub fn put(&mut self, object: Fingerprint, state: Object) -> Result<(), Full> {
        self.table.put(&encode(object, state), &mut self.share)?;
        self.dirty.insert(object);
        Ok(())
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn bytes(&self) -> usize {
        self.share.used()
    }

    /// Bytes of changes since the last call of [`Objects::write_changes`], about.
    pub fn changes_bytes(&self) -> usize {
        self.dirty.len() * SLOT
    }

    pub fn write_changes(&mut self, changes: &mut Changes) {
        let dirty = std::mem::take(&mut self.dirty);
        let slots = dirty.iter().filter_map(|object| self.table.get(*object));
        write_slots(slots, changes);
    }

    pub fn apply(&mut self, mut change: Reader<'_>) -> Result<(), ChangeError> {
        while !change.is_empty() {
            let slot: [u8; SLOT] = change.array()?;
            // What a smaller budget has no room for is not known any more.
            let _ = self.table.put(&slot, &mut self.share);
        }
        Ok(())
    }

    /// Writes objects from behind `after` on; where to go on, `None` at the end.
    pub fn slice(
        &self,
        after: Option<Fingerprint>,
        bytes_max: usize,
        out: &mut Changes,
    ) -> Option<Fingerprint> {
        let until = out.len_bytes() + bytes_max;
        let from = after.unwrap_or(Fingerprint([0; FINGERPRINT_BYTES]));
        let mut slots = self.table.from(from).peekable();
        slots.next_if(|slot| after == Some(key_of(slot)));
        while slots.peek().is_some() {
            let left = until.saturating_sub(out.len_bytes()) / SLOT;
            let chunk: Vec<&[u8; SLOT]> = slots.by_ref().take(left.clamp(1, CHUNK)).collect();
            write_slots(chunk.iter().copied(), out);
            if out.len_bytes() >= until {
                return chunk.last().map(|slot| key_of(slot));
            }
        }
        None
    }
}

fn encode(object: Fingerprint, state: Object) -> [u8; SLOT] {
    let (kind, rank) = match state.newest {
        None => (0, 0),
        Some(Rank::Version(version)) => (1, version.cast_unsigned()),
        Some(Rank::Time(time)) => (2, time.0),
    };
    let mut slot = [0; SLOT];
    Writer::new(&mut slot)
        .bytes(&object.0)
        .number(rank, 8)
        .number(state.content.canonical, 8)
        .number(state.content.raw << 2 | kind, 7);
    slot
}

fn decode(slot: &[u8; SLOT]) -> Object {
    let mut rest = Reader(&slot[FINGERPRINT_BYTES..]);
    let mut number = |width| rest.number(width).expect("a slot is as long as what is in it");
    let (rank, canonical, raw) = (number(8), number(8), number(7));
    Object {
        newest: match raw & 3 {
            1 => Some(Rank::Version(rank.cast_signed())),
            2 => Some(Rank::Time(UnixMillis(rank))),
            _ => None,
        },
        content: ContentHashes {
            raw: raw >> 2,
            canonical,
        },
    }
}

fn write_slots<'s>(slots: impl Iterator<Item = &'s [u8; SLOT]>, out: &mut Changes) {
    let mut slots = slots.peekable();
    while slots.peek().is_some() {
        out.push_with(|change| {
            change.push(OBJECTS);
            for slot in slots.by_ref().take(CHUNK) {
                change.extend_from_slice(slot);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flood::budget::Budget;

    #[test]
    fn an_object_comes_back_as_it_was() {
        let mut objects = Objects::new(Budget::new(1 << 20, 1).share());
        let states = [
            Object::default(),
            Object {
                newest: Some(Rank::Version(i64::MIN)),
                content: ContentHashes {
                    raw: (1 << 54) - 1,
                    canonical: u64::MAX,
                },
            },
            Object {
                newest: Some(Rank::Time(UnixMillis::MAX)),
                content: ContentHashes { raw: 1, canonical: 1 },
            },
        ];
        for (n, state) in states.into_iter().enumerate() {
            objects.put(Fingerprint([n as u8 + 1; 12]), state).expect("room");
        }
        let mut changes = Changes::new();
        objects.write_changes(&mut changes);
        let mut slices = Changes::new();
        let mut after = None;
        while let Some(next) = objects.slice(after, 1, &mut slices) {
            after = Some(next);
        }
        for written in [changes, slices] {
            let mut restored = Objects::new(Budget::new(1 << 20, 1).share());
            for change in Changes::decode(written.as_bytes()) {
                let change = change.expect("whole");
                assert_eq!(change[0], OBJECTS);
                restored.apply(Reader(&change[1..])).expect("as it was written");
            }
            for (n, state) in states.into_iter().enumerate() {
                assert_eq!(restored.get(Fingerprint([n as u8 + 1; 12])), Some(state));
            }
        }
    }
}
