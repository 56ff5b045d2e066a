//! Kafka stands still, and ingest goes on: into its spill until that is full, killed with it, started again while Kafka is
//! still away, also where it answers the API too. In: a Kafka of the test's own, a whole server beside one process with the
//! role `ingest`, or one with `api` and `ingest` alone. Out: every webhook that was answered with a 2xx decided once, and in
//! its integration's order.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::{Broker, kafka};
use tidegate_providers::Catalogue;
use tidegate_schemas::{Metadata as _, RequestKind, RequestMeta, Topic};
use tidegate_testkit::kafka::{Kafka, unique_prefix};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{Launch, PATIENCE, Server};

use crate::recorded::{Recorded, manifest, now, send};
use crate::serving::simple;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// How many integrations send at the same time, each one webhook after the other.
const INTEGRATIONS: usize = 3;
/// Bytes that the spill may take: some two thousand webhooks.
const SPILL_BYTES: &str = "5242880";

/// A whole server on this Kafka, with messages so small that a small spill holds four of them.
fn on(kafka: &Kafka, (prefix, data): (&str, &Path)) -> Launch {
    let keys = data.join("keys");
    let set = |launch: Launch, (name, value): (&str, &str)| launch.set(&format!("TIDEGATE__{name}"), value);
    [
        ("BROKER__KIND", "kafka"),
        ("BROKER__KAFKA__BOOTSTRAP", &kafka.bootstrap()),
        ("BROKER__KAFKA__PREFIX", prefix),
        ("BROKER__KAFKA__PARTITIONS__REQUESTS", "4"),
        ("BROKER__KAFKA__PARTITIONS__EVENTS", "4"),
        ("BROKER__KAFKA__BODY_MESSAGE_BYTES_MAX", "1114112"),
        ("BROKER__KAFKA__SPILL__BYTES_MAX", SPILL_BYTES),
        ("INGEST__BODY_BYTES_MAX", "65536"),
        (
            "SERVER__KEY_FILE",
            keys.to_str().expect("a temporary folder's path is text"),
        ),
    ]
    .into_iter()
    .fold(launch(data), set)
}

/// One integration's webhooks, one after the other.
struct Sending<'a> {
    recorded: &'a Recorded,
    catalogue: &'a Catalogue,
    http: reqwest::Client,
    path: String,
    /// The ids of those that were answered with a 2xx, in the order in which they were sent.
    accepted: Vec<String>,
}

impl Sending<'_> {
    /// Sends until `count` are accepted, or one is refused: then with its status and answer.
    async fn send(&mut self, address: &str, count: usize) -> Option<(u16, String)> {
        let definition = self.catalogue.get(&self.recorded.provider).expect("a definition");
        let url = format!("{address}/webhook/{}", self.path);
        for _ in 0..count {
            let sample = self.recorded.signed(&definition, (&url, now()));
            let sample = sample.expect("it can be signed");
            let (status, id, answer) = send(&self.http, &sample).await;
            if status != 200 {
                return Some((status, answer));
            }
            self.accepted.push(id);
        }
        None
    }
}

/// All integrations send at the same time; hands back the refusals.
async fn send_all(sendings: &mut [Sending<'_>], address: &str, count: usize) -> Vec<(u16, String)> {
    let sent = sendings.iter_mut().map(|sending| sending.send(address, count));
    let refusals = futures_util::future::join_all(sent).await;
    refusals.into_iter().flatten().collect()
}

async fn readiness(server: &Server) -> Value {
    serde_json::from_str(&server.get("/readyz").await).expect("readiness is JSON")
}

/// Waits until nothing lies in a process's spill.
async fn drained(server: &Server) {
    let began = Instant::now();
    loop {
        let readiness = readiness(server).await;
        if readiness.get("spill").is_none() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{readiness}\n{}", server.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Applies so many integrations; hands back their paths.
async fn applied(
    server: &Server,
    receiver: &Receiver,
    (recorded, integrations): (&Recorded, usize),
) -> Vec<String> {
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let integrations: Map<_, _> = (0..integrations)
        .map(|number| (format!("mine-{number}"), recorded.manifest()))
        .collect();
    let text = manifest(&[("tests", integrations, endpoints)]);
    let urls = server.apply(&text, &no_variables()).await;
    let path = |url: &String| url.split_once("/webhook/").expect("a webhook's URL").1.to_owned();
    urls.values().map(path).collect()
}

/// Waits until a process has a copy of the registry.
async fn copied(data: &Path) {
    let copy = data.join("registry.copy");
    let began = Instant::now();
    while !copy.exists() {
        assert!(began.elapsed() < PATIENCE, "no copy of the registry is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Applies the integrations with a whole server, which then ends; hands back their paths.
async fn configured(whole: &Launch, beside: &Launch, recorded: &Recorded) -> (Vec<String>, Server, Receiver) {
    let receiver = Receiver::start().await;
    let server = whole.start().await;
    let paths = applied(&server, &receiver, (recorded, INTEGRATIONS)).await;
    let ingest = beside.start().await;
    copied(beside.data()).await;
    let status = server.terminate().await;
    assert!(status.success(), "{status}");
    (paths, ingest, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_accepted_while_kafka_is_away_and_each_is_decided_once_in_its_order() {
    let (folder, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (kafka, prefix) = (Kafka::start(1).await, unique_prefix("away"));
    let whole = on(&kafka, (&prefix, folder.path()));
    let beside = whole.at(other.path()).set("TIDEGATE_ROLES", "ingest");
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let (paths, mut ingest, _receiver) = configured(&whole, &beside, &recorded).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut sendings: Vec<_> = paths
        .iter()
        .map(|path| Sending {
            recorded: &recorded,
            catalogue: &catalogue,
            http: http.clone(),
            path: path.clone(),
            accepted: Vec::new(),
        })
        .collect();
    let mut address = ingest.ingest().await;
    let nobody_is_refused = async |sendings: &mut [Sending<'_>], address: &str, count| {
        assert_eq!(
            send_all(sendings, address, count).await,
            [],
            "no provider sees a failure"
        );
    };
    nobody_is_refused(&mut sendings, &address, 10).await;

    kafka.signal(0, Signal::STOP);
    nobody_is_refused(&mut sendings, &address, 20).await;
    let told = readiness(&ingest).await;
    assert!(told["spill"].is_string() && told["ready"] == true, "{told}");
    ingest = ingest.kill().start().await;
    address = ingest.ingest().await;
    let told = readiness(&ingest).await;
    assert!(told["registry"].is_string(), "it runs on its copy: {told}");
    nobody_is_refused(&mut sendings, &address, 20).await;

    let refusals = send_all(&mut sendings, &address, 100_000).await;
    for (status, answer) in &refusals {
        assert!(
            *status == 503 && answer.contains("broker.kafka.spill.bytes_max"),
            "{status}: {answer}"
        );
    }
    ingest = ingest.kill().start().await;
    address = ingest.ingest().await;
    unknown_is_not_called_unknown(&http, &address, &paths[0]).await;

    kafka.signal(0, Signal::CONT);
    let server = whole.start().await;
    drained(&ingest).await;
    nobody_is_refused(&mut sendings, &address, 10).await;
    in_order(&kafka.bootstrap(), &prefix, &sendings).await;
    decided_once(&server, &sendings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_ingest_and_api_starts_while_kafka_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kafka, prefix) = (Kafka::start(1).await, unique_prefix("mixed"));
    let launch = on(&kafka, (&prefix, folder.path()))
        .set("TIDEGATE_ROLES", "ingest,api")
        .set("TIDEGATE__CLICKHOUSE__URL", "http://127.0.0.1:9");
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let receiver = Receiver::start().await;
    let mut server = launch.start().await;
    let paths = applied(&server, &receiver, (&recorded, 1)).await;
    assert!(server.terminate().await.success(), "it ends in order");
    copied(folder.path()).await;

    kafka.signal(0, Signal::STOP);
    server = launch.start().await;
    let told = readiness(&server).await;
    assert!(told["registry"].is_string(), "it runs on its copy: {told}");
    let mut sending = Sending {
        recorded: &recorded,
        catalogue: &catalogue,
        http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        path: paths[0].clone(),
        accepted: Vec::new(),
    };
    let refusal = sending.send(&server.ingest().await, 20).await;
    assert_eq!(refusal, None, "no provider sees a failure\n{}", server.printed());

    kafka.signal(0, Signal::CONT);
    drained(&server).await;
    let (received, spilled) = received(&kafka.bootstrap(), &prefix).await;
    let ids: Vec<&String> = received.values().flatten().collect();
    assert!(
        ids.into_iter().eq(&sending.accepted),
        "each is there, in its order"
    );
    assert_eq!(spilled, sending.accepted.len());
    // What could not be written meanwhile can be now.
    let paths = applied(&server, &receiver, (&recorded, 2)).await;
    assert_eq!(paths.len(), 2, "{}", server.printed());
    sending.path.clone_from(&paths[1]);
    let refusal = sending.send(&server.ingest().await, 1).await;
    assert_eq!(refusal, None, "{}", server.printed());
}

/// On its copy ingest cannot tell whether an integration exists.
async fn unknown_is_not_called_unknown(http: &reqwest::Client, address: &str, path: &str) {
    let url = format!("{address}/webhook/{path}-nobody-knows");
    let answer = http.post(url).body("{}").send().await.expect("ingest answers");
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

/// The ids in `requests` by integration, each where it stands for the first time, and how many messages were spilled.
async fn received(bootstrap: &str, prefix: &str) -> (BTreeMap<String, Vec<String>>, usize) {
    let config = kafka::Config {
        bootstrap: bootstrap.to_owned(),
        prefix: prefix.to_owned(),
        body_message_bytes_max: 1_114_112,
        partitions: PartitionCounts {
            requests: 4,
            events: 4,
            ..PartitionCounts::default()
        },
        ..kafka::Config::default()
    };
    let broker = Broker::connect(&config).await.expect("Kafka answers");
    let mut firsts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut seen, mut spilled) = (HashSet::new(), 0);
    let ends = broker.latest(Topic::Requests).await.expect("Kafka answers");
    for (partition, range) in (0..).zip(ends) {
        let mut reader = broker.reader(Topic::Requests, partition, 0);
        while reader.position() < range.end {
            for message in reader.next(1000, 8 << 20).await.expect("Kafka answers") {
                let meta = RequestMeta::decode(&message.meta).expect("our own metadata");
                spilled += usize::from(meta.spilled);
                let id = meta.id.0.to_string();
                if meta.kind == RequestKind::Received && seen.insert(id.clone()) {
                    firsts.entry(meta.integration).or_default().push(id);
                }
            }
        }
    }
    (firsts, spilled)
}

/// In `requests` each integration's webhooks stand in the order in which they were sent, each as often as it came.
async fn in_order(bootstrap: &str, prefix: &str, sendings: &[Sending<'_>]) {
    let (firsts, spilled) = received(bootstrap, prefix).await;
    assert!(spilled > 100, "only {spilled} were spilled");
    for sending in sendings {
        let (_, integration) = sending.path.split_once('/').expect("environment and integration");
        let accepted: HashSet<&String> = sending.accepted.iter().collect();
        let found: Vec<&String> = firsts[integration]
            .iter()
            .filter(|id| accepted.contains(id))
            .collect();
        assert!(
            found.iter().copied().eq(&sending.accepted),
            "{integration}: {} of {} are there, or their order is another",
            found.len(),
            sending.accepted.len()
        );
    }
}

/// Every webhook that was accepted has one event with one outcome.
async fn decided_once(server: &Server, sendings: &[Sending<'_>]) {
    let accepted: HashSet<&String> = sendings.iter().flat_map(|sending| &sending.accepted).collect();
    let sql = "SELECT toString(request_id) AS request, outcome FROM events";
    let requests = |rows: &[Value]| {
        let of = |row: &Value| row["request"].as_str().unwrap_or_default().to_owned();
        rows.iter().map(of).collect::<Vec<String>>()
    };
    let all_there = |rows: &[Value]| {
        let there: HashSet<String> = requests(rows).into_iter().collect();
        accepted.iter().all(|id| there.contains(*id))
    };
    let rows = server.query_until(sql, all_there).await;
    assert!(
        all_there(&rows),
        "{} of {} are decided",
        rows.len(),
        accepted.len()
    );
    let mut once = HashSet::new();
    for request in requests(&rows) {
        assert!(once.insert(request.clone()), "{request} has two outcomes");
    }
    let marked = "SELECT count() AS n FROM requests WHERE spilled";
    let rows = server.query_until(marked, |rows| rows[0]["n"] != json!(0)).await;
    assert_ne!(rows[0]["n"], json!(0), "ClickHouse shows which were spilled");
}
