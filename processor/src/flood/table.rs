//! An open-addressing table that never stops to grow: segments under a directory of leading bits. A full segment gets a
//! few more places or splits in two; nothing else moves. In: slots of `N` bytes that begin with a fingerprint.
//! Out: slots by fingerprint or in order. The order never changes, so a walk goes on where it stopped while it grows.

use super::budget::{Full, Share};
use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint};
use super::segment::{Crowded, Segment, key_of};

/// Places of a segment before it splits: the most that is copied at once.
const PLACES_MAX: usize = 4_096;
/// Places of a new table.
const PLACES_MIN: usize = 16;
/// Slots of so many bytes and fewer are packed less densely: there a free place costs little, and to find one a good part
/// of the work.
const SMALL_BYTES: usize = 16;

/// How many of a thousand places a segment fills: at most, and when it has just grown.
#[derive(Debug, Clone, Copy)]
struct Load {
    max: usize,
    grown: usize,
}

impl Load {
    const fn of(slot_bytes: usize) -> Self {
        if slot_bytes <= SMALL_BYTES {
            Load { max: 900, grown: 820 }
        } else {
            Load { max: 930, grown: 878 }
        }
    }

    /// Places for so many slots, with room for a few more.
    fn places_for(self, len: usize) -> usize {
        (len * 1000 / self.grown).max(PLACES_MIN)
    }

    /// How many places a segment of so many gets next.
    fn wider(self, places: usize) -> usize {
        (places * self.max).div_ceil(self.grown).max(places + PLACES_MIN)
    }
}

/// How room is asked for: within the share, or whether there is any or not.
type Taking = fn(&mut Share, usize) -> Result<(), Full>;

/// Slots by fingerprint.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    segments: Vec<Segment<N>>,
    directory: Vec<u32>,
    depth: u32,
    len: usize,
    bytes: usize,
}

impl<const N: usize> Table<N> {
    const LOAD: Load = Load::of(N);

    /// An empty table; its first few slots are not counted.
    pub fn new() -> Self {
        Self {
            segments: vec![Segment::new(PLACES_MIN, 0)],
            directory: vec![0],
            depth: 0,
            len: 0,
            bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that its share was asked for.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&self, key: Fingerprint) -> Option<&[u8; N]> {
        self.segment(key).get(key)
    }

    /// Puts a slot in, or in place of the one with its key; says whether it is new.
    ///
    /// # Errors
    /// [`Full`]: it is new, and the share has no room for it.
    pub fn put(&mut self, slot: &[u8; N], share: &mut Share) -> Result<bool, Full> {
        self.put_taking(slot, (share, Share::take))
    }

    /// The same whether the share has room or not: for what was taken before and cannot be refused now.
    pub fn put_anyway(&mut self, slot: &[u8; N], share: &mut Share) -> bool {
        let taking: Taking = |share, bytes| {
            share.take_anyway(bytes);
            Ok(())
        };
        self.put_taking(slot, (share, taking))
            .expect("room is never refused")
    }

    /// Takes a slot out; says whether it was there.
    pub fn remove(&mut self, key: Fingerprint) -> bool {
        let index = self.index(key);
        let removed = self.segments[index].remove(key);
        self.len -= usize::from(removed);
        removed
    }

    /// The slots from the first key at or behind `from` on, in order.
    pub fn from(&self, from: Fingerprint) -> impl Iterator<Item = &[u8; N]> {
        let first = self.place(from);
        let mut behind = self.directory.get(first..).unwrap_or_default();
        let segments = std::iter::from_fn(move || {
            let index = *behind.first()?;
            let same = behind.iter().take_while(|other| **other == index).count();
            behind = &behind[same..];
            self.segments.get(index as usize)
        });
        segments.enumerate().flat_map(move |(nth, segment)| {
            let whole = (nth > 0).then(|| segment.iter());
            let part = (nth == 0).then(|| segment.from(from));
            part.into_iter().flatten().chain(whole.into_iter().flatten())
        })
    }

    /// All slots in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; N]> {
        self.from(Fingerprint([0; FINGERPRINT_BYTES]))
    }

    /// Gives up to `segments` segments back; says whether it is gone. For a table that is not used any more: freeing a
    /// large one at once would hold its owner up.
    pub fn free_some(&mut self, segments: usize, share: &mut Share) -> bool {
        for _ in 0..segments {
            let Some(segment) = self.segments.pop() else {
                return true;
            };
            let freed = segment.bytes().min(self.bytes);
            self.bytes -= freed;
            share.give(freed);
        }
        self.segments.is_empty()
    }

    fn put_taking(&mut self, slot: &[u8; N], (share, taking): (&mut Share, Taking)) -> Result<bool, Full> {
        let key = key_of(slot);
        loop {
            let index = self.index(key);
            let segment = &mut self.segments[index];
            let len_max = segment.places() * Self::LOAD.max / 1000;
            match segment.put(slot, len_max) {
                Ok(new) => {
                    self.len += usize::from(new);
                    return Ok(new);
                }
                Err(Crowded) => self.widen(index, (&mut *share, taking))?,
            }
        }
    }

    fn segment(&self, key: Fingerprint) -> &Segment<N> {
        &self.segments[self.index(key)]
    }

    fn index(&self, key: Fingerprint) -> usize {
        self.directory[self.place(key)] as usize
    }

    fn place(&self, key: Fingerprint) -> usize {
        match self.depth {
            0 => 0,
            depth => (key.prefix() >> (64 - depth)) as usize,
        }
    }

    /// Gives a segment more places, or splits it.
    fn widen(&mut self, index: usize, (share, taking): (&mut Share, Taking)) -> Result<(), Full> {
        let segment = &self.segments[index];
        let places = Self::LOAD.wider(segment.places());
        if places > PLACES_MAX {
            return self.split(index, (share, taking));
        }
        let before = segment.bytes();
        let wanted = Segment::<N>::bytes_of(places).saturating_sub(before);
        taking(share, wanted)?;
        let wide = segment.with_places(places);
        // Rarely it took more than was asked for.
        let more = wide.bytes().saturating_sub(before + wanted);
        share.take_anyway(more);
        self.bytes += wanted + more;
        self.segments[index] = wide;
        Ok(())
    }

    fn split(&mut self, index: usize, (share, taking): (&mut Share, Taking)) -> Result<(), Full> {
        let segment = &self.segments[index];
        let before = segment.bytes();
        let half = Segment::<N>::bytes_of(Self::LOAD.places_for(segment.len().div_ceil(2)));
        // Asked for before it is done; what it really came to is taken behind.
        let wanted = half.saturating_mul(2).saturating_sub(before);
        taking(share, wanted)?;
        share.give(wanted);
        let (lower, upper) = segment.halves(|len| Self::LOAD.places_for(len));
        let after = lower.bytes() + upper.bytes();
        share.take_anyway(after.saturating_sub(before));
        share.give(before.saturating_sub(after));
        self.bytes = self.bytes + after - before;
        if upper.depth > self.depth {
            self.directory = self.directory.iter().flat_map(|at| [*at, *at]).collect();
            self.depth += 1;
        }
        let new = u32::try_from(self.segments.len()).expect("fewer segments than 4 billion");
        let width = 1usize << (self.depth - upper.depth);
        let key = segment.iter().next().map(key_of);
        let first = key.map_or(0, |key| self.place(key)) & !(2 * width - 1);
        self.directory[first + width..first + 2 * width].fill(new);
        self.segments[index] = lower;
        self.segments.push(upper);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
