//! Which requests of a partition must outlive their segment: those not decided yet, and those set aside.
//! In: what the partition's owner has committed. Out: a keeper for the broker. Decides nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_broker::Keeper;

use crate::set_aside::SetAside;

/// What one partition still needs. Until its owner has read its journal that is everything.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    input: AtomicU64,
    set_aside: Mutex<Option<Arc<Mutex<SetAside>>>>,
}

impl Kept {
    /// The owner has opened its journal: this is what is set aside from now on.
    pub fn begin(&self, input: u64, set_aside: Arc<Mutex<SetAside>>) {
        *self.set_aside.lock() = Some(set_aside);
        self.reached(input);
    }

    /// Everything below `input` has been decided or set aside, and the journal says so.
    pub fn reached(&self, input: u64) {
        self.input.store(input, Ordering::Release);
    }

    /// The keeper that says so to the broker.
    pub fn keeper(self: &Arc<Self>) -> Keeper {
        let kept = self.clone();
        Keeper::new(move |range| kept.wanted(&range))
    }

    fn wanted(&self, range: &Range<u64>) -> Vec<u64> {
        let input = self.input.load(Ordering::Acquire);
        let decided = range.start..range.end.min(input);
        let set_aside = self.set_aside.lock().clone();
        let mut wanted = set_aside
            .map(|set_aside| set_aside.lock().offsets_in(&decided))
            .unwrap_or_default();
        wanted.extend(range.start.max(input)..range.end);
        wanted
    }
}
