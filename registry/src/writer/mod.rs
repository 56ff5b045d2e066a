//! The registry's one writer: checks each write, seals its secrets, commits it to the journal, and returns when it has
//! been read back.
//!
//! In: entities whole, each with the version it was read at. Out: the new versions. Two processes may think that they
//! write: the journal decides, and the former one is refused from then on. Knows no provider's definition.

mod draft;
mod error;
mod hold;
mod load;
mod readable;
mod rules;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidegate_broker::Broker;
use tidegate_broker::journal::{Changes, Journal, JournalError, Place};
use tidegate_schemas::{Secret, Topic, UnixMillis};
use tokio::sync::Mutex;

use crate::PARTITION;
use crate::change::Change;
use crate::config::Config;
use crate::entity::{Entity, EntityRef, StoredSecret};
use crate::follower::Follower;
use crate::keyring::Keyring;
use crate::metrics;
use crate::registry::{NotReadToEnd, Registry};
use crate::tables::Tables;
pub use error::WriteError;
use hold::{Holder, Sealed, check_layout, layout_of, only};
use write::Inner;

/// One step of a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Write {
    /// Creates the entity (version 0) or replaces it (the version it was read at).
    Put(Box<Entity>),
    /// Deletes the entity and everything inside it.
    Delete {
        /// Which entity.
        entity: EntityRef,
        /// The version it was read at; `None`: whatever it is.
        version: Option<u64>,
    },
}

impl Write {
    /// Creates or replaces `entity`.
    #[must_use]
    pub fn put(entity: Entity) -> Self {
        Write::Put(Box::new(entity))
    }

    /// Deletes `entity`, whatever its version.
    #[must_use]
    pub fn delete(entity: EntityRef) -> Self {
        Write::Delete {
            entity,
            version: None,
        }
    }

    /// The entity that it holds.
    pub(crate) fn entity_mut(&mut self) -> Option<&mut Entity> {
        match self {
            Write::Put(entity) => Some(entity),
            Write::Delete { .. } => None,
        }
    }
}

/// What a write has done.
#[derive(Debug)]
pub struct Written {
    /// The version of each entity afterwards, in the order of the write; 0 for a deleted one.
    pub versions: Vec<u64>,
    /// Secrets that the writer made, to be shown this once.
    pub generated: Vec<(EntityRef, StoredSecret)>,
    /// Whoever has applied the journal up to this offset shows the write.
    pub end: u64,
}

/// Why the registry cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal cannot be taken over.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The broker has other partition counts than the registry was made for.
    #[error(
        "{topic} has {found} partitions, the registry was made for {expected}: set the count back, integrations would \
         lose their partitions"
    )]
    Partitions {
        /// The topic.
        topic: &'static str,
        /// How many the broker has.
        found: u32,
        /// How many the registry names.
        expected: u32,
    },
    /// This process does not follow the registry any more.
    #[error(transparent)]
    NotFollowed(#[from] NotReadToEnd),
}

impl OpenError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            OpenError::Journal(error) => error.is_retryable() || error.is_in_doubt(),
            OpenError::Partitions { .. } | OpenError::NotFollowed(_) => false,
        }
    }

    /// Whether another process has the journal now.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, OpenError::Journal(JournalError::Lost { .. }))
    }
}

/// The registry's one writer; a cheap handle.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

impl Writer {
    /// Takes the registry over. `address` is where other processes reach this one. The follower must run for writes
    /// to return; the registry it fills holds everything already.
    ///
    /// # Errors
    /// [`OpenError`]: the journal cannot be read whole (a wrong key, damage), or was made for other partition counts.
    /// What cannot be read is not taken over: the writer that runs goes on.
    pub async fn open(
        broker: &Broker,
        keyring: Arc<Keyring>,
        (config, address): (&Config, Option<String>),
    ) -> Result<(Self, Registry, Follower), OpenError> {
        readable::check_readable(broker, &keyring).await?;
        let mut tables = Tables::new(keyring.clone(), true);
        let place = Place {
            topic: Topic::Registry,
            partition: PARTITION,
            address: address.clone(),
        };
        let (mut journal, _) = Journal::open(broker, place, &mut tables, |_| ()).await?;
        let layout = layout_of(broker, address.clone());
        if let Some(recorded) = tables.layout() {
            check_layout(recorded, &layout)?;
        }
        if tables.layout() != Some(&layout) {
            let change = Change::put(Entity::Layout(layout));
            let mut changes = Changes::new();
            changes.push(&change.encode());
            journal.commit(only(changes), &tables).await?;
        }
        let (registry, follower) = Follower::over(broker, tables, (config, journal.epoch()));
        let holder = Holder {
            broker: broker.clone(),
            registry: registry.clone(),
            address,
        };
        Ok((Self::over(holder, keyring, (config, journal)), registry, follower))
    }

    /// Takes the registry over in a process that follows it already, with the details of connections. `address` is where
    /// other processes reach this one.
    ///
    /// # Errors
    /// [`OpenError`]; a registry made for other partition counts is not taken over.
    pub async fn take_over(
        (broker, registry): (&Broker, &Registry),
        keyring: Arc<Keyring>,
        (config, address): (&Config, Option<String>),
    ) -> Result<Self, OpenError> {
        let holder = Holder {
            broker: broker.clone(),
            registry: registry.clone(),
            address,
        };
        let journal = holder.take().await?;
        Ok(Self::over(holder, keyring, (config, journal)))
    }

    fn over(holder: Holder, keyring: Arc<Keyring>, (config, journal): (&Config, Journal)) -> Self {
        let inner = Inner {
            registry: holder.registry.clone(),
            keyring,
            config: config.clone(),
            partitions: holder.broker.partitions(Topic::Requests),
            epoch: AtomicU64::new(journal.epoch()),
            holder,
            journal: Mutex::new(journal),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Writes all of `writes` or nothing, and returns once the registry of this process shows them. A call that is
    /// dropped still writes. An append whose answer never comes is waited for: the journal is opened again, and tells.
    ///
    /// # Errors
    /// [`WriteError`]; unless it is [`WriteError::NotReadBack`] or a failure of the journal, nothing has changed.
    pub async fn write(&self, writes: Vec<Write>, now: UnixMillis) -> Result<Written, WriteError> {
        let inner = self.inner.clone();
        let written = undropped(async move {
            let mut journal = inner.journal.lock().await;
            inner.write_locked(&mut journal, writes, now).await
        });
        counted(written.await)
    }

    /// Keeps a secret that a provider's handshake delivered to an integration or a connection, which must await one
    /// and awaits none any more afterwards. The same secret once more is no error, and says so by having no versions.
    ///
    /// # Errors
    /// [`WriteError::NotAwaited`], [`WriteError::NotFound`], and as [`Writer::write`].
    pub async fn store_secret(
        &self,
        at: &EntityRef,
        secret: Secret,
        now: UnixMillis,
    ) -> Result<Written, WriteError> {
        let (inner, at) = (self.inner.clone(), at.clone());
        let stored = undropped(async move {
            let mut journal = inner.journal.lock().await;
            inner.store_locked(&mut journal, (at, secret), now).await
        });
        counted(stored.await)
    }

    /// Resolves when another process has opened the journal: this writer writes nothing any more.
    pub async fn overtaken(&self) {
        let inner = &self.inner;
        loop {
            if !inner
                .registry
                .opened_above(inner.epoch.load(Ordering::Acquire))
                .await
            {
                // Nothing is followed any more, so nothing is found out either.
                return std::future::pending().await;
            }
            // It may be this writer's own: then it has finished taking the journal again once the lock is free.
            let _journal = inner.journal.lock().await;
            if inner.registry.epoch() > inner.epoch.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Seals anew whatever is not sealed under the current key, and returns how many entities that were. The older
    /// keys are needed no more then.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub async fn reseal(&self, now: UnixMillis) -> Result<usize, WriteError> {
        let mut journal = self.inner.journal.lock().await;
        let mut written = 0;
        loop {
            let outdated = self.inner.outdated()?;
            if outdated.is_empty() {
                break;
            }
            written += outdated.len();
            let outdated = outdated.into_iter().map(Write::put).collect();
            self.inner.write_locked(&mut journal, outdated, now).await?;
        }
        if written > 0 {
            // The round that was running may hold old seals; the one after it holds none, and trims the former.
            for _ in 0..2 {
                journal.complete_round(&Sealed(&self.inner.registry)).await?;
            }
        }
        Ok(written)
    }

    /// Keeps the journal short when there is nothing to write. Call it now and then.
    ///
    /// # Errors
    /// [`WriteError::Journal`].
    pub async fn idle(&self) -> Result<(), WriteError> {
        let mut journal = self.inner.journal.lock().await;
        if journal.has_ended() {
            return Ok(());
        }
        Ok(journal.idle(&Sealed(&self.inner.registry)).await?)
    }
}

/// Runs to its end even when whoever waits for it goes away: half a write would leave the journal in doubt.
async fn undropped<T: Send + 'static>(
    work: impl Future<Output = Result<T, WriteError>> + Send + 'static,
) -> Result<T, WriteError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(WriteError::NotReadBack),
    }
}

fn counted<T>(done: Result<T, WriteError>) -> Result<T, WriteError> {
    done.inspect_err(|error| metrics::refused(error.label()))
}
