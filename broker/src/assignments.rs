//! Which partitions a process owns, as a stream of changes.
//! Embedded: everything is gained at once and never lost. With Kafka the group decides, and waits for owners to end.

use std::collections::VecDeque;

use crate::kafka::Membership;

/// A change in what a process owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The partition is ours from now on.
    Gained(u32),
    /// The partition is somebody else's: stop at once, and say when that is done ([`Assignments::released`]).
    Lost(u32),
}

/// The changes in what a process owns; dropping it gives everything up.
pub struct Assignments {
    source: Source,
}

enum Source {
    All(VecDeque<u32>),
    Group(Membership),
}

impl Assignments {
    pub(crate) fn all(partitions: u32) -> Assignments {
        Assignments {
            source: Source::All((0..partitions).collect()),
        }
    }

    pub(crate) fn of(membership: Membership) -> Assignments {
        Assignments {
            source: Source::Group(membership),
        }
    }

    /// The next change; waits for it.
    pub async fn next(&mut self) -> Assignment {
        match &mut self.source {
            Source::All(gained) => match gained.pop_front() {
                Some(partition) => Assignment::Gained(partition),
                None => std::future::pending().await,
            },
            Source::Group(membership) => membership.next().await,
        }
    }

    /// The owner of a partition has ended, lost or not: the next one need not wait for it.
    pub fn released(&self, partition: u32) {
        if let Source::Group(membership) = &self.source {
            membership.released(partition);
        }
    }
}
