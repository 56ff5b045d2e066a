//! All definitions: the built-in ones, and over them those of a user's folder. In: TOML files. Out: definitions by name, or
//! the file and key that is wrong. The only place of this crate that reads files, once, at start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compile::compile;
use crate::config::Config;
use crate::definition::Definition;

/// The built-in definitions: name and text.
static BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/definitions.rs"));

/// The definitions by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    definitions: BTreeMap<String, Arc<Definition>>,
}

/// A definition file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{}{problem}", .key, if .key.is_empty() { "" } else { ": " })]
pub struct DefinitionError {
    /// The file.
    pub file: String,
    /// The key, by its whole path; empty when the file cannot be read at all.
    pub key: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl Catalogue {
    /// The definitions that come with the binary.
    ///
    /// # Errors
    /// One of them does not compile (a test holds that all do).
    pub fn builtin() -> Result<Self, DefinitionError> {
        Self::load(Config::default(), None)
    }

    /// The built-in definitions, overlaid by every `*.toml` of a folder.
    ///
    /// # Errors
    /// The folder cannot be read, or one of its files does not compile.
    pub fn with_overlay(folder: &Path) -> Result<Self, DefinitionError> {
        Self::load(Config::default(), Some(folder))
    }

    /// The built-in definitions with these limits, and those of a folder over them.
    ///
    /// # Errors
    /// As [`Catalogue::with_overlay`].
    pub fn load(limits: Config, folder: Option<&Path>) -> Result<Self, DefinitionError> {
        let mut catalogue = Self::default();
        for (name, text) in BUILTIN {
            catalogue.add(compile(&format!("{name}.toml"), name, text)?.with_limits(limits));
        }
        for file in folder.map(files_of).transpose()?.unwrap_or_default() {
            catalogue.add(check_file(&file)?.with_limits(limits));
        }
        Ok(catalogue)
    }
}

/// The definitions' files of a folder, in order.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, DefinitionError> {
    let unreadable = |error: std::io::Error| unreadable(folder, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Catalogue {
    /// Adds a definition over one of the same name.
    pub fn add(&mut self, definition: Definition) {
        self.definitions
            .insert(definition.name.clone(), Arc::new(definition));
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

    /// Every definition, in the order of the alphabet.
    pub fn definitions(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.values()
    }
}

impl Definition {
    /// Compiles a definition from its file's text; `name` is what it must be called.
    ///
    /// # Errors
    /// A key is unknown, missing or wrong.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, DefinitionError> {
        compile(&format!("{name}.toml"), name, text)
    }
}

/// Compiles one file, as `tidegate providers check FILE` does.
///
/// # Errors
/// The file cannot be read, or a key in it is wrong.
pub fn check_file(file: &Path) -> Result<Definition, DefinitionError> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let name = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    compile(&file.display().to_string(), name, &text)
}

/// A built-in definition's file, for `tidegate providers show` and as a start for a user's own.
#[must_use]
pub fn source_of(name: &str) -> Option<&'static str> {
    BUILTIN
        .iter()
        .find(|(have, _)| *have == name)
        .map(|(_, text)| *text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> DefinitionError {
    DefinitionError {
        file: path.display().to_string(),
        key: String::new(),
        problem: format!("cannot be read: {error}"),
    }
}
