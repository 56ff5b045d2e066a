//! File habits: every file opens with `//!`, and none is so long that a second idea hides in it.

use crate::{check, rust_files};

/// Past this a file is two files.
const LINES_MAX: usize = 450;

#[test]
fn every_file_says_what_it_is() {
    let headless = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "));
    check(
        &headless
            .map(|(path, _)| format!("{path}: begin it with `//!`: what it is, in, out, what it does not do"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_is_too_long() {
    let long = rust_files().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{path}: {lines} lines: split it by idea"))
    });
    check(&long.collect::<Vec<_>>());
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let marks = [
        concat!("#[", "ignore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
    ];
    let found = rust_files().into_iter().flat_map(|(path, text)| {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        lines
            .map(|(n, line)| format!("{path}:{}: {}", n + 1, line.trim()))
            .collect::<Vec<_>>()
    });
    check(&found.collect::<Vec<_>>());
}
