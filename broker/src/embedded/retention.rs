//! Retention: which messages must outlive their segment.
//! In: keepers, registered by whoever still needs messages. Frees nothing yet.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::log::Log;
use super::state::Phase;

/// Says which offsets of a range must outlive their segment.
#[derive(Clone)]
pub struct Keeper {
    wanted: Arc<Wanted>,
    yields: bool,
}

type Wanted = dyn Fn(Range<u64>) -> Vec<u64> + Send + Sync;

impl Keeper {
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
    /// All keepers are there.
    pub fn start(&self) {
        self.started.store(true, Relaxed);
    }

    /// Adds a keeper of a partition.
    pub fn add(&self, slot: usize, keeper: Keeper) {
        self.by_slot.lock().entry(slot).or_default().push(keeper);
    }
}

/// Runs until the log closes.
pub fn run(log: &Log) {
    let mut state = log.lock();
    while state.phase == Phase::Open {
        log.retention_wanted.wait(&mut state);
    }
}
