//! The clock of forwarding: the system's, or one that a test moves by hand.
//! In: nothing. Out: wall time in milliseconds, and when it was moved.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_schemas::UnixMillis;
use tokio::sync::watch;

/// What time it is.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's wall clock.
    #[default]
    System,
    /// Stands still until it is moved.
    Manual(ManualClock),
}

/// A clock that stands still until it is moved; all clones are one.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<watch::Sender<UnixMillis>>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: UnixMillis) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    /// Moves the clock and wakes everybody who waits for it.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        *self.0.borrow()
    }
}

impl Clock {
    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match self {
            Clock::System => SystemTime::now().into(),
            Clock::Manual(clock) => clock.now(),
        }
    }

    /// Waits until it shows `time`.
    pub(crate) async fn wait_until(&self, time: UnixMillis) {
        match self {
            Clock::System => tokio::time::sleep(time.since(self.now())).await,
            Clock::Manual(clock) => {
                let mut shown = clock.0.subscribe();
                // The sender lives in `clock`, so waiting cannot fail.
                drop(shown.wait_for(|now| *now >= time).await);
            }
        }
    }
}
