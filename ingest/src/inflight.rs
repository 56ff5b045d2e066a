//! Bytes of bodies in flight, over all connections of the process. In: a size before it is read. Out: a share that is
//! given back when dropped, or nothing when the limit would be passed. Waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The process's budget of bytes in flight.
#[derive(Clone)]
pub struct Inflight {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// Bytes taken from the budget.
pub struct Share {
    budget: Inflight,
    bytes: usize,
}

impl Inflight {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            used: Arc::default(),
            max,
        }
    }

    /// Takes `bytes`, if they fit. One share may always be taken when nothing is in flight, however large it is.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Share> {
        let mut share = Share {
            budget: self.clone(),
            bytes: 0,
        };
        share.grow(bytes).then_some(share)
    }

    /// How many bytes are in flight.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `bytes` more; false, and nothing taken, when they do not fit.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let (budget, own) = (&self.budget, self.bytes);
        let fits = |used: usize| {
            let new = used.checked_add(bytes)?;
            (new <= budget.max || used == own).then_some(new)
        };
        let taken = budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Inflight::new(10);
        let mut first = budget.take(6).expect("fits");
        assert!(budget.take(5).is_none());
        assert!(first.grow(4) && !budget.take(1).is_some_and(|_| true));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_lone_request_is_never_refused_for_ever() {
        let budget = Inflight::new(10);
        let lone = budget.take(25).expect("nothing else is in flight");
        assert!(budget.take(1).is_none());
        drop(lone);
        assert_eq!(budget.used(), 0);
    }
}
