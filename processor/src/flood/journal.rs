//! Flood control in its partition's journal: which table a change belongs to, and slices of all of them in turn.
//! In: changes from the journal. Out: changes for it. Knows nothing of what an entry means: its table does.

use tidegate_broker::journal::{ChangeError, Changes};

use super::FloodControl;
use super::encoding::{Reader, broken};
use super::fingerprint::{Fingerprint, FingerprintKey};
use super::members::MEMBERS;
use super::objects::OBJECTS;
use super::seen::{GENERATIONS, SEEN};
use super::windows::{ENDED, WINDOW};

const KEY: u8 = 16;

/// The changes that belong to flood control.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = KEY..=MEMBERS;

/// Where a round of slices goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    Seen(Option<(u64, Fingerprint)>),
    Objects(Option<Fingerprint>),
    Windows(Option<Fingerprint>),
}

impl FloodControl {
    /// Writes what changed since the last call.
    pub fn write_changes(&mut self, changes: &mut Changes) {
        if std::mem::take(&mut self.key_is_fresh) {
            self.write_key(changes);
        }
        self.seen.write_changes(changes);
        self.objects.write_changes(changes);
        self.windows.write_changes(changes);
    }

    /// About how many bytes [`FloodControl::write_changes`] would write.
    pub fn changes_bytes(&self) -> usize {
        self.seen.changes_bytes() + self.objects.changes_bytes() + self.windows.changes_bytes()
    }

    /// Applies one change of the journal.
    pub fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let (tag, rest) = change.split_first().ok_or_else(broken)?;
        let mut rest = Reader(rest);
        match *tag {
            KEY => {
                self.key = Some(FingerprintKey(rest.array()?));
                Ok(())
            }
            GENERATIONS => self.seen.apply_generations(rest),
            SEEN => self.seen.apply_seen(rest),
            OBJECTS => self.objects.apply(rest),
            tag @ (WINDOW | ENDED | MEMBERS) => self.windows.apply(tag, rest),
            _ => Err(ChangeError::new("a change of flood control of an unknown kind")),
        }
    }

    /// Writes entries as changes from behind `after` on; the cursor to go on from, or `None` at the end.
    pub fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let until = out.len_bytes() + bytes_max;
        let mut cursor = after.and_then(decode).unwrap_or(Cursor::Seen(None));
        if cursor == Cursor::Seen(None) {
            self.write_key(out);
        }
        loop {
            let left = until.saturating_sub(out.len_bytes()).max(1);
            let next = match cursor {
                Cursor::Seen(after) => match self.seen.slice(after, left, out) {
                    Some(after) => Cursor::Seen(Some(after)),
                    None => Cursor::Objects(None),
                },
                Cursor::Objects(after) => match self.objects.slice(after, left, out) {
                    Some(after) => Cursor::Objects(Some(after)),
                    None => Cursor::Windows(None),
                },
                Cursor::Windows(after) => Cursor::Windows(Some(self.windows.slice(after, left, out)?)),
            };
            cursor = next;
            if out.len_bytes() >= until {
                return Some(encode(cursor));
            }
        }
    }

    fn write_key(&self, changes: &mut Changes) {
        if let Some(FingerprintKey(key)) = self.key {
            changes.push_tagged(KEY, &key);
        }
    }
}

fn encode(cursor: Cursor) -> Vec<u8> {
    let (part, number, key) = match cursor {
        Cursor::Seen(after) => (0, after.map(|(number, _)| number), after.map(|(_, key)| key)),
        Cursor::Objects(after) => (1, None, after),
        Cursor::Windows(after) => (2, None, after),
    };
    let mut bytes = vec![part];
    if let Some(key) = key {
        bytes.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&key.0);
    }
    bytes
}

fn decode(cursor: &[u8]) -> Option<Cursor> {
    let (part, rest) = cursor.split_first()?;
    let mut rest = Reader(rest);
    let after = match rest.is_empty() {
        true => None,
        false => Some((rest.number(8).ok()?, Fingerprint(rest.array().ok()?))),
    };
    Some(match part {
        0 => Cursor::Seen(after),
        1 => Cursor::Objects(after.map(|(_, key)| key)),
        _ => Cursor::Windows(after.map(|(_, key)| key)),
    })
}
