//! The whole of Tidegate on a real Kafka: what anyone reads there with standard tools, and what a second process and a
//! restart do. In: a node of the tests' own, which `make kafka` brings. The main test runs on both engines (`webhooks`).

use std::process::Command;

use serde_json::Value;
use tidegate_providers::Catalogue;
use tidegate_schemas::Topic;
use tidegate_testkit::kafka::{shared, unique_prefix};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Launch;

use crate::launch;
use crate::recorded::{now, send};
use crate::serving::{send_one, serve_simple, simple};

/// The same server with its topics on Kafka, under a prefix of their own, which is handed back.
pub async fn on_kafka(launch: Launch, test: &str) -> (Launch, String) {
    let prefix = unique_prefix(test);
    let keys = launch.data().join("keys");
    let keys = keys.to_str().expect("a temporary folder's path is text");
    let launch = launch
        .set("TIDEGATE__BROKER__KIND", "kafka")
        .set("TIDEGATE__BROKER__KAFKA__BOOTSTRAP", &shared().await.bootstrap())
        .set("TIDEGATE__BROKER__KAFKA__PREFIX", &prefix)
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__REQUESTS", "4")
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__EVENTS", "4")
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__OUTCOMES", "1")
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__ATTEMPTS", "1")
        .set("TIDEGATE__BROKER__KAFKA__PARTITIONS__DEAD", "1")
        .set("TIDEGATE__BROKER__KAFKA__SESSION_TIMEOUT_MS", "3000")
        .set("TIDEGATE__SERVER__KEY_FILE", keys);
    (launch, prefix)
}

/// What `kcat` reads of a topic: one `header|value` a message.
fn kcat(bootstrap: &str, topic: &str) -> String {
    let read = Command::new("kcat")
        .args([
            "-C",
            "-q",
            "-e",
            "-b",
            bootstrap,
            "-t",
            topic,
            "-o",
            "beginning",
            "-f",
            "%h|%s\n",
        ])
        .output()
        .expect("kcat is installed: apt-get install kcat");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8_lossy(&read.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_events_and_outcomes_are_read_with_standard_tools() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (launch, prefix) = on_kafka(launch(folder.path()), "kcat").await;
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let server = launch.start().await;
    let url = serve_simple(&server, &receiver, &recorded).await;
    let definition = catalogue.get(&recorded.provider).expect("a definition");
    let sample = recorded
        .signed(&definition, (&url, now()))
        .expect("it can be signed");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (status, id, answer) = send(&http, &sample).await;
    assert_eq!(status, 200, "{answer}");
    let sql = format!("SELECT outcome FROM events WHERE request_id = '{id}'");
    let rows = server.query_until(&sql, |rows| !rows.is_empty()).await;
    assert_eq!(rows[0]["outcome"], "routed");
    let bootstrap = shared().await.bootstrap();
    let read = |topic: Topic| kcat(&bootstrap, &topic.name(&prefix));
    let header = |printed: &str| -> Value {
        let (header, _) = printed.split_once('|').expect("a message is there");
        let json = header
            .strip_prefix("tidegate=")
            .expect("the metadata is one header");
        serde_json::from_str(json).expect("the metadata is JSON")
    };
    let requests = read(Topic::Requests);
    assert_eq!(header(&requests)["id"], Value::from(id.as_str()), "{requests}");
    let (_, body) = requests.split_once('|').expect("a message is there");
    assert_eq!(
        body.strip_suffix('\n'),
        std::str::from_utf8(&sample.body).ok(),
        "the raw body, byte for byte"
    );
    let events = read(Topic::Events);
    assert!(header(&events)["endpoints"].is_array(), "{events}");
    let outcomes = read(Topic::Outcomes);
    let (_, rows) = outcomes.split_once('|').expect("a message is there");
    let row: Value = rows
        .lines()
        .next()
        .and_then(|row| serde_json::from_str(row).ok())
        .expect("JSON lines");
    assert_eq!(row["outcome"], "routed", "{outcomes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (launch, _) = on_kafka(launch(folder.path()), "killed").await;
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let server = launch.start().await;
    let url = serve_simple(&server, &receiver, &recorded).await;
    assert_eq!(send_one(&server, &recorded, &url).await.len(), 1);
    let server = server.kill().start().await;
    let address = server.ingest().await;
    let path = url.splitn(4, '/').nth(3).expect("a URL has a path");
    let url = format!("{address}/{path}");
    assert_eq!(send_one(&server, &recorded, &url).await.len(), 1);
    let rows = server
        .query_until(
            "SELECT count() AS n FROM events WHERE outcome = 'routed'",
            |rows| rows[0]["n"].to_string().trim_matches('"') == "2",
        )
        .await;
    assert_eq!(
        rows[0]["n"].to_string().trim_matches('"'),
        "2",
        "nothing is decided twice: {rows:?}"
    );
}
