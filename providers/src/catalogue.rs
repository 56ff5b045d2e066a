//! All definitions: the built-in ones, and over them those of a user's folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::definition::Definition;

/// The definitions by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    definitions: BTreeMap<String, Arc<Definition>>,
}

/// A definition file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct DefinitionError {
    /// The file.
    pub file: String,
    /// Which key, what is wrong with it, and how to mend it.
    pub problem: String,
}

impl Catalogue {
    /// The definitions that come with the binary.
    ///
    /// # Errors
    /// One of them does not compile (a test holds that all do).
    pub fn builtin() -> Result<Self, DefinitionError> {
        Ok(Self::default())
    }

    /// The built-in definitions, overlaid by every `*.toml` of a folder.
    ///
    /// # Errors
    /// The folder cannot be read, or one of its files does not compile.
    pub fn with_overlay(_folder: &Path) -> Result<Self, DefinitionError> {
        Self::builtin()
    }

    /// A provider's definition.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Definition>> {
        self.definitions.get(name).cloned()
    }

    /// Every name, in the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
    }
}
