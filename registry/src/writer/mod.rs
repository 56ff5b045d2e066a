//! The registry's one writer: checks each write, seals its secrets, commits it to the journal, and returns when it has
//! been read back.
//!
//! In: entities whole, each with the version it was read at. Out: the new versions. Two processes may think that they
//! write: the journal decides, and the former one is refused from then on. Knows no provider's definition.

mod draft;
mod error;
mod load;
mod readable;
mod rules;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidegate_broker::Broker;
use tidegate_broker::journal::{
    ChangeError, Changes, Commit, Journal, JournalError, Place, Tables as Journalled,
};
use tidegate_schemas::{Secret, Topic, UnixMillis};
use tokio::sync::Mutex;

use crate::PARTITION;
use crate::change::Change;
use crate::config::Config;
use crate::entity::{Entity, EntityRef, Layout, StoredSecret};
use crate::follower::Follower;
use crate::keyring::Keyring;
use crate::metrics;
use crate::registry::Registry;
use crate::tables::{Cursor, Tables};
use draft::{Checked, Draft, Ground};
pub use error::WriteError;

/// Entities sealed anew in one write.
const RESEAL_MAX: usize = 500;

/// One step of a write.
#[derive(Debug, Clone, PartialEq)]
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
}

/// What a write has done.
#[derive(Debug)]
pub struct Written {
    /// The version of each entity afterwards, in the order of the write; 0 for a deleted one.
    pub versions: Vec<u64>,
    /// Secrets that the writer made, to be shown this once.
    pub generated: Vec<(EntityRef, StoredSecret)>,
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
    /// The first write has failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The registry's one writer; a cheap handle.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    keyring: Arc<Keyring>,
    config: Config,
    partitions: u32,
    journal: Mutex<Journal>,
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
        let layout = Layout {
            requests_partitions: broker.partitions(Topic::Requests),
            events_partitions: broker.partitions(Topic::Events),
            writer_address: address,
        };
        let partitions = layout.requests_partitions;
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
        let inner = Inner {
            registry: registry.clone(),
            keyring,
            config: config.clone(),
            partitions,
            journal: Mutex::new(journal),
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            registry,
            follower,
        ))
    }

    /// Writes all of `writes` or nothing, and returns once the registry of this process shows them. A call that is
    /// dropped may still have written.
    ///
    /// # Errors
    /// [`WriteError`]; unless it is [`WriteError::NotReadBack`] or a failure of the journal, nothing has changed.
    pub async fn write(&self, writes: Vec<Write>, now: UnixMillis) -> Result<Written, WriteError> {
        let mut journal = self.inner.journal.lock().await;
        let written = self.write_locked(&mut journal, writes, now).await;
        if let Err(error) = &written {
            metrics::refused(error.label());
        }
        written
    }

    /// Keeps a secret that a provider's handshake delivered to an integration or a connection, which must await one
    /// and awaits none any more afterwards. The same secret once more is no error.
    ///
    /// # Errors
    /// [`WriteError::NotAwaited`], [`WriteError::NotFound`], and as [`Writer::write`].
    pub async fn store_secret(
        &self,
        at: &EntityRef,
        secret: Secret,
        now: UnixMillis,
    ) -> Result<(), WriteError> {
        let mut journal = self.inner.journal.lock().await;
        let Some(mut entity) = self.inner.registry.read().entity(at)? else {
            return Err(WriteError::NotFound { entity: at.clone() });
        };
        let (secrets, awaits_secret) = match &mut entity {
            Entity::Integration(it) => (&mut it.secrets, &mut it.awaits_secret),
            Entity::Connection(it) => (&mut it.details.secrets, &mut it.awaits_secret),
            _ => return Err(WriteError::NotAwaited { entity: at.clone() }),
        };
        if secrets.iter().any(|stored| is_same(stored.secret(), &secret)) {
            return Ok(());
        }
        if !*awaits_secret {
            return Err(WriteError::NotAwaited { entity: at.clone() });
        }
        secrets.push(StoredSecret::new(secret));
        *awaits_secret = false;
        self.write_locked(&mut journal, vec![Write::put(entity)], now)
            .await?;
        Ok(())
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
            let outdated = self.outdated()?;
            if outdated.is_empty() {
                break;
            }
            written += outdated.len();
            self.write_locked(&mut journal, outdated.into_iter().map(Write::put).collect(), now)
                .await?;
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
        Ok(journal.idle(&Sealed(&self.inner.registry)).await?)
    }

    async fn write_locked(
        &self,
        journal: &mut Journal,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<Written, WriteError> {
        let inner = &self.inner;
        // A call dropped between commit and read-back may have left something unread.
        let end = journal.next_offset();
        inner
            .registry
            .applied_up_to(end)
            .await
            .map_err(|_| WriteError::NotReadBack)?;
        let Checked {
            changes,
            versions,
            generated,
        } = {
            let tables = inner.registry.read();
            let ground = Ground {
                tables: &tables,
                keyring: &inner.keyring,
                config: &inner.config,
                partitions: inner.partitions,
                now,
            };
            Draft::new(ground).check(writes)?
        };
        let mut encoded = Changes::new();
        changes.iter().for_each(|change| encoded.push(&change.encode()));
        let (bytes, limit) = (encoded.len_bytes(), inner.config.write_bytes_max);
        if bytes > limit {
            return Err(WriteError::TooLarge { bytes, limit });
        }
        let offset = journal.next_offset();
        let committed = journal.commit(only(encoded), &Sealed(&inner.registry)).await;
        // What comes after the append (a trim) may fail without undoing it.
        if journal.next_offset() == offset {
            committed?;
        }
        metrics::written(changes.len());
        inner
            .registry
            .applied_up_to(offset + 1)
            .await
            .map_err(|_| WriteError::NotReadBack)?;
        Ok(Written { versions, generated })
    }

    /// Some entities with a secret that is not sealed under the current key.
    fn outdated(&self) -> Result<Vec<Entity>, WriteError> {
        let tables = self.inner.registry.read();
        let mut outdated = Vec::new();
        for (_, mut entity) in tables.walk(Cursor::Start) {
            if self.inner.keyring.is_outdated(&mut entity) {
                outdated.extend(tables.entity(&entity.reference())?);
            }
            if outdated.len() >= RESEAL_MAX {
                break;
            }
        }
        Ok(outdated)
    }
}

/// The shared tables as the journal slices them; a commit's own changes are not in them yet, and need not be: they
/// are applied after the slices of their message.
struct Sealed<'a>(&'a Registry);

impl Journalled for Sealed<'_> {
    fn apply(&mut self, _change: &[u8]) -> Result<(), ChangeError> {
        Err(ChangeError::new(
            "the registry's tables are changed by the follower alone",
        ))
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        self.0.read().slice(after, bytes_max, out)
    }
}

fn check_layout(recorded: &Layout, found: &Layout) -> Result<(), OpenError> {
    let counts = [
        (
            Topic::Requests,
            recorded.requests_partitions,
            found.requests_partitions,
        ),
        (Topic::Events, recorded.events_partitions, found.events_partitions),
    ];
    for (topic, expected, found) in counts {
        if expected != found {
            let topic = topic.label();
            return Err(OpenError::Partitions {
                topic,
                found,
                expected,
            });
        }
    }
    Ok(())
}

/// A commit without outputs and input.
fn only(changes: Changes) -> Commit {
    Commit {
        changes,
        ..Commit::default()
    }
}

/// Compares digests, so that the time taken tells nothing of the secret.
fn is_same(a: &Secret, b: &Secret) -> bool {
    Sha256::digest(a.expose()) == Sha256::digest(b.expose())
}
