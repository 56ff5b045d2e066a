//! The time in which one owner owns its partition. In: that the partition is lost, or that the role stops. Out: the owner
//! is told to end, and after a loss it has so long for what it has in hand; then it is dropped, wherever it waits. A
//! partition that goes to another process must not wait for a node that is away, and whatever a dropped owner has sent
//! is kept out by its journal's epoch, as after `kill -9`. Of a role that stops every owner ends by itself.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// One owner's time; clones are the same.
#[derive(Debug, Clone)]
pub struct Tenure {
    told: CancellationToken,
    lost: CancellationToken,
    grace: Duration,
}

impl Tenure {
    /// Begins; `stop` ends it too, and `grace` is how long an owner may go on that has lost its partition.
    pub(crate) fn new(stop: &CancellationToken, grace: Duration) -> Self {
        Self {
            told: stop.child_token(),
            lost: CancellationToken::new(),
            grace,
        }
    }

    /// Cancelled once the owner is to end, for whatever reason.
    #[must_use]
    pub fn told(&self) -> &CancellationToken {
        &self.told
    }

    /// The partition is somebody else's now.
    pub fn lose(&self) {
        self.lost.cancel();
        self.told.cancel();
    }

    /// How long the owner may wait now for what it has begun, so that time is left to commit it; `None` without limit.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.lost.is_cancelled().then(|| self.grace / 2)
    }

    /// Runs an owner to its end; `None` when it was dropped.
    pub async fn run<T>(&self, owner: impl Future<Output = T>) -> Option<T> {
        let over = async {
            self.lost.cancelled().await;
            tokio::time::sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            ended = owner => Some(ended),
            () = over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(10);

    /// What comes of an owner that waits for `waits` once it is told to end.
    async fn check(
        end: fn(&Tenure, &CancellationToken),
        waits: impl Future<Output = ()>,
        expected: Option<()>,
    ) {
        let stop = CancellationToken::new();
        let tenure = Tenure::new(&stop, GRACE);
        let owner = async {
            tenure.told().cancelled().await;
            waits.await;
        };
        end(&tenure, &stop);
        assert_eq!(tenure.run(owner).await, expected);
    }

    #[tokio::test]
    async fn an_owner_that_has_lost_its_partition_ends_in_time_or_is_dropped() {
        check(|tenure, _| tenure.lose(), std::future::ready(()), Some(())).await;
        check(|tenure, _| tenure.lose(), std::future::pending(), None).await;
        // Of a role that stops it may take as long as it needs.
        check(|_, stop| stop.cancel(), tokio::time::sleep(2 * GRACE), Some(())).await;
    }

    #[test]
    fn only_a_loss_makes_an_owner_impatient() {
        let stop = CancellationToken::new();
        let tenure = Tenure::new(&stop, GRACE);
        stop.cancel();
        assert_eq!(tenure.patience(), None);
        tenure.lose();
        assert_eq!(tenure.patience(), Some(GRACE / 2));
    }
}
