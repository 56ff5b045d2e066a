//! The house rules that a test can hold: arrows between packages, headers of files, no provider's name in Rust, a
//! fixture for every definition, a row for every reason, a line for every configuration key. Each says which file and
//! how to mend it. Formatting and lints are `make lint`'s work.

mod arrows;
mod files;
mod kafka;
mod keys;
mod metrics;
mod names;
mod outcomes;
mod providers;

use std::path::{Path, PathBuf};

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tidegate/ lies in the workspace")
        .to_owned()
}

/// Every Rust file of the workspace, with its path below the root.
fn rust_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    assert!(
        files.len() > 50,
        "only {} Rust files found: is the walk broken?",
        files.len()
    );
    files
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(folder).expect("the workspace can be read");
    for path in entries.map(|entry| entry.expect("the workspace can be read").path()) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "target" | "build" | "node_modules" | "corpus") && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if name.ends_with(".rs") {
            let below = path
                .strip_prefix(root())
                .expect("found below the root")
                .display()
                .to_string();
            files.push((below, std::fs::read_to_string(&path).expect("source is UTF-8")));
        }
    }
}

/// Fails with every complaint at once.
fn check(complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{} to mend:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
