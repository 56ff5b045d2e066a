//! Keepers: whoever still needs messages says which, before their segment goes.
//! In: ranges of offsets. Out: the offsets that must outlive their segment.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

/// Says which offsets of a range must outlive their segment.
#[derive(Clone)]
pub struct Keeper {
    wanted: Arc<Wanted>,
    yields: bool,
}

type Wanted = dyn Fn(Range<u64>) -> Vec<u64> + Send + Sync;

impl Keeper {
    /// The offsets of `range` that must outlive their segment; none when it yields and is not heard.
    pub(super) fn wanted(&self, range: Range<u64>, yielding_too: bool) -> Vec<u64> {
        if self.yields && !yielding_too {
            Vec::new()
        } else {
            (self.wanted)(range)
        }
    }

    /// A keeper whose messages are never given up.
    pub fn new(wanted: impl Fn(Range<u64>) -> Vec<u64> + Send + Sync + 'static) -> Keeper {
        Keeper {
            wanted: Arc::new(wanted),
            yields: false,
        }
    }

    /// A keeper whose messages are given up, counted, when the disk budget is reached.
    pub fn yielding(wanted: impl Fn(Range<u64>) -> Vec<u64> + Send + Sync + 'static) -> Keeper {
        Keeper {
            wanted: Arc::new(wanted),
            yields: true,
        }
    }
}

/// All keepers, by slot.
#[derive(Default)]
pub struct Keepers {
    by_slot: Mutex<HashMap<usize, Vec<Keeper>>>,
    started: AtomicBool,
}

impl Keepers {
    /// Whether all keepers are there.
    pub fn are_complete(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// All keepers are there.
    pub fn start(&self) {
        self.started.store(true, Relaxed);
    }

    /// Adds a keeper of a partition.
    pub fn add(&self, slot: usize, keeper: Keeper) {
        self.by_slot.lock().entry(slot).or_default().push(keeper);
    }

    /// The keepers of a partition.
    pub fn of(&self, slot: usize) -> Vec<Keeper> {
        self.by_slot.lock().get(&slot).cloned().unwrap_or_default()
    }
}
