//! The writer's hold on the registry's journal: taken over where the process follows the journal already, and taken
//! again after an append whose answer never came. In: the registry as it is followed. Out: a journal to commit to, and
//! whether a commit in doubt is in it. Decides nothing about what is written.

use std::time::Duration;

use tidegate_broker::Broker;
use tidegate_broker::journal::{
    ChangeError, Changes, Commit, Journal, JournalError, Place, Tables as Journalled,
};
use tidegate_schemas::{JournalKind, JournalMeta, Metadata, Topic};

use super::OpenError;
use crate::PARTITION;
use crate::change::Change;
use crate::entity::{Entity, Layout};
use crate::registry::Registry;

/// How soon a journal that cannot be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// Messages and bytes read at a time.
const READ_MAX: (usize, usize) = (64, 8 * 1024 * 1024);

/// What a hold needs to be taken again.
pub(super) struct Holder {
    pub(super) broker: Broker,
    pub(super) registry: Registry,
    pub(super) address: Option<String>,
}

impl Holder {
    /// Becomes the journal's owner, whoever was it before, and says where it is to be reached.
    ///
    /// # Errors
    /// [`OpenError`]; a registry made for other partition counts is not taken over.
    pub(super) async fn take(&self) -> Result<Journal, OpenError> {
        self.registry.ready().await?;
        let layout = layout_of(&self.broker, self.address.clone());
        let recorded = self.registry.read().layout().cloned();
        if let Some(recorded) = &recorded {
            check_layout(recorded, &layout)?;
        }
        let place = Place {
            topic: Topic::Registry,
            partition: PARTITION,
            address: self.address.clone(),
        };
        let registry = &self.registry;
        let replayed = async |epoch| registry.replayed(epoch + 1).await.ok();
        let mut journal = Journal::open_followed(&self.broker, place, replayed).await?;
        if recorded.as_ref() != Some(&layout) {
            let mut changes = Changes::new();
            changes.push(&Change::put(Entity::Layout(layout)).encode());
            journal.commit(only(changes), &Sealed(registry)).await?;
        }
        Ok(journal)
    }

    /// Takes the journal again after an answer that never came, however long that takes, unless somebody else has.
    ///
    /// # Errors
    /// [`JournalError::Lost`] when another has opened it, else what no waiting cures.
    pub(super) async fn regain(&self, former: &Journal) -> Result<Journal, OpenError> {
        loop {
            self.registry.ready().await?;
            if self.registry.epoch() > former.epoch() {
                return Err(OpenError::Journal(JournalError::Lost {
                    topic: Topic::Registry.label(),
                    partition: PARTITION,
                    offset: former.next_offset(),
                }));
            }
            let error = match self.take().await {
                Ok(journal) => return Ok(journal),
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(error),
            };
            tracing::warn!(%error, "the registry's journal cannot be opened again yet");
            tokio::time::sleep(OPEN_AGAIN).await;
        }
    }

    /// Whether the one commit of the owner `epoch` that should stand at `offset` counts: it is there, before any `open`.
    /// The answer is final once the journal was opened behind it.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub(super) async fn has(&self, (offset, epoch): (u64, u64)) -> Result<bool, JournalError> {
        let latest = self.broker.latest(Topic::Registry).await?;
        let end = latest.first().map_or(0, |range| range.end);
        let mut reader = self.broker.reader(Topic::Registry, PARTITION, offset);
        while reader.position() < end {
            for message in reader.next(READ_MAX.0, READ_MAX.1).await? {
                let meta = JournalMeta::decode(&message.meta).map_err(|source| JournalError::Meta {
                    topic: Topic::Registry.label(),
                    partition: PARTITION,
                    offset: message.offset,
                    source,
                })?;
                match meta.kind {
                    JournalKind::Open => return Ok(false),
                    JournalKind::Commit if meta.epoch == epoch => return Ok(true),
                    JournalKind::Commit => {}
                }
            }
        }
        Ok(false)
    }
}

/// The facts of a registry that is written at `address`.
pub(super) fn layout_of(broker: &Broker, address: Option<String>) -> Layout {
    Layout {
        requests_partitions: broker.partitions(Topic::Requests),
        events_partitions: broker.partitions(Topic::Events),
        writer_address: address,
    }
}

/// The shared tables as the journal slices them; a commit's own changes are not in them yet, and need not be: they
/// are applied after the slices of their message.
pub(super) struct Sealed<'a>(pub(super) &'a Registry);

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

/// Whether the partitions are those that the registry was made for.
pub(super) fn check_layout(recorded: &Layout, found: &Layout) -> Result<(), OpenError> {
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
pub(super) fn only(changes: Changes) -> Commit {
    Commit {
        changes,
        ..Commit::default()
    }
}
