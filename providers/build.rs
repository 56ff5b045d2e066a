//! Lists the built-in definitions and their fixtures, so that adding one is adding a file. In: `definitions/*.toml` and
//! `fixtures/*.toml`. Out: arrays of names and texts that `catalogue.rs` and `fixture.rs` include. Reads none of them:
//! that is done at start, and by a test.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    for folder in ["definitions", "fixtures"] {
        list(folder);
    }
}

/// Writes the array of a folder's files into the build folder.
fn list(name: &str) {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let folder = Path::new(&root).join(name);
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries: Vec<_> = fs::read_dir(&folder)
        .map(|entries| entries.filter_map(Result::ok).collect())
        .unwrap_or_default();
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let stem = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a definition's name is plain ASCII");
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(
            list,
            "    ({stem:?}, include_str!({:?})),",
            file.display().to_string()
        )
        .expect("a String takes all");
    }
    list.push(']');
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join(format!("{name}.rs"));
    fs::write(out, list).expect("the build folder can be written");
}
