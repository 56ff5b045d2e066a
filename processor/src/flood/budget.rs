//! What all partitions of a process may spend together on one kind of state. Half of it is shared out evenly, so that
//! nobody is ever left with nothing; the other half goes to whoever needs it. In: bytes wanted. Out: yes or no.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// No more may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The whole of it.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    own_max: usize,
    common_max: usize,
    common: AtomicUsize,
}

/// One partition's part.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<Pool>,
    used: usize,
}

impl Budget {
    /// So many bytes for so many partitions.
    pub fn new(bytes_max: usize, partitions: usize) -> Self {
        let own_max = bytes_max / 2 / partitions.max(1);
        Self(Arc::new(Pool {
            own_max,
            common_max: bytes_max - own_max * partitions.max(1),
            common: AtomicUsize::new(0),
        }))
    }

    /// A partition's part, nothing of it spent.
    pub fn share(&self) -> Share {
        Share {
            pool: self.0.clone(),
            used: 0,
        }
    }
}

impl Share {
    /// Spends `bytes`.
    ///
    /// # Errors
    /// [`Full`]: nothing was spent.
    pub fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let more = self.common_at(self.used + bytes) - self.common_at(self.used);
        let fits = |common: usize| Some(common + more).filter(|common| *common <= self.pool.common_max);
        let taken = self
            .pool
            .common
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| Full)?;
        self.used += bytes;
        Ok(())
    }

    /// Spends `bytes` whether they fit or not: what is there already cannot be refused.
    pub fn take_anyway(&mut self, bytes: usize) {
        let more = self.common_at(self.used + bytes) - self.common_at(self.used);
        self.pool.common.fetch_add(more, Ordering::Relaxed);
        self.used += bytes;
    }

    /// Gives `bytes` back.
    pub fn give(&mut self, bytes: usize) {
        let left = self.used.saturating_sub(bytes);
        let less = self.common_at(self.used) - self.common_at(left);
        self.pool.common.fetch_sub(less, Ordering::Relaxed);
        self.used = left;
    }

    /// Bytes spent.
    pub fn used(&self) -> usize {
        self.used
    }

    fn common_at(&self, used: usize) -> usize {
        used.saturating_sub(self.pool.own_max)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_everybodys_own_and_half_is_whoevers_needs_it() {
        let budget = Budget::new(1000, 5);
        let (mut greedy, mut modest) = (budget.share(), budget.share());
        assert_eq!(greedy.take(600), Ok(()));
        assert_eq!(greedy.take(1), Err(Full));
        assert_eq!(modest.take(100), Ok(()), "its own part is still there");
        assert_eq!(modest.take(1), Err(Full));
        greedy.give(50);
        assert_eq!(modest.take(50), Ok(()));
        assert_eq!(modest.take(1), Err(Full));
        drop(greedy);
        assert_eq!(modest.take(450), Ok(()));
        assert_eq!((modest.take(1), modest.used()), (Err(Full), 600));
    }
}
