//! A segment of a table: slots sorted by their keys, each at or a little behind the place where its key belongs.
//! In: slots that begin with a key. Out: slots by key or in order. It says when it is too full, and does not grow by itself.

use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint};

/// Slots behind the last place, for keys that belong near the end.
const fn spare(places: usize) -> usize {
    24 + places / 512
}

/// No slot was put last: no key is higher than this one's.
const NOWHERE: (usize, u64) = (0, u64::MAX);

/// Sorted slots of `N` bytes; one whose key is all zeros is empty.
#[derive(Debug)]
pub(super) struct Segment<const N: usize> {
    slots: Box<[[u8; N]]>,
    places: usize,
    len: usize,
    /// Where a slot was put last, and its key's prefix: a journal's slices bring slots in order, and the next one belongs
    /// behind it.
    last: (usize, u64),
    /// How many leading bits of a key the segment's own place in the table says.
    pub depth: u32,
}

/// The segment has no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

/// The key of a slot.
pub(super) fn key_of<const N: usize>(slot: &[u8; N]) -> Fingerprint {
    let mut key = [0; FINGERPRINT_BYTES];
    key.copy_from_slice(&slot[..FINGERPRINT_BYTES]);
    Fingerprint(key)
}

fn is_empty<const N: usize>(slot: &[u8; N]) -> bool {
    slot[..FINGERPRINT_BYTES] == [0; FINGERPRINT_BYTES]
}

impl<const N: usize> Segment<N> {
    /// An empty segment with so many places.
    pub fn new(places: usize, depth: u32) -> Self {
        Self {
            slots: vec![[0; N]; places + spare(places)].into_boxed_slice(),
            places,
            len: 0,
            last: NOWHERE,
            depth,
        }
    }

    /// Bytes that a segment of so many places takes.
    pub const fn bytes_of(places: usize) -> usize {
        (places + spare(places)) * N + size_of::<Self>()
    }

    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.places)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn places(&self) -> usize {
        self.places
    }

    /// The slot of a key.
    pub fn get(&self, key: Fingerprint) -> Option<&[u8; N]> {
        self.find(key).ok().and_then(|at| self.slots.get(at))
    }

    /// Puts a slot in, or in place of the one with its key; says whether it is new.
    ///
    /// # Errors
    /// [`Crowded`]: nothing was changed.
    pub fn put(&mut self, slot: &[u8; N], len_max: usize) -> Result<bool, Crowded> {
        let key = key_of(slot);
        let at = match self.find_from(self.behind_last(key), key) {
            Ok(at) => {
                self.slots[at] = *slot;
                return Ok(false);
            }
            Err(at) => at,
        };
        if self.len >= len_max {
            return Err(Crowded);
        }
        let behind = self.slots.get(at..).ok_or(Crowded)?;
        let end = at + behind.iter().position(is_empty).ok_or(Crowded)?;
        self.slots.copy_within(at..end, at + 1);
        self.slots[at] = *slot;
        self.len += 1;
        self.last = (at, key.prefix());
        Ok(true)
    }

    /// Takes a slot out; says whether it was there.
    pub fn remove(&mut self, key: Fingerprint) -> bool {
        let Ok(at) = self.find(key) else {
            return false;
        };
        // Those behind it move up as long as that brings none before its own place.
        let moved = self.slots[at + 1..]
            .iter()
            .enumerate()
            .take_while(|(index, slot)| !is_empty(slot) && self.home(key_of(slot)) <= at + index)
            .count();
        self.slots.copy_within(at + 1..=at + moved, at);
        self.slots[at + moved] = [0; N];
        self.len -= 1;
        self.last = NOWHERE;
        true
    }

    /// The slots from the first key at or behind `from` on, in order.
    pub fn from(&self, from: Fingerprint) -> impl Iterator<Item = &[u8; N]> {
        let at = self.find(from).unwrap_or_else(|at| at);
        let behind = self.slots.get(at..).unwrap_or_default();
        behind.iter().filter(|slot| !is_empty(slot))
    }

    /// All slots in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; N]> {
        self.slots.iter().filter(|slot| !is_empty(slot))
    }

    /// The same slots with more places; with more still where that is not enough.
    pub fn with_places(&self, mut places: usize) -> Self {
        loop {
            if let Some(wider) = Self::of(self.iter(), places, self.depth) {
                return wider;
            }
            places += places / 8 + 8;
        }
    }

    /// The slots whose next bit is 0, and those whose next bit is 1, each with so many places as `places` says for them.
    pub fn halves(&self, places: impl Fn(usize) -> usize) -> (Self, Self) {
        let depth = self.depth + 1;
        let upper = |slot: &&[u8; N]| key_of(slot).prefix() >> (64 - depth) & 1 == 1;
        let lower_len = self.iter().take_while(|slot| !upper(slot)).count();
        let build = |skip: usize, take: usize| {
            let mut wanted = places(take);
            loop {
                let half = Self::of(self.iter().skip(skip).take(take), wanted, depth);
                if let Some(half) = half {
                    return half;
                }
                wanted += wanted / 8 + 8;
            }
        };
        (build(0, lower_len), build(lower_len, self.len - lower_len))
    }

    /// A segment of sorted slots; `None` when they do not fit behind their places.
    fn of<'s>(slots: impl Iterator<Item = &'s [u8; N]>, places: usize, depth: u32) -> Option<Self> {
        let mut segment = Self::new(places, depth);
        let mut next = 0;
        for slot in slots {
            let at = segment.home(key_of(slot)).max(next);
            *segment.slots.get_mut(at)? = *slot;
            segment.len += 1;
            segment.last = (at, key_of(slot).prefix());
            next = at + 1;
        }
        Some(segment)
    }

    /// Where a key belongs: its bits behind the segment's own, as a share of the places.
    fn home(&self, key: Fingerprint) -> usize {
        let bits = key.prefix() << self.depth;
        ((u128::from(bits) * self.places as u128) >> 64) as usize
    }

    /// Where a key is, or where it would be put.
    fn find(&self, key: Fingerprint) -> Result<usize, usize> {
        self.find_from(self.home(key), key)
    }

    /// Where to begin to look for a key that is to be put in: at its home, or behind the slot that was put in last, if that
    /// has a lower key and stands at the home or behind it. Then nothing between the two is empty or has a higher key.
    fn behind_last(&self, key: Fingerprint) -> usize {
        let (home, (last, prefix)) = (self.home(key), self.last);
        if home <= last && prefix < key.prefix() {
            last + 1
        } else {
            home
        }
    }

    fn find_from(&self, from: usize, key: Fingerprint) -> Result<usize, usize> {
        let wanted = (key.prefix(), key.rest());
        let mut at = from;
        while let Some(slot) = self.slots.get(at) {
            let found = key_of(slot);
            if is_empty(slot) || (found.prefix(), found.rest()) > wanted {
                return Err(at);
            }
            if found == key {
                return Ok(at);
            }
            at += 1;
        }
        Err(at)
    }
}
