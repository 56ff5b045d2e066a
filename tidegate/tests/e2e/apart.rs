//! Several processes on one Kafka: a webhook that another process takes the moment it is configured, and a processor
//! that stands still until others have its partitions, and wakes up. In: a whole server, and processes with one role
//! beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, json};
use tidegate_providers::{Catalogue, Sample};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{Launch, PATIENCE, Server};

use crate::kafka::on_kafka;
use crate::recorded::{Recorded, manifest, now, send};
use crate::serving::simple;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// A process with one role, beside `whole` on the same Kafka and with the same keys.
pub fn beside(whole: &Launch, data: &Path, role: &str) -> Launch {
    whole.at(data).set("TIDEGATE_ROLES", role)
}

/// A process that answers the API and may write the registry; it asks no ClickHouse.
pub fn api_beside(whole: &Launch, data: &Path) -> Launch {
    beside(whole, data, "api").set("TIDEGATE__CLICKHOUSE__URL", "http://127.0.0.1:9")
}

/// Applies integrations of one recorded case, as many as there are names, and hands back their paths.
pub async fn apply(
    server: &Server,
    receiver: &Receiver,
    (recorded, names): (&Recorded, &[String]),
) -> Vec<String> {
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let integrations: Map<_, _> = names
        .iter()
        .map(|name| (name.clone(), recorded.manifest()))
        .collect();
    let text = manifest(&[("tests", integrations, endpoints)]);
    let urls = server.apply(&text, &no_variables()).await;
    let path = |url: &String| url.split_once("/webhook/").expect("a webhook's URL").1.to_owned();
    urls.values().map(path).collect()
}

/// How often a counter of Prometheus' text stands at, over all lines that hold `part`.
pub fn count(metrics: &str, part: &str) -> f64 {
    let values = metrics
        .lines()
        .filter(|line| line.contains(part) && !line.starts_with('#'));
    values
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Waits until a server has been given more partitions of a topic's group than `before`.
pub async fn gains(server: &Server, before: f64) -> f64 {
    let began = Instant::now();
    loop {
        let gained = count(
            &server.get("/metrics").await,
            r#"rebalanced_partitions_total{change="gained"}"#,
        );
        if gained > before {
            return gained;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "no partition is gained:\n{}",
            server.printed()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_a_webhook_the_moment_it_is_configured() {
    let (folder, other, third) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (launch, _) = on_kafka(launch(folder.path()), "moment").await;
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let definition = catalogue.get(&recorded.provider).expect("a definition");
    let server = launch.start().await;
    let ingest = beside(&launch, other.path(), "ingest").start().await;
    // It passes what it is told on to the first, which writes.
    let api = api_beside(&launch, third.path()).start().await;
    let address = ingest.ingest().await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    for number in 0..5 {
        let names = [format!("mine-{number}")];
        let paths = apply(&api, &receiver, (&recorded, &names)).await;
        let path = paths
            .iter()
            .find(|path| path.contains(&names[0]))
            .expect("it was applied");
        let url = format!("{address}/webhook/{path}");
        let sample = recorded
            .signed(&definition, (&url, now()))
            .expect("it can be signed");
        let (status, id, answer) = send(&http, &sample).await;
        assert_eq!(status, 200, "{number}: {answer}\n{}", ingest.printed());
        let sql = format!("SELECT outcome FROM events WHERE request_id = '{id}'");
        let rows = server.query_until(&sql, |rows| !rows.is_empty()).await;
        assert_eq!(rows[0]["outcome"], "routed", "attributed at once: {rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_stood_still_past_its_session_spoils_nothing() {
    let (folder, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (launch, _) = on_kafka(launch(folder.path()), "stopped").await;
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let server = launch.start().await;
    let names: Vec<String> = (0..8).map(|number| format!("mine-{number}")).collect();
    let paths = apply(&server, &receiver, (&recorded, &names)).await;
    let processor = beside(&launch, other.path(), "processor").start().await;
    gains(&processor, 0.0).await;
    let held = gains(&server, 0.0).await;
    let rounds = Rounds::to(server.ingest().await, paths);
    let mut sent = BTreeSet::new();
    for round in 0..60 {
        // It stands still with work under way, and wakes up when others have gone on for a while.
        if round == 10 {
            processor.signal(Signal::STOP);
        }
        if round == 40 {
            gains(&server, held).await;
            processor.signal(Signal::CONT);
        }
        rounds.send(&mut sent).await;
    }
    let events = decided_once(&server, &sent).await;
    delivered(&receiver, &events).await;
}

/// Sends one recorded case to paths in turn.
pub struct Rounds {
    catalogue: Catalogue,
    recorded: Recorded,
    pub http: reqwest::Client,
    address: String,
    pub paths: Vec<String>,
}

impl Rounds {
    /// To these paths at `address`.
    pub fn to(address: String, paths: Vec<String>) -> Self {
        let catalogue = Catalogue::builtin().expect("the definitions compile");
        let recorded = simple(&catalogue);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self {
            catalogue,
            recorded,
            http,
            address,
            paths,
        }
    }

    /// A webhook to one of the paths, signed now.
    pub fn sample(&self, address: &str, path: &str) -> Sample {
        let definition = self.catalogue.get(&self.recorded.provider).expect("a definition");
        let url = format!("{address}/webhook/{path}");
        self.recorded
            .signed(&definition, (&url, now()))
            .expect("it can be signed")
    }

    /// One webhook to each; the ids of the requests join `sent`.
    pub async fn send(&self, sent: &mut BTreeSet<String>) {
        for path in &self.paths {
            let sample = self.sample(&self.address, path);
            let (status, id, answer) = send(&self.http, &sample).await;
            assert_eq!(status, 200, "{answer}");
            assert!(sent.insert(id));
        }
    }
}

/// Every request that was sent has one event with one outcome; hands back the events' ids.
pub async fn decided_once(server: &Server, sent: &BTreeSet<String>) -> BTreeSet<String> {
    let sql = "SELECT toString(request_id) AS request, toString(event_id) AS event, outcome FROM events";
    let rows = server.query_until(sql, |rows| rows.len() >= sent.len()).await;
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        outcomes.entry(text("request")).or_default().push(text("outcome"));
    }
    assert_eq!(
        outcomes.keys().cloned().collect::<BTreeSet<_>>(),
        *sent,
        "every request is decided"
    );
    for (request, of_request) in &outcomes {
        assert_eq!(of_request, &["routed"], "{request}: exactly one outcome");
    }
    let event = |row: &serde_json::Value| row["event"].as_str().unwrap_or_default().to_owned();
    rows.iter().map(event).collect()
}

/// Waits until every event has come to the receiver, and holds that nothing else has.
pub async fn delivered(receiver: &Receiver, events: &BTreeSet<String>) {
    let began = Instant::now();
    let delivered = loop {
        let received = receiver.received();
        let ids = received
            .iter()
            .filter_map(|delivery| delivery.headers.get("webhook-id").cloned());
        let delivered: BTreeSet<String> = ids.collect();
        if delivered.len() >= events.len() || began.elapsed() > PATIENCE {
            break delivered;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(
        delivered, *events,
        "every routed event is delivered, and nothing else"
    );
}
