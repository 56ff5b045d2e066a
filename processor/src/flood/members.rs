//! What is in a window beside its first event: the ids of the first hundred, where all of them lie when a list is to be
//! handed over, and which one is kept. In: events that join. Out: ids and places; the journal's changes, each entry
//! under its number.

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_schemas::EventId;
use uuid::Uuid;

use super::budget::Share;
use super::encoding::{Reader, Writer};
use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use crate::steps::debounce::Place;

/// The tag of its changes.
pub(super) const MEMBERS: u8 = 22;
/// How many ids a handed-on event names, its window's first among them.
pub(crate) const IDS_MAX: usize = 100;
/// How many events a list hands over at most: with this many its window ends.
pub(super) const LISTED_MAX: usize = 10_000;
/// Bytes that a member takes in memory, with its share of the room that a growing list has.
const HELD_BYTES: usize = 48;
/// Bytes that a window with members takes beside them, in memory.
const BASE_BYTES: usize = 112;
/// Bytes of an entry in the journal.
const ENTRY_BYTES: usize = 36;
/// The number under which the journal has the kept event's id.
const KEPT: u32 = u32::MAX;
/// Numbers from here on but [`KEPT`] are damage.
const NUMBER_END: usize = 1 << 20;

/// An event that joins a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joined {
    pub id: EventId,
    /// Where it lies and how large its payload is, when the window keeps all.
    pub listed: Option<(Place, u32)>,
    /// Whether it is the one that the window keeps now.
    pub kept: bool,
}

/// What has joined a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    entries: Vec<Entry>,
    /// How many of them the journal has.
    journalled: usize,
    list_bytes: u64,
    /// The kept event's id, once it is another than the window's first.
    kept: Option<EventId>,
    kept_is_journalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Entry {
    id: [u8; 16],
    place: Place,
    payload_bytes: u32,
}

impl Entry {
    /// As it lies in the journal, under its number.
    fn encode(&self, number: u32) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        Writer::new(&mut bytes)
            .number(u64::from(number), 4)
            .bytes(&self.id)
            .number(self.place.offset, 8)
            .number(u64::from(self.place.position), 4)
            .number(u64::from(self.payload_bytes), 4);
        bytes
    }
}

impl Members {
    /// Adds an event; says whether there was room for it, which matters only to a list.
    pub(super) fn join(&mut self, Joined { id, listed, kept }: Joined, share: &mut Share) -> bool {
        if self.is_empty() {
            share.take_anyway(BASE_BYTES);
        }
        if kept {
            self.kept = Some(id);
            self.kept_is_journalled = false;
        }
        if listed.is_none() && self.entries.len() + 1 >= IDS_MAX {
            return true;
        }
        if share.take(HELD_BYTES).is_err() {
            return false;
        }
        let (place, payload_bytes) = listed.unwrap_or_default();
        self.list_bytes += u64::from(payload_bytes);
        self.entries.push(Entry {
            id: *id.0.as_bytes(),
            place,
            payload_bytes,
        });
        true
    }

    /// Bytes of the payloads of a list.
    pub fn list_bytes(&self) -> u64 {
        self.list_bytes
    }

    /// Whether nothing has joined.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.kept.is_none()
    }

    /// How many of them have their entry.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The kept event's id, where it is another than the window's first.
    pub fn kept(&self) -> Option<EventId> {
        self.kept
    }

    /// The ids, at most `ids_max` of them, in the order in which they came.
    pub fn ids(&self, ids_max: usize) -> impl Iterator<Item = EventId> + '_ {
        let ids = self.entries.iter().take(ids_max);
        ids.map(|entry| EventId(Uuid::from_bytes(entry.id)))
    }

    /// Where the events of a list lie, in the order in which they came.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.entries.iter().map(|entry| entry.place)
    }

    /// Takes their room again, after they were released.
    pub fn take_again(&mut self, share: &mut Share) {
        share.take_anyway(self.bytes());
    }

    /// Gives back what they took.
    pub fn release(&mut self, share: &mut Share) {
        share.give(self.bytes());
    }

    fn bytes(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        BASE_BYTES + self.entries.len() * HELD_BYTES
    }

    /// Writes those that the journal does not have.
    pub fn write_fresh(&mut self, object: Fingerprint, out: &mut Changes) {
        self.write(object, (self.journalled, !self.kept_is_journalled), out);
        self.journalled = self.entries.len();
        self.kept_is_journalled = true;
    }

    pub fn write_all(&self, object: Fingerprint, out: &mut Changes) {
        self.write(object, (0, true), out);
    }

    fn write(&self, object: Fingerprint, (from, with_kept): (usize, bool), out: &mut Changes) {
        let fresh = self.entries.get(from..).unwrap_or_default();
        let kept = self.kept.filter(|_| with_kept);
        if fresh.is_empty() && kept.is_none() {
            return;
        }
        out.push_with(|change| {
            change.reserve(1 + FINGERPRINT_BYTES + (fresh.len() + 1) * ENTRY_BYTES);
            change.push(MEMBERS);
            change.extend_from_slice(&object.0);
            for (number, entry) in (from as u32..).zip(fresh) {
                change.extend_from_slice(&entry.encode(number));
            }
            if let Some(EventId(id)) = kept {
                let entry = Entry {
                    id: *id.as_bytes(),
                    ..Entry::default()
                };
                change.extend_from_slice(&entry.encode(KEPT));
            }
        });
    }

    /// Applies entries. Those before them may come later, in a slice: until then they are blank.
    pub(super) fn apply(&mut self, mut change: Reader<'_>, share: &mut Share) -> Result<(), ChangeError> {
        let before = self.bytes();
        while !change.is_empty() {
            let number = change.number(4)? as u32;
            let entry = Entry {
                id: change.array()?,
                place: Place {
                    offset: change.number(8)?,
                    position: change.number(4)? as u32,
                },
                payload_bytes: change.number(4)? as u32,
            };
            match number as usize {
                _ if number == KEPT => self.kept = Some(EventId(Uuid::from_bytes(entry.id))),
                number if number < NUMBER_END => {
                    let len = self.entries.len().max(number + 1);
                    self.entries.resize(len, Entry::default());
                    self.entries[number] = entry;
                }
                _ => return Err(ChangeError::new("a window has more members than any may have")),
            }
        }
        share.take_anyway(self.bytes() - before);
        self.journalled = self.entries.len();
        self.kept_is_journalled = true;
        self.list_bytes = self
            .entries
            .iter()
            .map(|entry| u64::from(entry.payload_bytes))
            .sum();
        Ok(())
    }
}
