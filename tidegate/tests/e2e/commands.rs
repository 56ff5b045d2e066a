//! The commands beside a running server, and after it: their exit codes and what they print. In: one server with one
//! integration. Golden output is their own files' business.

use std::path::Path;
use std::process::Output;

use serde_json::{Map, Value, json};
use tidegate_providers::Catalogue;
use tidegate_providers::fixture::Fixture;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Launch;

use crate::recorded::manifest;
use crate::refusals::with_an_age;
use crate::{ENDPOINT_SECRET, launch, page};

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_beside_a_server_and_after_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let server = launch(folder.path()).start().await;
    let launch = server.launch().clone();
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = with_an_age(&catalogue);
    let secret = recorded
        .case
        .secrets
        .first()
        .cloned()
        .expect("a signed case has a secret");
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let integrations = Map::from_iter([("mine".to_owned(), recorded.manifest())]);
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, manifest(&[("tests", integrations, endpoints)])).expect("a file can be written");

    apply(&launch, &file);
    let url = registered(&launch, &file);
    let send = [
        "send",
        &recorded.provider,
        "--case",
        &recorded.case.name,
        "--to",
        &url,
        "--secret",
        &secret,
    ];
    succeeds(&launch, &send);
    fails(&launch, &[&send[..6], &["--forge"]].concat());
    server
        .query_until("SELECT event_id FROM events", |rows| {
            rows.len() == recorded.events.len()
        })
        .await;
    let events = succeeds(&launch, &["logs", "events", "--json"]);
    let first: Value = serde_json::from_str(events.lines().next().expect("an event")).expect("JSON lines");
    assert_eq!(first["outcome"], "routed", "{events}");
    let count = [
        "query",
        "--format",
        "TSV",
        "SELECT count() FROM requests WHERE kind = 'received'",
    ];
    assert_eq!(succeeds(&launch, &count).trim(), "1");
    fails(&launch, &["query", "SELECT nothing FROM nowhere"]);
    server
        .query_until("SELECT attempt_id FROM attempts", |rows| !rows.is_empty())
        .await;
    page::shows_every_family(&server.get("/metrics").await);
    without_a_server(&launch);
    server.terminate().await;
    without_a_server(&launch);
    assert!(succeeds(&launch, &["log", "inspect"]).contains("closed in good order"));
    let refused = fails(&launch, &count);
    assert!(refused.contains("no server runs on"), "{refused}");
}

fn apply(launch: &Launch, file: &Path) {
    let file = file.to_str().expect("a path of text");
    succeeds(launch, &["apply", "-f", file, "--plan"]);
    let alone = fails(launch, &["apply", "-f", file]);
    assert!(alone.contains("--yes"), "nobody agrees in a pipe: {alone}");
    succeeds(launch, &["apply", "-f", file, "--yes"]);
    fails(launch, &["apply", "-f", "nowhere.yaml", "--plan"]);
}

/// The integration's URL, as `apply` prints it.
fn registered(launch: &Launch, file: &Path) -> String {
    let printed = succeeds(
        launch,
        &["apply", "-f", file.to_str().expect("a path of text"), "--plan"],
    );
    let url = printed
        .split_whitespace()
        .find(|word| word.starts_with("http") && word.ends_with("/mine"));
    url.unwrap_or_else(|| panic!("no URL in {printed}")).to_owned()
}

/// What needs no server works with and without one.
fn without_a_server(launch: &Launch) {
    let listed = succeeds(launch, &["providers", "list"]);
    for provider in Fixture::providers() {
        assert!(listed.contains(provider), "{provider} is not in {listed}");
    }
    fails(launch, &["providers", "show", "nobody-has-this-name"]);
    assert!(succeeds(launch, &["config"]).contains("[ingest]"));
    succeeds(launch, &["config", "--effective"]);
    assert!(succeeds(launch, &["log", "inspect"]).contains("no damage"));
}

fn run(launch: &Launch, arguments: &[&str]) -> Output {
    launch.command(arguments).output().expect("the program starts")
}

/// What it prints, when it ends with 0.
fn succeeds(launch: &Launch, arguments: &[&str]) -> String {
    let output = run(launch, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?}: {} {error}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text is printed")
}

/// What it complains of, when it ends with another code.
fn fails(launch: &Launch, arguments: &[&str]) -> String {
    let output = run(launch, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
