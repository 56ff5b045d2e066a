//! The spill: what ingest accepts while Kafka is away lies on its own disk until Kafka is back, so that a provider is
//! never told to come again.
//!
//! [`intake`] is the way of a request, in [`line`] with the others. As long as Kafka answers in time it goes straight there. The first one that is not
//! answered in time turns everything: whatever is under way is given up, and it and all that comes later goes, in the
//! order of its arrival, into the [`store`], an embedded log of its own, and is acknowledged when it is synced there.
//! [`drain`] sends it on, partition by partition, once Kafka answers again ([`outlet`]), and trims what is acknowledged.
//! When nothing is left, requests go straight again. So each partition keeps the order in which this process took its
//! requests; only what Kafka left unanswered may come twice.

mod drain;
mod intake;
mod line;
mod outlet;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_schemas::{Topic, UnixMillis};
use tokio::task::JoinSet;

use crate::embedded::{Untrimmed, untrimmed};
use crate::error::Error;
use drain::Drains;
pub use intake::Intake;
pub use outlet::{Outlet, Wire};
pub use store::Store;

/// What lies in a spill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spilled {
    /// How many requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them came.
    pub oldest: Option<UnixMillis>,
}

/// What the spill in `folder` holds; `None` when there is no such folder. Reads only: a process may be using it.
///
/// # Errors
/// [`Error::Io`], [`Error::Damaged`].
pub fn spill_in(folder: &Path) -> Result<Option<Spilled>, Error> {
    if !folder.exists() {
        return Ok(None);
    }
    let Untrimmed {
        messages,
        bytes,
        oldest,
    } = untrimmed(folder, Topic::Requests)?;
    Ok(Some(Spilled {
        requests: messages,
        bytes,
        oldest,
    }))
}

/// An intake with its tasks; they end when this is dropped.
pub struct Spilling<O> {
    pub intake: Arc<Intake<O>>,
    tasks: Mutex<JoinSet<()>>,
}

impl<O: Outlet> Spilling<O> {
    /// Starts the tasks that write the spill and drain it. Nothing is sent before [`Intake::reached`].
    pub fn start(outlet: O, store: Store, timeout: Duration) -> Self {
        let partitions = store.partitions();
        let intake = Arc::new(Intake::new(outlet, store, timeout));
        let drains = Arc::new(Drains::default());
        let mut tasks = JoinSet::new();
        // These two end with the set; the drains by themselves.
        tasks.spawn(intake.clone().write());
        tasks.spawn(intake.clone().look_after());
        for partition in 0..partitions {
            tasks.spawn(drains.clone().run(intake.clone(), partition));
        }
        Self {
            intake,
            tasks: Mutex::new(tasks),
        }
    }

    /// Ends the tasks at once, as a crash does.
    #[cfg(test)]
    pub async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    /// Ends the tasks and closes the store in good order. What is sent is waited for so long; what is not acknowledged by
    /// then is sent again at the next start.
    ///
    /// # Errors
    /// [`Error::Io`] when the last writes fail; the store then recovers at its next start.
    pub async fn close(&self, wait: Duration) -> Result<(), Error> {
        self.intake.close();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(wait, ended).await;
        tasks.shutdown().await;
        self.intake.store.close().await
    }
}
