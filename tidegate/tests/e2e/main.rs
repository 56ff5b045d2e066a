//! The whole of Tidegate through its real binary: signed webhooks of every provider in, signed deliveries out, rows in
//! ClickHouse; refusals; what `serve` and the other commands promise. In: the recordings of `providers/fixtures/`.
//! What a single room does is tested in its own package.

mod apart;
mod audits;
mod between;
mod commands;
mod doctor;
mod floods;
mod inspect;
mod kafka;
mod keys;
mod lag;
mod page;
mod queries;
mod recorded;
mod refusals;
mod rolling;
mod serving;
mod settings;
mod simulate;
mod spill;
mod takeover;
mod terminal;
mod top;
mod verify;
mod webhooks;
mod writers;

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_testkit::clickhouse::library;
use tidegate_testkit::server::Launch;

/// The endpoint's secret in every test: `whsec_` and the base64 of 32 bytes.
const ENDPOINT_SECRET: &str = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNlY3JldC4uLi4=";

/// A server of this build on a folder, with the embedded engine.
fn launch(data: &Path) -> Launch {
    let library = library();
    let library = library.to_str().expect("the library's path is text");
    Launch::new(Path::new(env!("CARGO_BIN_EXE_tidegate")), data).set("TIDEGATE_LIBCHDB", library)
}

/// No variables for a manifest.
fn no_variables() -> BTreeMap<String, String> {
    BTreeMap::new()
}
