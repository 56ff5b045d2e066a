//! The handle by which every role reads the registry.
//! In: nothing but calls. Out: a guard over the tables, and the promise to have read the journal's end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use tidegate_broker::Broker;
use tidegate_broker::journal::Replay;
use tidegate_schemas::{Secret, Topic};
use tokio::sync::watch;

use crate::change::Change;
use crate::copy::{self, CopyError};
use crate::entity::Entity;
use crate::keyring::{KEY_BYTES, Keyring, SealError};
use crate::metrics;
use crate::question::Question;
use crate::tables::Tables;

/// How soon a question that was not answered is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often it is told how far a long reading has come.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The registry as a process holds it in memory; a cheap handle.
#[derive(Clone)]
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) tables: RwLock<Tables>,
    pub(crate) applied: watch::Sender<Applied>,
    source: Option<Broker>,
    question: Question,
    end_wait: Duration,
}

/// How far the journal is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The next offset to apply.
    pub(crate) next: u64,
    /// The epoch of the writer that wrote last.
    pub(crate) epoch: u64,
    /// Whether it comes from a copy, and the journal's end has not been read since.
    pub(crate) on_copy: bool,
    /// Nothing more will be applied.
    pub(crate) stopped: bool,
    /// Where the reading of the journal stands, for who takes it over.
    pub(crate) replay: Replay,
}

/// The registry's end was not read in time, or nobody reads it any more: what is in memory may be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry's end was not read within {waited:?}: what is known may be old")]
pub struct NotReadToEnd {
    /// How long was waited at most.
    pub waited: Duration,
}

impl Registry {
    /// A registry that holds `entities` and is written by nobody: for tests of what reads one. Their secrets are
    /// sealed under a key of its own.
    ///
    /// # Errors
    /// [`SealError`] never in practice: the key it makes has the right size.
    pub fn of(entities: impl IntoIterator<Item = Entity>) -> Result<Self, SealError> {
        let keyring = Arc::new(Keyring::new(&[Secret::new([7u8; KEY_BYTES])])?);
        let mut tables = Tables::new(keyring.clone(), true);
        for mut entity in entities {
            keyring.seal(&mut entity);
            tables.apply(Change::put(entity))?;
        }
        Ok(Self::over(tables, None, Duration::ZERO))
    }

    pub(crate) fn over(tables: Tables, source: Option<Broker>, end_wait: Duration) -> Self {
        let shared = Shared {
            tables: RwLock::new(tables),
            applied: watch::Sender::new(Applied::default()),
            source,
            question: Question::default(),
            end_wait,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The tables as they are now. Writers wait for the guard: never hold it across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.shared.tables.read()
    }

    /// Returns once everything is applied that stood in the registry when this was called. Everybody who waits
    /// shares one question to the broker.
    ///
    /// # Errors
    /// [`NotReadToEnd`] after the configured wait (a second), or when the follower has stopped.
    pub async fn read_to_end(&self) -> Result<(), NotReadToEnd> {
        let waited = self.shared.end_wait;
        match tokio::time::timeout(waited, self.ready()).await {
            Ok(read) => read,
            Err(_) => {
                metrics::end_not_read();
                Err(NotReadToEnd { waited })
            }
        }
    }

    /// As [`Registry::read_to_end`], however long it takes: a role is not ready before this has returned once.
    ///
    /// # Errors
    /// [`NotReadToEnd`] when the follower has stopped.
    pub async fn ready(&self) -> Result<(), NotReadToEnd> {
        let Some(broker) = &self.shared.source else {
            return Ok(());
        };
        let end = self.shared.question.ask(|| end_of(broker)).await;
        self.applied_up_to(end).await?;
        self.shared
            .applied
            .send_if_modified(|applied| std::mem::take(&mut applied.on_copy));
        Ok(())
    }

    /// Where the API process that writes the registry can be reached, if it said so.
    #[must_use]
    pub fn writer_address(&self) -> Option<String> {
        let tables = self.read();
        tables.layout()?.writer_address.clone()
    }

    /// Whether what is in memory comes from this process's last copy, because the journal's end has not been read yet.
    #[must_use]
    pub fn runs_on_copy(&self) -> bool {
        self.shared.applied.borrow().on_copy
    }

    /// Keeps what is in memory in the file at `path`, for the next start without a broker ([`Follower::open_copy`]).
    ///
    /// # Errors
    /// [`CopyError`]; the former copy is still there then.
    pub fn save_copy(&self, path: &Path) -> Result<(), CopyError> {
        let bytes = {
            let tables = self.read();
            copy::encode(&tables, &self.shared.applied.borrow())
        };
        copy::write(path, &bytes)
    }

    /// The offset at which the writer has opened the journal that wrote last, as far as is known.
    pub(crate) fn epoch(&self) -> u64 {
        self.shared.applied.borrow().epoch
    }

    /// Waits for an `open` behind the one at `epoch`; `false` when nothing is read any more.
    pub(crate) async fn opened_above(&self, epoch: u64) -> bool {
        let mut applied = self.shared.applied.subscribe();
        let opened = applied
            .wait_for(|applied| applied.epoch > epoch || applied.stopped)
            .await;
        opened.is_ok_and(|applied| applied.epoch > epoch)
    }

    /// Where the reading of the journal stands once everything below `end` is applied.
    pub(crate) async fn replayed(&self, end: u64) -> Result<Replay, NotReadToEnd> {
        self.applied_up_to(end).await?;
        Ok(self.shared.applied.borrow().replay.clone())
    }

    /// Waits until everything below `end` is applied.
    pub(crate) async fn applied_up_to(&self, end: u64) -> Result<(), NotReadToEnd> {
        let mut applied = self.shared.applied.subscribe();
        let is_there = |applied: &Applied| applied.next >= end || applied.stopped;
        while tokio::time::timeout(TELL_EVERY, applied.wait_for(is_there))
            .await
            .is_err()
        {
            let (next, connections) = (applied.borrow().next, self.read().connections_count());
            tracing::debug!(next, end, connections, "reading the registry");
        }
        let next = applied.borrow().next;
        if next >= end {
            return Ok(());
        }
        Err(NotReadToEnd {
            waited: self.shared.end_wait,
        })
    }
}

/// Where the registry's journal ends, asked until the broker answers.
async fn end_of(broker: &Broker) -> u64 {
    loop {
        match broker.latest(Topic::Registry).await {
            Ok(ranges) => return ranges.first().map_or(0, |range| range.end),
            Err(error) => tracing::warn!(%error, "the registry's end is not known"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}
