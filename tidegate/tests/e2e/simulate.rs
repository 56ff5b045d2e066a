//! `tidegate simulate` through the real binary: exact output for a described burst and for recorded requests, its
//! refusals, and requests of a real server read in each way. In: `simulate/`, data and the output that is expected, which
//! `BLESS=1` writes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Launch;

use crate::apart::count;
use crate::floods::{flood, manifest, send};
use crate::kafka::on_kafka;
use crate::{launch, no_variables};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/simulate")
}

/// Runs the command in the folder of the data, so that the files' names are the same everywhere.
fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("simulate")
        .args(arguments)
        .current_dir(folder())
        .env_remove("TIDEGATE_CONFIG")
        .output()
        .expect("the program starts")
}

/// What it prints must be what stands in the file.
fn check(arguments: &[&str], expected: &str) {
    let output = simulate(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    let printed = String::from_utf8(output.stdout).expect("text is printed");
    let file = folder().join(expected);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &printed).expect("a file can be written");
    }
    let wanted = std::fs::read_to_string(&file).expect("the expected output; BLESS=1 writes it");
    assert_eq!(printed, wanted, "{arguments:?}; BLESS=1 writes {expected}");
}

fn refused(arguments: &[&str], expected: &str) {
    let output = simulate(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(error.contains(expected), "{arguments:?}: {error}");
}

#[test]
fn a_burst_is_told_line_by_line() {
    let policy = "{order: true, debounce: {quiet: 1s, max_wait: 3s}, detect_changes: true}";
    let burst = ["burst.toml", "--policy", policy, "--against", "dedupe: true"];
    check(&burst, "burst.txt");
}

#[test]
fn a_burst_is_told_as_json_lines() {
    check(
        &["burst.toml", "-p", "debounce: {edge: leading}", "--json"],
        "burst.json.txt",
    );
}

#[test]
fn what_exceeds_a_rate_is_told_when_its_turn_comes() {
    let policy = "{rate: {per_second: 1, burst: 2}, integration_rate: {per_second: 2, burst: 3}, debounce: {quiet: 1s}}";
    let rates = ["burst.toml", "-p", policy, "--against", "rate: {per_second: 5}"];
    check(&rates, "rates.txt");
}

#[test]
fn recorded_requests_go_through_their_definition() {
    check(
        &["recorded.jsonl", "-i", "crm", "--policy", "policy.yaml"],
        "recorded.txt",
    );
}

#[test]
fn what_names_nobody_can_be_given_a_connection() {
    let taken = [
        "recorded.jsonl",
        "--connection",
        "acme",
        "-p",
        "debounce: on",
        "--lines",
        "3",
    ];
    check(&taken, "connection.txt");
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    refused(&["nowhere.jsonl"], "cannot read nowhere.jsonl");
    refused(
        &["burst.toml", "-p", "nowhere.yaml"],
        "there is no file `nowhere.yaml`",
    );
    refused(
        &["burst.toml", "-p", "debonce: on"],
        "no key `debonce`: did you mean `debounce`?",
    );
    refused(
        &["burst.toml", "-p", "debounce: {quiet: 2h}"],
        "write a number and its unit",
    );
    let notifies = "`flood.detect_changes` cannot be: events of provider";
    refused(&["recorded.jsonl", "-p", "detect_changes: true"], notifies);
    refused(
        &["recorded.jsonl", "-p", "policy.yaml"],
        "names no integration `billing`",
    );
    refused(&["policy.yaml"], "policy.yaml:1: is no JSON");
    refused(&["recorded.jsonl", "-i", "nobody"], "there are no events");
    refused(
        &["--since", "1h", "--data", "nowhere"],
        "no server runs on nowhere",
    );
    refused(&["--log", "--data", "nowhere"], "there is no log in nowhere");
    refused(&["--topic"], "the configuration's broker is no Kafka");
    refused(&[], "required");
}

/// The sums of a run, without the policy's name.
fn sums(launch: &Launch, arguments: &[&str]) -> Value {
    let output = launch
        .command(&[&["simulate", "--json"][..], arguments].concat())
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    let printed = String::from_utf8(output.stdout).expect("text is printed");
    let last = printed.lines().last().expect("the sums");
    let mut last: Value = serde_json::from_str(last).expect("JSON");
    last["sums"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_servers_requests_are_read_in_each_way() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let mut flood = flood();
    flood.objects = 25;
    let flood = Arc::new(flood);
    let server = launch(temporary.path()).start().await;
    let key = ("tests".to_owned(), "flooded".to_owned());
    let url = server.apply(&manifest(&flood, &receiver), &no_variables()).await[&key].clone();
    let events = 60;
    send(&flood, &url, (0, events)).await;
    let counted = |rows: &[Value]| rows.len() == events;
    server
        .query_until("SELECT request_id FROM requests", counted)
        .await;
    let launch = server.launch().clone();

    let policy = ["--policy", "debounce: {quiet: 60s, max_wait: 60m, max_events: 2}"];
    let from_log = sums(&launch, &[&policy[..], &["--log"]].concat());
    // 25 objects have two events each, which is one window; ten of them have a third.
    assert_eq!(from_log["events"], json!(events));
    assert_eq!(from_log["outcomes"]["handed_on"], json!(35), "{from_log}");
    assert_eq!(from_log["outcomes"]["debounced"], json!(25), "{from_log}");
    assert_eq!(from_log["windows"], json!(35), "{from_log}");

    let since = sums(&launch, &[&policy[..], &["--since", "1h"]].concat());
    assert_eq!(since, from_log, "ClickHouse holds what the log holds");
    let condition = ["--where", "positionCaseInsensitive(body, 'contact-1\"') > 0"];
    let one = sums(&launch, &[&policy[..], &condition].concat());
    assert_eq!(
        one["outcomes"]["handed_on"],
        json!(2),
        "one object of three events: {one}"
    );

    let logs = ["logs", "requests", "--whole", "--json", "-n", "1000"];
    let recorded = launch.command(&logs).output().expect("the program starts");
    let file = temporary.path().join("recorded.jsonl");
    std::fs::write(&file, recorded.stdout).expect("a file can be written");
    let file = file.to_str().expect("a path of text");
    assert_eq!(sums(&launch, &[&policy[..], &[file]].concat()), from_log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_on_kafka_is_read_without_disturbing_a_group() {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let mut flood = flood();
    flood.objects = 5;
    let flood = Arc::new(flood);
    let (launch, _) = on_kafka(launch(temporary.path()), "simulate").await;
    let server = launch.start().await;
    let empty = launch
        .command(&["simulate", "--topic"])
        .output()
        .expect("the program starts");
    assert!(
        String::from_utf8_lossy(&empty.stderr).contains("there are no events"),
        "{empty:?}"
    );
    let key = ("tests".to_owned(), "flooded".to_owned());
    let url = server.apply(&manifest(&flood, &receiver), &no_variables()).await[&key].clone();
    send(&flood, &url, (0, 20)).await;
    let moved = || async { count(&server.get("/metrics").await, "rebalanced_partitions_total{") };
    let before = moved().await;
    let policy = [
        "--topic",
        "-p",
        "debounce: {quiet: 60s, max_wait: 60m, max_events: 2}",
    ];
    let read = sums(&launch, &policy);
    assert_eq!(read["events"], json!(20), "{read}");
    assert_eq!(read["outcomes"]["handed_on"], json!(10), "{read}");
    assert_eq!(read["outcomes"]["debounced"], json!(10), "{read}");
    assert_eq!(sums(&launch, &policy), read, "nothing was used up");
    assert_eq!(
        moved().await.to_bits(),
        before.to_bits(),
        "no partition has moved"
    );
    let rated = sums(&launch, &["--topic", "-p", "rate: {per_second: 1, burst: 1}"]);
    assert_eq!(rated["outcomes"]["handed_on"], json!(20), "{rated}");
    assert!(rated["set_aside"].as_u64() >= Some(1), "{rated}");
    let log = launch
        .command(&["simulate", "--log"])
        .output()
        .expect("the program starts");
    assert!(
        String::from_utf8_lossy(&log.stderr).contains("--topic"),
        "{log:?}"
    );
    // The server's own reading goes on as before.
    let decided = |rows: &[Value]| rows.len() == 20;
    let rows = server.query_until("SELECT event_id FROM events", decided).await;
    assert_eq!(rows.len(), 20);
}
