//! Whether the registry's journal can be read with the keys at hand. Asked before the journal is taken over: `open`
//! unseats the running writer, and a process that cannot read what it takes over must unseat nobody.
//! In: the journal up to its present end. Out: yes, or why not. Keeps nothing of it.

use tidegate_broker::Broker;
use tidegate_broker::journal::{ChangeError, Changes, JournalError, Replay, Tables as Journalled};
use tidegate_schemas::Topic;

use crate::PARTITION;
use crate::change::Change;
use crate::entity::Entity;
use crate::keyring::{Keyring, SealError};

/// Messages and bytes read at a time.
const READ_MAX: (usize, usize) = (256, 8 * 1024 * 1024);

/// Opens what the tables would open, and holds nothing.
struct Opening<'k> {
    keyring: &'k Keyring,
    /// A connection whose secrets did not open, while no other connection's have. The tables open these on demand, and
    /// older ones may be sealed under a key that was taken away since; when none opens, the key is a wrong one.
    unopened: Option<SealError>,
    any_opened: bool,
}

impl Opening<'_> {
    fn open(&mut self, mut entity: Entity) -> Result<(), SealError> {
        let holds_secrets = !entity.secrets_mut().is_empty();
        let opened = self.keyring.open(&mut entity);
        if !matches!(entity, Entity::Connection(_)) {
            return opened;
        }
        match opened {
            Ok(()) => self.any_opened |= holds_secrets,
            Err(error) => self.unopened = Some(error),
        }
        Ok(())
    }
}

impl Journalled for Opening<'_> {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let change = Change::decode(change).map_err(|error| ChangeError::new(error.to_string()))?;
        match change {
            Change::Put(entity) => self
                .open(*entity)
                .map_err(|error| ChangeError::new(error.to_string())),
            Change::Delete(_) => Ok(()),
        }
    }

    fn slice(&self, _: Option<&[u8]>, _: usize, _: &mut Changes) -> Option<Vec<u8>> {
        None
    }
}

/// Reads the journal up to its present end.
///
/// # Errors
/// [`JournalError`] when a new owner could not read it either.
pub(super) async fn check_readable(broker: &Broker, keyring: &Keyring) -> Result<(), JournalError> {
    let latest = broker.latest(Topic::Registry).await?;
    let held = latest.into_iter().next().unwrap_or(0..0);
    let mut reader = broker.reader(Topic::Registry, PARTITION, held.start);
    let mut opening = Opening {
        keyring,
        unopened: None,
        any_opened: false,
    };
    let mut replay = Replay::default();
    while reader.position() < held.end {
        for message in reader.next(READ_MAX.0, READ_MAX.1).await? {
            replay.take(&message, &mut opening)?;
        }
    }
    match opening.unopened {
        Some(error) if !opening.any_opened => Err(JournalError::Change {
            topic: Topic::Registry.label(),
            partition: PARTITION,
            offset: held.end,
            source: ChangeError::new(error.to_string()),
        }),
        _ => Ok(()),
    }
}
