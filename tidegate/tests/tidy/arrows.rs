//! The arrows of the house, from `cargo metadata`: which package may depend on which, in normal dependencies.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::{check, root};

/// Each folder and the folders it may name; `bench` may name whatever it measures.
const ARROWS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("providers", &["schemas"]),
    ("egress", &[]),
    ("broker", &["schemas"]),
    ("registry", &["schemas", "broker"]),
    (
        "ingest",
        &["schemas", "providers", "egress", "broker", "registry"],
    ),
    (
        "processor",
        &["schemas", "providers", "egress", "broker", "registry"],
    ),
    ("sinks", &["schemas", "providers", "egress", "broker", "registry"]),
    ("chdb", &[]),
    ("testkit", &["schemas"]),
    ("loadtest", &["schemas", "providers"]),
];

/// Packages that may name every other.
const FREE: &[&str] = &["tidegate", "bench"];

/// External packages and the only folders that may name them.
const RESERVED: &[(&str, &[&str])] = &[
    ("clickhouse", &["sinks", "chdb", "bench"]),
    ("rdkafka", &["broker", "bench"]),
    ("reqwest", &["tidegate", "testkit", "bench", "loadtest"]),
    ("libloading", &["chdb"]),
];

#[test]
fn packages_depend_only_along_the_arrows() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec();
    let metadata = metadata.expect("cargo metadata runs");
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let folder = package.name.strip_prefix("tidegate-").unwrap_or(&package.name);
        let normal = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal {
            let name = dependency
                .name
                .strip_prefix("tidegate-")
                .filter(|_| dependency.path.is_some());
            let wrong = match name {
                Some(to) if FREE.contains(&folder) => to == "testkit" && folder != "bench",
                Some(to) => !allowed.get(folder).is_some_and(|may| may.contains(&to)),
                None => RESERVED
                    .iter()
                    .any(|(who, may)| *who == dependency.name && !may.contains(&folder)),
            };
            if wrong {
                complaints.push(format!(
                    "{folder}/Cargo.toml: must not depend on {}",
                    dependency.name
                ));
            }
        }
    }
    check(&complaints);
}

#[test]
fn every_member_has_its_arrows() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec();
    let known = |folder: &str| FREE.contains(&folder) || ARROWS.iter().any(|(name, _)| *name == folder);
    let unknown = metadata
        .expect("cargo metadata runs")
        .packages
        .into_iter()
        .filter_map(|package| {
            let folder = package
                .name
                .strip_prefix("tidegate-")
                .unwrap_or(&package.name)
                .to_owned();
            (!known(&folder)).then(|| format!("{folder}: write its arrows into tests/tidy/arrows.rs"))
        });
    check(&unknown.collect::<Vec<_>>());
}
