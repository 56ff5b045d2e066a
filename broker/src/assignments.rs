//! Which partitions a process owns, as a stream of changes.
//! Embedded: everything is gained at once and never lost. With Kafka the group decides.

use std::collections::VecDeque;

/// A change in what a process owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The partition is ours from now on.
    Gained(u32),
    /// The partition is somebody else's: stop at once.
    Lost(u32),
}

/// The changes in what a process owns.
#[derive(Debug)]
pub struct Assignments {
    gained: VecDeque<u32>,
}

impl Assignments {
    pub(crate) fn all(partitions: u32) -> Assignments {
        Assignments {
            gained: (0..partitions).collect(),
        }
    }

    /// The next change; waits for it.
    pub async fn next(&mut self) -> Assignment {
        match self.gained.pop_front() {
            Some(partition) => Assignment::Gained(partition),
            None => std::future::pending().await,
        }
    }
}
