//! Message metadata: compact JSON with a version. Unknown fields are ignored; a higher version stops the reader with
//! a clear error, never a skip; old messages decode for ever. Knows nothing of what the metadata is about.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version written today. A newer one is written only after the operator raises `write_version`.
pub const WRITE_VERSION: u32 = 1;
/// The highest version this build can read.
pub const READ_VERSION_MAX: u32 = 1;

/// Metadata that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// Written by a newer Tidegate.
    #[error(
        "{kind} metadata has version {found}, this build reads up to {READ_VERSION_MAX}: upgrade every process before \
         raising write_version"
    )]
    Newer {
        /// The metadata's kind.
        kind: &'static str,
        /// Its version.
        found: u32,
    },
    /// Not what Tidegate writes.
    #[error("{kind} metadata cannot be decoded: {source}")]
    Undecodable {
        /// The metadata's kind.
        kind: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl MetaError {
    /// Whether the reader must stop (a newer version) rather than give up on one message.
    #[must_use]
    pub const fn stops_reader(&self) -> bool {
        matches!(self, MetaError::Newer { .. })
    }
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// A message's metadata.
pub trait Metadata: Serialize + DeserializeOwned {
    /// Its name in errors.
    const KIND: &'static str;

    /// Compact JSON.
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("metadata has only text keys and finite numbers")
    }

    /// Reads what [`Metadata::encode`] wrote, in this or any earlier version.
    ///
    /// # Errors
    /// [`MetaError::Newer`] when it was written by a newer Tidegate, [`MetaError::Undecodable`] when it is damaged.
    fn decode(bytes: &[u8]) -> Result<Self, MetaError> {
        match read_json::<Self>(bytes) {
            Ok(meta) if meta.version() <= READ_VERSION_MAX => Ok(meta),
            Ok(meta) => Err(MetaError::Newer {
                kind: Self::KIND,
                found: meta.version(),
            }),
            Err(source) => match serde_json::from_slice::<Version>(bytes) {
                Ok(Version { v }) if v > READ_VERSION_MAX => Err(MetaError::Newer {
                    kind: Self::KIND,
                    found: v,
                }),
                _ => Err(MetaError::Undecodable {
                    kind: Self::KIND,
                    source,
                }),
            },
        }
    }

    /// The version that stands in it.
    fn version(&self) -> u32;
}

/// Reads JSON whose encoding is checked once for the whole rather than for each text in it.
///
/// # Errors
/// When it is no JSON of a `T`.
pub fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// Implements [`Metadata`] for a type with a field `v`.
macro_rules! metadata {
    ($($name:ident = $kind:literal),+ $(,)?) => { $(
        impl $crate::Metadata for $name {
            const KIND: &'static str = $kind;
            fn version(&self) -> u32 {
                self.v
            }
        }
    )+ };
}

pub(crate) use metadata;
