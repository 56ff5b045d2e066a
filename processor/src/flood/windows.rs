//! The open windows: their state by object, the wheel that says when to look at them, and what was in each beside the
//! kept event. In: windows as debouncing decides them. Out: those that are due; the journal's changes. Holds no payload.

use std::collections::BTreeMap;

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_registry::Keep;
use tidegate_schemas::UnixMillis;

use super::budget::{Full, Share};
use super::encoding::Reader;
use super::fingerprint::{FINGERPRINT_BYTES, Fingerprint, FingerprintMap, FingerprintSet};
use super::members::{Joined, MEMBERS, Members};
use super::segment::key_of;
use super::table::Table;
use super::wheel::{ENTRY_BYTES, Tick, Wheel};
use super::window_slot::{SLOT, decode, encode};
use crate::steps::debounce::{Place, Window};

/// Tags of its changes; what was in a window has its own.
pub(super) const WINDOW: u8 = 20;
pub(super) const ENDED: u8 = 21;

/// A window that has ended, with what it stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub object: Fingerprint,
    pub window: Window,
    /// What joined the window behind its first event.
    pub members: Members,
}

/// A window as it lies in its table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub window: Window,
    /// What names its entry in the wheel.
    mark: u16,
}

/// All open windows.
#[derive(Debug)]
pub(super) struct Windows {
    table: Table<SLOT>,
    wheel: Wheel,
    members: FingerprintMap<Members>,
    /// How many open windows keep all.
    lists: usize,
    /// The windows that were opened in each second: how many, and the lowest offset that they point at.
    seconds: BTreeMap<u64, (u32, u64)>,
    dirty: FingerprintSet,
    share: Share,
}

impl Windows {
    pub fn new(share: Share) -> Self {
        Self {
            table: Table::new(),
            wheel: Wheel::default(),
            members: FingerprintMap::default(),
            lists: 0,
            seconds: BTreeMap::new(),
            dirty: FingerprintSet::default(),
            share,
        }
    }

    pub fn get(&self, object: Fingerprint) -> Option<Window> {
        self.stored(object).map(|stored| stored.window)
    }

    /// The same as it lies in its table, for [`Windows::put`].
    pub fn stored(&self, object: Fingerprint) -> Option<Stored> {
        let slot = self.table.get(object)?;
        let (_, window, mark) = decode(slot).expect("a slot is decoded before it is kept");
        Some(Stored { window, mark })
    }

    /// Keeps a window as it stands now; `known` is how it stood, if it was open.
    ///
    /// # Errors
    /// [`Full`]: it is a new one, and there is no room for it.
    pub fn put(&mut self, object: Fingerprint, window: &Window, known: Option<Stored>) -> Result<(), Full> {
        let tick = Tick::of(window.deadline);
        // A deadline that is put off leaves its entry where it is: it is looked at then, and put off there. Only after
        // the clock was set back a deadline may come nearer.
        let comes_nearer = known.is_some_and(|known| tick < Tick::of(known.window.deadline));
        let mark = known
            .filter(|_| !comes_nearer)
            .map_or(tick.mark(), |known| known.mark);
        if known.is_none() {
            self.share.take(ENTRY_BYTES)?;
        } else if comes_nearer {
            self.share.take_anyway(ENTRY_BYTES);
        }
        if let Err(full) = self.table.put(&encode(object, window, mark), &mut self.share) {
            self.share.give(ENTRY_BYTES);
            return Err(full);
        }
        if known.is_none() || comes_nearer {
            self.wheel.schedule(tick, object);
        }
        self.note(window, u32::from(known.is_none()));
        self.dirty.insert(object);
        Ok(())
    }

    /// Notes an event that joins a window, which is [put](Windows::put) behind it; says whether a list of all has room for
    /// it.
    pub fn join(&mut self, object: Fingerprint, joined: Joined) -> bool {
        let members = self.members.entry(object).or_default();
        members.join(joined, &mut self.share)
    }

    /// Bytes of the payloads that a window has listed, and how many they are.
    pub fn listed(&self, object: Fingerprint) -> (u64, usize) {
        let members = self.members.get(&object);
        members.map_or((0, 0), |members| (members.list_bytes(), members.len()))
    }

    /// Where the events lie that a window has listed.
    pub fn places(&self, object: Fingerprint) -> Vec<Place> {
        let members = self.members.get(&object);
        members
            .map(|members| members.places().collect())
            .unwrap_or_default()
    }

    /// Ends a window.
    pub fn end(&mut self, object: Fingerprint) -> Option<Ended> {
        let members = self.take_members(object);
        let window = self.get(object)?;
        self.table.remove(object);
        self.forget(&window);
        self.dirty.insert(object);
        Some(Ended {
            object,
            window,
            members,
        })
    }

    /// Up to `windows_max` objects whose windows are due, those of the earliest requests first. Each must be ended: it is
    /// not named again.
    pub fn due(&mut self, now: UnixMillis, windows_max: usize) -> Vec<Fingerprint> {
        let mut due = Vec::new();
        while due.len() < windows_max {
            let Some((tick, first)) = self.wheel.pop(now) else {
                break;
            };
            self.share.give(ENTRY_BYTES);
            let meant = self
                .table
                .from(first)
                .take_while(|slot| Wheel::means(first, key_of(slot)));
            let meant = meant.filter_map(|slot| decode(slot).ok());
            let meant: Vec<_> = meant.filter(|(.., mark)| *mark == tick.mark()).collect();
            for (object, window, _) in meant {
                if window.deadline <= now {
                    due.push((window.kept, object));
                } else {
                    self.reschedule(object, &window);
                }
            }
        }
        due.sort_unstable();
        due.dedup();
        due.into_iter().map(|(_, object)| object).collect()
    }

    /// When a window may be due next, at the earliest.
    pub fn next_at(&self) -> Option<UnixMillis> {
        self.wheel.next_at()
    }

    /// Begins to count time from `now`, after the journal was read: the clock may have been set.
    pub fn begin(&mut self, now: UnixMillis) {
        let windows: Vec<_> = self.table.iter().filter_map(|slot| decode(slot).ok()).collect();
        self.wheel = Wheel::default();
        self.seconds.clear();
        self.lists = 0;
        for (object, window, _) in windows {
            let window = window.rebased(now);
            self.note(&window, 1);
            self.reschedule(object, &window);
        }
    }

    /// Opens a window again that has ended, to be looked at again at `again_at`.
    pub fn restore(&mut self, ended: Ended, again_at: UnixMillis) {
        let Ended {
            object,
            window,
            mut members,
        } = ended;
        let window = Window {
            deadline: again_at.max(window.opened),
            ..window
        };
        if !members.is_empty() {
            members.take_again(&mut self.share);
            self.members.insert(object, members);
        }
        self.note(&window, 1);
        self.reschedule(object, &window);
        self.dirty.insert(object);
    }

    /// The lowest offset that an open window may point at.
    pub fn lowest_offset(&self) -> Option<u64> {
        self.seconds.values().map(|(_, lowest)| *lowest).min()
    }

    /// How many of the open windows keep all.
    pub fn lists(&self) -> usize {
        self.lists
    }

    /// How many windows are open.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn bytes(&self) -> usize {
        self.share.used()
    }

    /// When the oldest window was opened, to the second.
    pub fn oldest(&self) -> Option<UnixMillis> {
        self.seconds
            .first_key_value()
            .map(|(second, _)| UnixMillis(second * 1000))
    }

    /// Bytes of changes since the last call of [`Windows::write_changes`], about.
    pub fn changes_bytes(&self) -> usize {
        self.dirty.len() * (SLOT + 64)
    }

    pub fn write_changes(&mut self, changes: &mut Changes) {
        for object in self.dirty.drain() {
            let Some(slot) = self.table.get(object) else {
                changes.push_tagged(ENDED, &object.0);
                continue;
            };
            changes.push_tagged(WINDOW, slot);
            if let Some(members) = self.members.get_mut(&object) {
                members.write_fresh(object, changes);
            }
        }
    }

    /// Applies a change of these tables.
    pub fn apply(&mut self, tag: u8, mut change: Reader<'_>) -> Result<(), ChangeError> {
        match tag {
            WINDOW => {
                let slot: [u8; SLOT] = change.array()?;
                let (object, window, _) = decode(&slot)?;
                if self.get(object).is_some_and(|other| other.id != window.id) {
                    self.take_members(object);
                }
                // It is open whether or not a smaller budget has room for it.
                self.table.put_anyway(&slot, &mut self.share);
            }
            ENDED => {
                let object = Fingerprint(change.array()?);
                self.table.remove(object);
                self.take_members(object);
            }
            MEMBERS => {
                let object = Fingerprint(change.array()?);
                let members = self.members.entry(object).or_default();
                members.apply(change, &mut self.share)?;
            }
            _ => return Err(ChangeError::new("a change of windows of an unknown kind")),
        }
        Ok(())
    }

    /// Writes windows from behind `after` on, each with what is in it; where to go on, `None` at the end.
    pub fn slice(
        &self,
        after: Option<Fingerprint>,
        bytes_max: usize,
        out: &mut Changes,
    ) -> Option<Fingerprint> {
        let until = out.len_bytes() + bytes_max;
        let from = after.unwrap_or(Fingerprint([0; FINGERPRINT_BYTES]));
        for slot in self.table.from(from) {
            let object = key_of(slot);
            if after == Some(object) {
                continue;
            }
            out.push_tagged(WINDOW, slot);
            if let Some(members) = self.members.get(&object) {
                members.write_all(object, out);
            }
            if out.len_bytes() >= until {
                return Some(object);
            }
        }
        None
    }

    fn reschedule(&mut self, object: Fingerprint, window: &Window) {
        let tick = Tick::of(window.deadline);
        self.wheel.schedule(tick, object);
        self.share.take_anyway(ENTRY_BYTES);
        let slot = encode(object, window, tick.mark());
        self.table.put_anyway(&slot, &mut self.share);
    }

    fn take_members(&mut self, object: Fingerprint) -> Members {
        let mut members = self.members.remove(&object).unwrap_or_default();
        members.release(&mut self.share);
        members
    }

    /// Counts so many new windows of this kind, and what this one points at.
    fn note(&mut self, window: &Window, windows: u32) {
        if window.keep == Keep::All {
            self.lists += windows as usize;
        }
        let (count, lowest) = self
            .seconds
            .entry(window.opened.seconds())
            .or_insert((0, u64::MAX));
        *count += windows;
        *lowest = window.kept.map_or(*lowest, |kept| kept.offset.min(*lowest));
    }

    fn forget(&mut self, window: &Window) {
        self.lists -= usize::from(window.keep == Keep::All);
        let second = window.opened.seconds();
        if let Some((count, _)) = self.seconds.get_mut(&second) {
            *count -= 1;
            if *count == 0 {
                self.seconds.remove(&second);
            }
        }
    }
}
