//! What `tidegate serve` and `tidegate demo` promise of themselves: they end in order, refuse a folder in use and a
//! missing engine in clear words, and find on a second start what the first one left.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, json};
use tidegate_broker::{Broker, embedded};
use tidegate_providers::Catalogue;
use tidegate_registry::{Follower, KeyFile};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{Launch, Server};

use crate::recorded::{Recorded, all, manifest, now, send};
use crate::{ENDPOINT_SECRET, launch, no_variables};

#[test]
fn the_demo_comes_out_as_it_should() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = launch(folder.path())
        .command(&["demo", "--once"])
        .output()
        .expect("the program starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("Everything came out as it should."), "{printed}");
}

/// A case with one event of one connection, of whatever provider comes first.
pub fn simple(catalogue: &Catalogue) -> Recorded {
    let suits = |recorded: &Recorded| {
        let definition = catalogue.get(&recorded.provider).expect("a definition");
        recorded.case.is_signed()
            && matches!(recorded.events.as_slice(), [event] if !event.connection.is_empty())
            && recorded.signed(&definition, ("http://x/", now())).is_ok()
    };
    all(catalogue)
        .into_iter()
        .find(suits)
        .expect("a provider with a case of one event")
}

/// Sends a genuine webhook, and hands back the rows of its events.
pub async fn send_one(server: &Server, recorded: &Recorded, url: &str) -> Vec<serde_json::Value> {
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let definition = catalogue.get(&recorded.provider).expect("a definition");
    let sample = recorded
        .signed(&definition, (url, now()))
        .expect("it can be signed");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (status, id, body) = send(&http, &sample).await;
    assert_eq!(status, 200, "{body}");
    let sql = format!("SELECT outcome FROM events WHERE request_id = '{id}'");
    server.query_until(&sql, |rows| !rows.is_empty()).await
}

/// A manifest with one integration, `mine`, and one endpoint.
pub fn simple_manifest(receiver: &Receiver, recorded: &Recorded) -> String {
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let integrations = Map::from_iter([("mine".to_owned(), recorded.manifest())]);
    manifest(&[("tests", integrations, endpoints)])
}

/// Applies it, and hands back the integration's URL.
pub async fn serve_simple(server: &Server, receiver: &Receiver, recorded: &Recorded) -> String {
    let text = simple_manifest(receiver, recorded);
    let urls = server.apply(&text, &no_variables()).await;
    urls[&("tests".to_owned(), "mine".to_owned())].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_drains_on_sigterm_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let text = simple_manifest(&receiver, &recorded);
    let server = launch(folder.path()).start().await;
    let key = ("tests".to_owned(), "mine".to_owned());
    let url = server.apply(&text, &no_variables()).await[&key].clone();
    send_one(&server, &recorded, &url).await;
    refuses_a_second(server.launch(), server.pid());
    let launch = server.launch().clone();
    let status = server.terminate().await;
    assert!(status.success(), "SIGTERM ends with {status}");
    assert!(
        !folder.path().join("admin.sock").exists(),
        "the socket of an ended server is gone"
    );

    a_copy_of_the_registry_was_kept(folder.path()).await;

    let again = launch.start().await;
    let (_, path) = url.split_once("/webhook/").expect("a webhook's URL");
    let url = format!("{}/webhook/{path}", again.ingest().await);
    send_one(&again, &recorded, &url).await;
    let rows = again
        .query_until("SELECT request_id FROM requests", |rows| rows.len() == 2)
        .await;
    assert_eq!(rows.len(), 2, "the rows of both lives are there");

    let killed = again.kill();
    let third = killed.start().await;
    let rows = third
        .query_until("SELECT request_id FROM requests", |rows| rows.len() == 2)
        .await;
    assert_eq!(rows.len(), 2, "the rows outlive kill -9");
    let pending = third.apply(&text, &no_variables()).await;
    assert!(pending.contains_key(&key), "the registry outlives kill -9");
}

/// A process that finds no broker may begin with it.
async fn a_copy_of_the_registry_was_kept(data: &Path) {
    // As `testkit` starts it.
    let log = embedded::Config {
        segment_bytes: 64 << 20,
        ..embedded::Config::default()
    };
    let broker = Broker::open(&log, &data.join("log")).await;
    let broker = broker.expect("the log of an ended server opens");
    let keyring = Arc::new(KeyFile::load_or_create(&data.join("keys")).expect("the key file is there"));
    let config = tidegate_registry::Config::default();
    let copy = data.join("registry.copy");
    let (registry, _follower) =
        Follower::open_copy(&broker, keyring, (&config, true, &copy)).expect("the copy is sound");
    assert!(registry.runs_on_copy(), "nothing was read but the copy");
    let environment = registry.read().environment_by_name("tests").map(|found| found.id);
    let environment = environment.expect("the environment is in it");
    assert!(registry.read().integration(&environment, "mine").is_some());
    broker.close().await.expect("the log closes");
}

fn refuses_a_second(launch: &Launch, holder: u32) {
    let second = launch.command(&["serve"]).output().expect("the program starts");
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(
        !second.status.success(),
        "a second server on one folder was not refused"
    );
    assert!(
        error.contains(&holder.to_string()),
        "the holder {holder} is not named: {error}"
    );
}

#[test]
fn a_missing_engine_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut serve: Command = launch(folder.path()).command(&["serve"]);
    let missing = folder.path().join("nowhere/libchdb.so");
    let output = serve
        .env("TIDEGATE_LIBCHDB", &missing)
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("make engine"), "no remedy: {error}");
    assert!(
        error.contains("nowhere/libchdb.so"),
        "the place is not named: {error}"
    );
}

#[test]
fn limits_that_do_not_fit_one_another_are_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let launch = launch(folder.path())
        .set("TIDEGATE__PROCESSOR__OUTCOMES_MESSAGE_BYTES_MAX", "20000000")
        .set("TIDEGATE__CLICKHOUSE__BODY_TTL_DAYS", "200");
    let output = launch.command(&["serve"]).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for key in [
        "`processor.outcomes_message_bytes_max` is 20000000",
        "broker.embedded.rows_message_bytes_max is 16777216",
        "`clickhouse.body_ttl_days` is 200",
    ] {
        assert!(error.contains(key), "{key} is not named: {error}");
    }
}
