//! The delivery ids that were seen: two generations, of which the older is given up whole when the younger is old or the
//! budget is used. In: fingerprints with a mark of the event. Out: the mark; the journal's changes. An id lives one to
//! two times the TTL, and shorter when there are too many. Time follows the requests, never beyond the owner's clock.

use std::time::Duration;

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_schemas::UnixMillis;

use super::budget::Share;
use super::encoding::{Reader, Writer};
use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use super::segment::key_of;
use super::table::Table;
use crate::steps::dedupe::EventMark;

/// Bytes of an entry: fingerprint and mark.
const SLOT: usize = FINGERPRINT_BYTES + 4;
/// Entries in one change.
const CHUNK: usize = 1024;
/// Segments of a generation that was given up that are freed with each new entry.
const FREED_AT_ONCE: usize = 2;
/// Tags of its changes.
pub(super) const GENERATIONS: u8 = 17;
pub(super) const SEEN: u8 = 18;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    ttl: Duration,
    current: Generation,
    previous: Generation,
    given_up: Vec<Table<SLOT>>,
    highest: UnixMillis,
    rotated: bool,
    fresh: Vec<[u8; SLOT]>,
    /// What was fresh when the generation was rotated: it belongs to the previous one.
    fresh_before: Vec<[u8; SLOT]>,
    share: Share,
}

#[derive(Debug)]
struct Generation {
    number: u64,
    began: UnixMillis,
    table: Table<SLOT>,
}

impl Generation {
    fn new(number: u64, began: UnixMillis) -> Self {
        Self {
            number,
            began,
            table: Table::new(),
        }
    }
}

impl Seen {
    pub fn new(ttl: Duration, share: Share) -> Self {
        Self {
            ttl,
            current: Generation::new(1, UnixMillis(0)),
            previous: Generation::new(0, UnixMillis(0)),
            given_up: Vec::new(),
            highest: UnixMillis(0),
            rotated: false,
            fresh: Vec::new(),
            fresh_before: Vec::new(),
            share,
        }
    }

    /// Notes that a request of this time is decided, by which generations age.
    pub fn observe(&mut self, received_at: UnixMillis, now: UnixMillis) {
        self.highest = self.highest.max(received_at.min(now));
        if self.current.began == UnixMillis(0) {
            self.current.began = self.highest;
            self.rotated = true;
            return;
        }
        if self.highest.since(self.current.began) >= self.ttl {
            self.rotate();
        }
        // After a pause in the traffic the older generation is older than two TTLs.
        if self.previous.table.len() > 0 && self.highest.since(self.previous.began) >= 2 * self.ttl {
            self.given_up
                .push(std::mem::replace(&mut self.previous.table, Table::new()));
        }
    }

    /// The event that came under a delivery id.
    pub fn get(&self, delivery: Fingerprint) -> Option<EventMark> {
        let slot = self
            .current
            .table
            .get(delivery)
            .or_else(|| self.previous.table.get(delivery))?;
        let [.., a, b, c, d] = *slot;
        Some(EventMark(u32::from_be_bytes([a, b, c, d])))
    }

    /// Remembers a delivery id.
    pub fn put(&mut self, delivery: Fingerprint, mark: EventMark) {
        let slot = encode(delivery, mark);
        self.free_some(FREED_AT_ONCE);
        if self.current.table.put(&slot, &mut self.share).is_err() {
            if self.given_up.is_empty() {
                self.rotate();
            }
            self.free_some(4 * FREED_AT_ONCE);
            if self.current.table.put(&slot, &mut self.share).is_err() {
                // Not even a few segments' worth of room: the budget is nothing to speak of.
                return;
            }
        }
        self.fresh.push(slot);
    }

    /// How long an id lives at least, as things are: the age of the older generation.
    pub fn effective_ttl(&self) -> Duration {
        let oldest = if self.previous.table.len() > 0 {
            &self.previous
        } else {
            &self.current
        };
        self.highest.since(oldest.began)
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.current.table.len() + self.previous.table.len()
    }

    pub fn bytes(&self) -> usize {
        self.share.used()
    }

    /// Bytes of changes since the last call of [`Seen::write_changes`], about.
    pub fn changes_bytes(&self) -> usize {
        (self.fresh.len() + self.fresh_before.len()) * SLOT
    }

    pub fn write_changes(&mut self, changes: &mut Changes) {
        // How far time has come goes along, so that a new owner's generations are no younger.
        if std::mem::take(&mut self.rotated) || !self.fresh.is_empty() {
            self.write_generations(changes);
        }
        write_slots(self.previous.number, self.fresh_before.iter(), changes);
        write_slots(self.current.number, self.fresh.iter(), changes);
        self.fresh_before.clear();
        self.fresh.clear();
    }

    pub fn apply_generations(&mut self, mut change: Reader<'_>) -> Result<(), ChangeError> {
        let (number, began) = (change.number(8)?, UnixMillis(change.number(8)?));
        let previous_began = UnixMillis(change.number(8)?);
        self.highest = self.highest.max(UnixMillis(change.number(8)?));
        self.advance(number);
        if number == self.current.number {
            self.current.began = began;
            self.previous.began = previous_began;
        }
        Ok(())
    }

    pub fn apply_seen(&mut self, mut change: Reader<'_>) -> Result<(), ChangeError> {
        let number = change.number(8)?;
        self.advance(number);
        let generation = match number {
            number if number == self.current.number => &mut self.current,
            number if number == self.previous.number => &mut self.previous,
            _ => return Ok(()),
        };
        while !change.is_empty() {
            let slot: [u8; SLOT] = change.array()?;
            // What a smaller budget has no room for is forgotten.
            let _ = generation.table.put(&slot, &mut self.share);
        }
        Ok(())
    }

    /// Writes entries from behind `(generation, fingerprint)` on; where to go on, `None` at the end.
    pub fn slice(
        &self,
        after: Option<(u64, Fingerprint)>,
        bytes_max: usize,
        out: &mut Changes,
    ) -> Option<(u64, Fingerprint)> {
        if after.is_none() {
            self.write_generations(out);
        }
        let until = out.len_bytes() + bytes_max;
        for generation in [&self.previous, &self.current] {
            let from = match after {
                Some((number, _)) if number > generation.number => continue,
                Some((number, key)) if number == generation.number => key,
                _ => Fingerprint([0; FINGERPRINT_BYTES]),
            };
            let behind = after.filter(|(number, _)| *number == generation.number);
            let mut slots = generation.table.from(from).peekable();
            slots.next_if(|slot| behind.is_some_and(|(_, key)| key == key_of(slot)));
            while slots.peek().is_some() {
                let left = until.saturating_sub(out.len_bytes()) / SLOT;
                let chunk: Vec<&[u8; SLOT]> = slots.by_ref().take(left.clamp(1, CHUNK)).collect();
                write_slots(generation.number, chunk.iter().copied(), out);
                let last = chunk.last().map(|slot| key_of(slot));
                if out.len_bytes() >= until {
                    return last.map(|key| (generation.number, key));
                }
            }
        }
        None
    }

    fn write_generations(&self, changes: &mut Changes) {
        let mut change = [0; 33];
        Writer::new(&mut change)
            .bytes(&[GENERATIONS])
            .number(self.current.number, 8)
            .number(self.current.began.0, 8)
            .number(self.previous.began.0, 8)
            .number(self.highest.0, 8);
        changes.push(&change);
    }

    fn rotate(&mut self) {
        let next = Generation::new(self.current.number + 1, self.highest);
        let current = std::mem::replace(&mut self.current, next);
        let previous = std::mem::replace(&mut self.previous, current);
        self.given_up.push(previous.table);
        self.rotated = true;
        self.fresh_before = std::mem::take(&mut self.fresh);
    }

    /// Makes `number` the current generation if it is a later one.
    fn advance(&mut self, number: u64) {
        if number <= self.current.number {
            return;
        }
        let next = Generation::new(number, UnixMillis(0));
        let current = std::mem::replace(&mut self.current, next);
        let kept = if number == current.number + 1 {
            current
        } else {
            self.given_up.push(current.table);
            Generation::new(number - 1, UnixMillis(0))
        };
        let previous = std::mem::replace(&mut self.previous, kept);
        self.given_up.push(previous.table);
        // Nobody waits for an owner that only begins.
        while !self.given_up.is_empty() {
            self.free_some(usize::MAX);
        }
    }

    fn free_some(&mut self, segments: usize) {
        if let Some(table) = self.given_up.last_mut()
            && table.free_some(segments, &mut self.share)
        {
            self.given_up.pop();
        }
    }
}

fn encode(delivery: Fingerprint, mark: EventMark) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..FINGERPRINT_BYTES].copy_from_slice(&delivery.0);
    slot[FINGERPRINT_BYTES..].copy_from_slice(&mark.0.to_be_bytes());
    slot
}

fn write_slots<'s>(number: u64, slots: impl Iterator<Item = &'s [u8; SLOT]>, out: &mut Changes) {
    let mut slots = slots.peekable();
    while slots.peek().is_some() {
        out.push_with(|change| {
            change.push(SEEN);
            change.extend_from_slice(&number.to_le_bytes());
            for slot in slots.by_ref().take(CHUNK) {
                change.extend_from_slice(slot);
            }
        });
    }
}
