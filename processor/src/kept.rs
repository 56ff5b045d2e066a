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
    /// The lowest offset that an open window points at.
    windows_from: AtomicU64,
    set_aside: Mutex<Option<Arc<Mutex<SetAside>>>>,
}

impl Kept {
    /// The owner has opened its journal: this is what is set aside from now on, and what was reached, as in
    /// [`Kept::reached`].
    pub fn begin(&self, (input, windows_from): (u64, Option<u64>), set_aside: Arc<Mutex<SetAside>>) {
        *self.set_aside.lock() = Some(set_aside);
        self.reached(input, windows_from);
    }

    /// Everything below `input` has been decided or set aside, and the journal says so. Windows point at `windows_from`
    /// and behind it; all of that is kept, because no window is open for long.
    pub fn reached(&self, input: u64, windows_from: Option<u64>) {
        self.windows_from
            .store(windows_from.unwrap_or(u64::MAX), Ordering::Release);
        self.input.store(input, Ordering::Release);
    }

    /// The keeper that says so to the broker.
    pub fn keeper(self: &Arc<Self>) -> Keeper {
        let kept = self.clone();
        Keeper::new(move |range| kept.wanted(&range))
    }

    fn wanted(&self, range: &Range<u64>) -> Vec<u64> {
        let input = self.input.load(Ordering::Acquire);
        let input = input.min(self.windows_from.load(Ordering::Acquire));
        let decided = range.start..range.end.min(input);
        let set_aside = self.set_aside.lock().clone();
        let mut wanted = set_aside
            .map(|set_aside| set_aside.lock().offsets_in(&decided))
            .unwrap_or_default();
        wanted.extend(range.start.max(input)..range.end);
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_point_at_is_kept_from_the_first_moment_on() {
        let kept = Kept::default();
        assert_eq!(
            kept.wanted(&(3..6)),
            [3, 4, 5],
            "all of it before the journal is read"
        );
        let set_aside = Arc::new(Mutex::new(SetAside::within(1 << 20)));
        kept.begin((100, Some(40)), set_aside);
        assert_eq!(kept.wanted(&(38..42)), [40, 41]);
        kept.reached(101, None);
        assert_eq!(kept.wanted(&(98..103)), [101, 102]);
    }
}
