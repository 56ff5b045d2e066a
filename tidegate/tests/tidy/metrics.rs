//! Every family of metrics that a room names in its `metrics.rs` is described, and named after the room. In: the
//! sources, and what the rooms describe. Out: the names that are missing.

use std::collections::BTreeSet;

use tidegate::metrics::families;

use crate::rust_files;

#[test]
fn every_family_is_described_and_named_after_its_room() {
    let described: BTreeSet<String> = families().into_iter().map(|family| family.name).collect();
    let mut declared = BTreeSet::new();
    for (path, text) in rust_files() {
        let room = path.split('/').next().unwrap_or_default();
        if path.starts_with("tidegate/") || !path.ends_with("metrics.rs") {
            continue;
        }
        for name in names(&text) {
            assert!(
                name.starts_with(&format!("tidegate_{room}_")),
                "{path}: `{name}` should begin with `tidegate_{room}_`"
            );
            declared.insert(name);
        }
    }
    assert!(
        declared.len() > 40,
        "only {} families found: is the walk broken?",
        declared.len()
    );
    assert_eq!(
        described, declared,
        "a room's describe() names each family of its metrics.rs, and no other"
    );
}

/// The texts in quotes that are names of families.
fn names(text: &str) -> impl Iterator<Item = String> {
    let fits = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = move |text: &&str| text.starts_with("tidegate_") && text.bytes().all(fits);
    text.split('"').filter(is_name).map(str::to_owned)
}

#[test]
fn names_are_found() {
    let text = r#"const A: &str = "tidegate_x_a_total"; "tidegate {}" counter!("tidegate_x_p99")"#;
    assert_eq!(
        names(text).collect::<Vec<_>>(),
        ["tidegate_x_a_total", "tidegate_x_p99"]
    );
}
