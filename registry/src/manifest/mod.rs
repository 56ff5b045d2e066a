//! The declarative file: what there should be, written down.
//!
//! A text is read into a [`Manifest`] ([`Manifest::parse`]; every mistake is named with its line), compared with the
//! tables ([`Manifest::plan`]), shown, and handed to the writer. Applied twice it plans nothing the second time.
//! Reads no file and no environment: texts and variables are handed in.
//!
//! What the file leaves out has its default. Left alone are: secrets, metadata and tags that it leaves out, an
//! endpoint's on or off that it leaves out, and everything it does not name, unless pruning is asked for. Pruning
//! removes integrations and endpoints of the named environments, and connections of integrations that have a
//! `connections` key; never an environment.

mod difference;
mod facts;
mod fields;
mod flood;
mod plan;
mod policies;
mod read;
mod single;
mod suggest;
mod written;
mod yaml;

use std::collections::BTreeMap;

pub use facts::{CfgFact, FloodFacts, ProviderFacts, SecretAt, check_flood, check_integration};
use fields::Reading;
pub use plan::{Action, Plan, Planning, Step};
pub use policies::{PlannedFlood, read_flood};
pub use read::Manifest;
pub use single::{plan_connection, plan_integration};
pub use written::{connection_fields, effective_flood, flood_fields, integration_fields, secret_hints};
use yaml::{Kind, Node};

/// Mistakes in a declarative file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ManifestError {
    /// At least one, by line.
    pub mistakes: Vec<Mistake>,
}

/// A mistake in a declarative file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct Mistake {
    /// The file's name as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl ManifestError {
    fn new(file: &str, mut wrongs: Vec<(usize, String)>) -> Self {
        wrongs.sort();
        let mistakes = wrongs.into_iter().map(|(line, problem)| Mistake {
            file: file.to_owned(),
            line,
            problem,
        });
        Self {
            mistakes: mistakes.collect(),
        }
    }
}

impl Manifest {
    /// Reads a file's text. `file` names it in errors; `lookup` gives the value of each `${VARIABLE}`.
    ///
    /// # Errors
    /// [`ManifestError`] with every mistake, or with the first where the text is no YAML.
    pub fn parse(
        file: &str,
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Manifest, ManifestError> {
        let root = yaml::parse(text).map_err(|wrong| ManifestError::new(file, vec![wrong]))?;
        let mut reading = Reading {
            lookup: &lookup,
            wrongs: Vec::new(),
        };
        let manifest = read::manifest(root, &mut reading);
        if reading.wrongs.is_empty() {
            return Ok(manifest);
        }
        Err(ManifestError::new(file, reading.wrongs))
    }

    /// The names of the variables that a file's text asks for, each with the first line it stands in: for a client
    /// that hands their values on. A text that is no YAML has none; parsing it says why.
    #[must_use]
    pub fn variables(text: &str) -> BTreeMap<String, usize> {
        let mut variables = BTreeMap::new();
        if let Ok(root) = yaml::parse(text) {
            let mut nodes = vec![&root];
            while let Some(node) = nodes.pop() {
                match &node.kind {
                    Kind::List(list) => nodes.extend(list),
                    Kind::Map(entries) => nodes.extend(entries.iter().map(|(_, node)| node)),
                    Kind::Scalar { text, .. } => note_variables(node, text, &mut variables),
                }
            }
        }
        variables
    }
}

fn note_variables(node: &Node, text: &str, variables: &mut BTreeMap<String, usize>) {
    let seen = std::cell::RefCell::new(Vec::new());
    let note = |name: &str| {
        seen.borrow_mut().push(name.to_owned());
        Some(String::new())
    };
    // A text that cannot be filled is named when the file is parsed; what it asks for up to there is asked for.
    let _ = fields::fill(text, &note);
    for name in seen.into_inner() {
        let line = variables.entry(name).or_insert(node.line);
        *line = node.line.min(*line);
    }
}
