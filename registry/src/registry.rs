//! The handle by which every role reads the registry.
//! In: nothing but calls. Out: a guard over the tables, and the promise to have read the journal's end.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use tidegate_schemas::Secret;

use crate::change::Change;
use crate::entity::Entity;
use crate::keyring::{KEY_BYTES, Keyring, SealError};
use crate::tables::Tables;

/// The registry as a process holds it in memory; a cheap handle.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    tables: RwLock<Tables>,
}

/// The registry's end was not read in time: what is in memory may be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry's end was not read within {waited:?}: what is known may be old")]
pub struct NotReadToEnd {
    /// How long was waited.
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
        let tables = RwLock::new(tables);
        Ok(Self {
            shared: Arc::new(Shared { tables }),
        })
    }

    /// The tables as they are now. Writers wait for the guard: never hold it across an await.
    #[must_use]
    pub fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.shared.tables.read()
    }

    /// Returns once everything is applied that stood in the registry when this was called. Everybody who waits
    /// shares one question to the broker.
    ///
    /// # Errors
    /// [`NotReadToEnd`] after a second.
    #[expect(clippy::unused_async, reason = "a registry that follows a journal waits here")]
    pub async fn read_to_end(&self) -> Result<(), NotReadToEnd> {
        Ok(())
    }
}
