//! Which partitions a process owns, as a stream of changes.
//! Embedded: everything is gained at once and never lost. With Kafka the group decides, and waits for owners to end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::kafka::Membership;
use crate::tenure::Tenure;

/// A change in what a process owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// The partition is ours from now on.
    Gained(u32),
    /// The partition is somebody else's: stop at once, and say when that is done ([`Assignments::released`]).
    Lost(u32),
}

/// How far a partition is, with a few words for its next owner: at most 4 KiB, which is what Kafka takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The partition.
    pub partition: u32,
    /// Everything before this offset is done.
    pub offset: u64,
    /// What the next owner should know; may be empty.
    pub text: String,
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

    /// How long an owner may go on that has lost its partition: the group waits for it. Embedded nothing is lost.
    #[must_use]
    pub fn grace(&self) -> Duration {
        match &self.source {
            Source::All(_) => Duration::MAX,
            Source::Group(membership) => membership.grace(),
        }
    }

    /// The time of a new owner, which `stop` ends too.
    #[must_use]
    pub fn tenure(&self, stop: &CancellationToken) -> Tenure {
        Tenure::new(stop, self.grace())
    }

    /// The owner of a partition has ended, lost or not: the next one need not wait for it.
    pub fn released(&self, partition: u32) {
        if let Source::Group(membership) = &self.source {
            membership.released(partition);
        }
    }

    /// What former owners have noted of these partitions; of some perhaps nothing.
    ///
    /// # Errors
    /// [`Error::Kafka`] when the cluster does not answer.
    pub async fn notes(&self, partitions: &[u32]) -> Result<Vec<Note>, Error> {
        match &self.source {
            Source::All(_) => Err(no_notes()),
            Source::Group(membership) => membership.notes(partitions).await,
        }
    }

    /// Notes how far partitions are, for this process or their next owner; needs
    /// [`noted_assignments`](crate::Broker::noted_assignments).
    ///
    /// # Errors
    /// [`Error::Kafka`] when the cluster does not answer, or this process is no member of the group any more.
    pub async fn note(&self, notes: &[Note]) -> Result<(), Error> {
        match &self.source {
            Source::All(_) => Err(no_notes()),
            Source::Group(membership) => membership.note(notes).await,
        }
    }
}

fn no_notes() -> Error {
    Error::Config("the embedded log keeps no notes of a group: journal instead".to_owned())
}
