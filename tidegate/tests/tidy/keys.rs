//! `default.toml` against the code: every key of every section has its commented line, no line names a key that does
//! not exist, and the values there are the ones that hold without a file.

use serde::Deserialize as _;
use tidegate::config::{Config, DEFAULTS, uncommented};
use toml::{Table, Value};

use crate::check;

fn lines() -> Table {
    uncommented(DEFAULTS)
        .parse()
        .expect("default.toml is TOML once its keys are uncommented")
}

#[test]
fn the_values_in_default_toml_are_the_defaults() {
    let from_lines = Config::deserialize(lines()).expect("default.toml names only keys that exist");
    assert_eq!(format!("{from_lines:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn every_key_has_its_line() {
    let lines = lines();
    let mut missing = Vec::new();
    let mut sections = vec![(Vec::new(), Table::new())];
    while let Some((path, _)) = sections.pop() {
        for key in keys_of(&path) {
            let mut below = path.clone();
            below.push(key);
            match lookup(&lines, &below) {
                None => missing.push(format!(
                    "default.toml: [{}] lacks `{}`",
                    path.join("."),
                    below.join(".")
                )),
                Some(Value::Table(table)) => sections.push((below, table.clone())),
                Some(_) => {}
            }
        }
    }
    check(&missing);
}

/// The keys that a section takes: what its error names when it is given one that cannot exist.
fn keys_of(path: &[String]) -> Vec<String> {
    let mut table = Table::from_iter([("no_such_key".to_owned(), Value::Boolean(true))]);
    for name in path.iter().rev() {
        table = Table::from_iter([(name.clone(), Value::Table(table))]);
    }
    let error = Config::deserialize(table)
        .expect_err("no section takes such a key")
        .to_string();
    // The lines behind the first name the section, not its keys.
    let error = error.lines().next().unwrap_or_default();
    let (_, expected) = error
        .split_once("expected")
        .unwrap_or_else(|| panic!("{path:?}: {error}"));
    let keys: Vec<_> = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    assert!(!keys.is_empty(), "{path:?}: {error}");
    keys
}

fn lookup<'t>(table: &'t Table, path: &[String]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(first)?;
    if rest.is_empty() {
        Some(value)
    } else {
        lookup(value.as_table()?, rest)
    }
}
