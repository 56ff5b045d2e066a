//! A change as it stands in the journal: an entity whole, or the end of one. Absolute, so applying it twice is harmless.
//! In and out: JSON with its version inside. Applies nothing: see `tables`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entity::{Entity, EntityRef};

/// The version written today, and the highest that this build reads.
const VERSION: u32 = 1;

/// A change of the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The entity is now this.
    Put(Box<Entity>),
    /// The entity, and everything inside it, is gone.
    Delete(EntityRef),
}

/// A change that cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer Tidegate.
    #[error(
        "a change of the registry has version {found}, this build reads up to {VERSION}: upgrade this process"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Not what Tidegate writes.
    #[error("a change of the registry cannot be decoded: {source}")]
    Undecodable {
        /// What is wrong with it.
        #[from]
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    change: &'a Change,
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u32,
    #[serde(borrow)]
    change: &'a RawValue,
}

impl Change {
    /// A put of `entity`.
    #[must_use]
    pub fn put(entity: Entity) -> Self {
        Change::Put(Box::new(entity))
    }

    /// Which entity it changes.
    #[must_use]
    pub fn reference(&self) -> EntityRef {
        match self {
            Change::Put(entity) => entity.reference(),
            Change::Delete(reference) => reference.clone(),
        }
    }

    /// Compact JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let written = Written {
            v: VERSION,
            change: self,
        };
        serde_json::to_vec(&written).expect("entities have only text keys")
    }

    /// Reads what [`Change::encode`] wrote; secrets are still sealed.
    ///
    /// # Errors
    /// [`DecodeError::Newer`] for a newer version, [`DecodeError::Undecodable`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let read: Read<'_> = serde_json::from_slice(bytes)?;
        if read.v > VERSION {
            return Err(DecodeError::Newer { found: read.v });
        }
        Ok(serde_json::from_str(read.change.get())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of version 1, which must decode for ever.
    const VERSION_1: &str = include_str!("../tests/changes_v1.jsonl");

    #[test]
    fn bytes_of_version_1_decode_to_the_same_changes() {
        let mut lines = 0;
        for line in VERSION_1.lines() {
            let change = Change::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(String::from_utf8(change.encode()).expect("JSON is text"), line);
            lines += 1;
        }
        assert!(lines >= 7, "one line for each kind of change");
    }

    #[test]
    fn a_newer_version_is_named_even_when_its_shape_is_unknown() {
        let newer = br#"{"v":2,"change":{"merge":[1,2]}}"#;
        assert!(matches!(
            Change::decode(newer),
            Err(DecodeError::Newer { found: 2 })
        ));
        let unknown = br#"{"v":1,"change":{"merge":[1,2]}}"#;
        assert!(matches!(
            Change::decode(unknown),
            Err(DecodeError::Undecodable { .. })
        ));
    }
}
