//! One write, from its check to its being read back, and what is done when the journal does not say what became of it.
//! In: a journal that is held, and what to write. Out: the versions, or why nothing was written. One at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tidegate_broker::Error;
use tidegate_broker::journal::{Changes, Journal, JournalError};
use tidegate_schemas::{Secret, Topic, UnixMillis};
use tokio::sync::Mutex;

use super::draft::{Checked, Draft, Ground};
use super::hold::{Holder, Sealed, only};
use super::{OpenError, Write, WriteError, Written};
use crate::config::Config;
use crate::entity::{Entity, EntityRef, StoredSecret};
use crate::keyring::Keyring;
use crate::metrics;
use crate::registry::Registry;
use crate::tables::Cursor;

/// Entities sealed anew in one write.
const RESEAL_MAX: usize = 500;
/// How often a write is begun again after a commit that turned out not to be there.
const TRIES_MAX: usize = 3;

/// What a writer's handles share.
pub(super) struct Inner {
    pub(super) registry: Registry,
    pub(super) keyring: Arc<Keyring>,
    pub(super) config: Config,
    pub(super) partitions: u32,
    pub(super) holder: Holder,
    pub(super) journal: Mutex<Journal>,
    pub(super) epoch: AtomicU64,
}

impl Inner {
    /// One write, while the journal is held.
    pub(super) async fn write_locked(
        &self,
        journal: &mut Journal,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<Written, WriteError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.regain(journal).await?;
            // A call that failed between commit and read-back may have left something unread.
            self.read_back(journal.next_offset()).await?;
            let Checked {
                changes,
                versions,
                generated,
            } = self.check(writes.clone(), now)?;
            let mut encoded = Changes::new();
            changes.iter().for_each(|change| encoded.push(&change.encode()));
            let (bytes, limit) = (encoded.len_bytes(), self.config.write_bytes_max);
            if bytes > limit {
                return Err(WriteError::TooLarge { bytes, limit });
            }
            match self.commit(journal, encoded).await {
                Ok(end) => {
                    metrics::written(changes.len());
                    self.read_back(end).await?;
                    return Ok(Written {
                        versions,
                        generated,
                        end,
                    });
                }
                Err(JournalError::InDoubt { .. }) if tries < TRIES_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Commits, and finds out what became of it when the answer never came: [`JournalError::InDoubt`] says that it is
    /// not there then. Returns the offset behind it.
    async fn commit(&self, journal: &mut Journal, changes: Changes) -> Result<u64, JournalError> {
        let (offset, epoch) = (journal.next_offset(), journal.epoch());
        let committed = journal.commit(only(changes), &Sealed(&self.registry)).await;
        let Err(error) = committed else {
            return Ok(offset + 1);
        };
        // What comes after the append (a trim) may fail without undoing it.
        if journal.next_offset() > offset {
            return Ok(offset + 1);
        }
        let unknown = matches!(error, JournalError::Lost { .. } | JournalError::InDoubt { .. });
        if !unknown {
            return Err(error);
        }
        tracing::warn!(%error, "a write of the registry was not acknowledged in its place");
        let regained = match error {
            JournalError::InDoubt { .. } => self.regain(journal).await,
            _ => Ok(()),
        };
        if self.holder.has((offset, epoch)).await? {
            let latest = self.holder.broker.latest(Topic::Registry).await?;
            return Ok(latest.first().map_or(offset + 1, |range| range.end));
        }
        regained.and(Err(error))
    }

    /// Opens the journal again if its owner has lost sight of it.
    async fn regain(&self, journal: &mut Journal) -> Result<(), JournalError> {
        if !journal.has_ended() {
            return Ok(());
        }
        let taken = self.holder.regain(journal).await;
        *journal = taken.map_err(|error| match error {
            OpenError::Journal(error) => error,
            OpenError::NotFollowed(_) => JournalError::Read(Error::Closed),
            error @ OpenError::Partitions { .. } => JournalError::Read(Error::Config(error.to_string())),
        })?;
        self.epoch.store(journal.epoch(), Ordering::Release);
        Ok(())
    }

    async fn read_back(&self, end: u64) -> Result<(), WriteError> {
        let read = self.registry.applied_up_to(end).await;
        read.map_err(|_| WriteError::NotReadBack)
    }

    fn check(&self, writes: Vec<Write>, now: UnixMillis) -> Result<Checked, WriteError> {
        let tables = self.registry.read();
        let ground = Ground {
            tables: &tables,
            keyring: &self.keyring,
            config: &self.config,
            partitions: self.partitions,
            now,
        };
        Draft::new(ground).check(writes)
    }

    /// Keeps a delivered secret, while the journal is held.
    pub(super) async fn store_locked(
        &self,
        journal: &mut Journal,
        (at, secret): (EntityRef, Secret),
        now: UnixMillis,
    ) -> Result<Written, WriteError> {
        self.regain(journal).await?;
        self.read_back(journal.next_offset()).await?;
        let Some(mut entity) = self.registry.read().entity(&at)? else {
            return Err(WriteError::NotFound { entity: at });
        };
        let (secrets, awaits_secret) = match &mut entity {
            Entity::Integration(it) => (&mut it.secrets, &mut it.awaits_secret),
            Entity::Connection(it) => (&mut it.details.secrets, &mut it.awaits_secret),
            _ => return Err(WriteError::NotAwaited { entity: at }),
        };
        if secrets.iter().any(|stored| is_same(stored.secret(), &secret)) {
            return Ok(Written {
                versions: Vec::new(),
                generated: Vec::new(),
                end: journal.next_offset(),
            });
        }
        if !*awaits_secret {
            return Err(WriteError::NotAwaited { entity: at });
        }
        secrets.push(StoredSecret::new(secret));
        *awaits_secret = false;
        self.write_locked(journal, vec![Write::put(entity)], now).await
    }

    /// Some entities with a secret that is not sealed under the current key.
    pub(super) fn outdated(&self) -> Result<Vec<Entity>, WriteError> {
        let tables = self.registry.read();
        let mut outdated = Vec::new();
        for (_, mut entity) in tables.walk(Cursor::Start) {
            if self.keyring.is_outdated(&mut entity) {
                outdated.extend(tables.entity(&entity.reference())?);
            }
            if outdated.len() >= RESEAL_MAX {
                break;
            }
        }
        Ok(outdated)
    }
}

/// Compares digests, so that the time taken tells nothing of the secret.
fn is_same(a: &Secret, b: &Secret) -> bool {
    Sha256::digest(a.expose()) == Sha256::digest(b.expose())
}
