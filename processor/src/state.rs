//! The state of one partition of `requests`, as its journal keeps it: what is set aside. In: the journal's changes.
//! Out: the tables, and slices of them. Each table owns a range of tags, the first byte of its changes.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tidegate_broker::journal::{ChangeError, Changes, Tables};

use crate::set_aside::{SetAside, TAGS};

/// The tables of one partition. The flood steps' tables stand beside what is set aside.
#[derive(Debug)]
pub(crate) struct State {
    set_aside: Arc<Mutex<SetAside>>,
}

impl State {
    /// Empty tables, of which what is set aside takes at most `set_aside_bytes_max`.
    pub fn new(set_aside_bytes_max: usize) -> Self {
        Self {
            set_aside: Arc::new(Mutex::new(SetAside::within(set_aside_bytes_max))),
        }
    }

    /// What is set aside; the guard is never held across an await.
    pub fn set_aside(&self) -> MutexGuard<'_, SetAside> {
        self.set_aside.lock()
    }

    /// Writes what changed since the last call.
    pub fn write_changes(&mut self, changes: &mut Changes) {
        self.set_aside().write_changes(changes);
    }

    /// About how many bytes [`State::write_changes`] would write.
    pub fn changes_bytes(&self) -> usize {
        self.set_aside().changes_bytes()
    }

    /// The same, shared with whoever asks which requests must be kept.
    pub fn shared_set_aside(&self) -> Arc<Mutex<SetAside>> {
        self.set_aside.clone()
    }
}

impl Tables for State {
    fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        match change.first() {
            Some(tag) if TAGS.contains(tag) => self.set_aside().apply(change),
            _ => Err(ChangeError::new(
                "the state holds a table that this build does not know",
            )),
        }
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        self.set_aside().slice(after, bytes_max, out)
    }
}
