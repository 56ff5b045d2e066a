//! Every definition has a fixture, every fixture a definition.

use crate::{check, root};

/// The names of the built-in definitions.
pub fn definition_names() -> Vec<String> {
    stems("providers/definitions")
}

fn stems(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let toml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let mut stems: Vec<_> = toml
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    stems.sort();
    assert!(!stems.is_empty(), "{folder} holds no TOML file");
    stems
}

#[test]
fn every_definition_has_a_fixture() {
    let (definitions, fixtures) = (definition_names(), stems("providers/fixtures"));
    let bare = definitions.iter().filter(|name| !fixtures.contains(name));
    let mut complaints: Vec<_> = bare
        .map(|name| format!("providers/definitions/{name}.toml has no fixture"))
        .collect();
    let stray = fixtures.iter().filter(|name| !definitions.contains(name));
    complaints.extend(stray.map(|name| format!("providers/fixtures/{name}.toml has no definition")));
    check(&complaints);
}
