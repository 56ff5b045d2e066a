//! A flood through the real binary, on the embedded log and on Kafka: an import burst on a thousand objects comes to one
//! delivery for each object and window, the rows add up in ClickHouse, and killing the server in the middle loses nothing
//! and doubles nothing that is visible. What is sent stands in `floods.toml`; `TIDEGATE_CHAOS_EVENTS` says how much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_testkit::receiver::{Received, Receiver};
use tidegate_testkit::server::{Launch, Server};
use tokio::task::JoinSet;

use crate::kafka::on_kafka;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// How many senders there are at the same time.
const SENDERS: usize = 8;
/// How often the server is killed, at even distances.
const KILLS: usize = 2;

/// The flood, as data.
#[derive(Deserialize)]
pub struct Flood {
    provider: String,
    /// Every request's headers.
    headers: BTreeMap<String, String>,
    integration: toml::Table,
    /// A request's body, with `{n}` for the event's number and `{object}` for its object's.
    body: String,
    pub objects: usize,
    /// How many events there are about each object, unless another number of events is asked for.
    each: usize,
}

impl Flood {
    /// The integration as a manifest has it.
    pub fn written(&self) -> Value {
        let mut integration = serde_json::to_value(&self.integration).expect("an integration");
        integration["provider"] = json!(self.provider);
        integration
    }

    fn events(&self) -> usize {
        let asked = std::env::var("TIDEGATE_CHAOS_EVENTS").ok();
        let asked = asked.map(|events| events.parse().expect("TIDEGATE_CHAOS_EVENTS is a number"));
        asked.unwrap_or(self.objects * self.each)
    }
}

pub fn flood() -> Flood {
    toml::from_str(include_str!("floods.toml")).expect("the flood is TOML")
}

pub fn manifest(flood: &Flood, receiver: &Receiver) -> String {
    let integration = flood.written();
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    json!({ "environments": { "tests": { "integrations": { "flooded": integration }, "endpoints": endpoints } } })
        .to_string()
}

/// Sends the events `from..to` of the burst, several at a time.
pub async fn send(flood: &Arc<Flood>, url: &str, (from, to): (usize, usize)) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (flood, http, url) = (flood.clone(), http.clone(), url.to_owned());
        senders.spawn(async move {
            for n in (from..to).filter(|n| n % SENDERS == sender) {
                send_one(&flood, (&http, &url), n).await;
            }
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.expect("every event is taken");
    }
}

/// Sends the event of this number.
pub async fn send_one(flood: &Flood, (http, url): (&reqwest::Client, &str), n: usize) {
    let object = n % flood.objects;
    let body = flood.body.replace("{n}", &n.to_string());
    let body = body.replace("{object}", &object.to_string());
    let mut request = http.post(url).body(body);
    for (name, value) in &flood.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("ingest answers");
    assert_eq!(answer.status().as_u16(), 200, "{:?}", answer.text().await);
}

/// The number `n` of a row.
fn number(row: &Value) -> Option<u64> {
    let n = &row["n"];
    n.as_str().and_then(|n| n.parse().ok()).or(n.as_u64())
}

/// Once every event has its outcome: how many have which.
pub async fn outcomes(server: &Server, events: usize) -> BTreeMap<String, u64> {
    let sql = "SELECT outcome, count() AS n FROM events GROUP BY outcome";
    let counted = |rows: &[Value]| {
        rows.iter()
            .filter_map(|row| Some((row["outcome"].as_str()?.to_owned(), number(row)?)))
            .collect::<BTreeMap<String, u64>>()
    };
    // Those that are held have a row too; it is the last one when no window is open any more.
    let all = |rows: &[Value]| counted(rows).values().sum::<u64>() == events as u64;
    server.query_until(sql, all).await;
    let open = "SELECT count() AS n FROM (SELECT window, countIf(outcome = 'routed') AS routed FROM events \
                WHERE window IS NOT NULL GROUP BY window HAVING routed = 0)";
    server
        .query_until(open, |rows| rows.first().and_then(number) == Some(0))
        .await;
    counted(&server.query(sql).await.expect("ClickHouse answers"))
}

fn coalesced(received: &[Received]) -> BTreeMap<String, u64> {
    let mut windows = BTreeMap::new();
    for delivery in received {
        let body: Value = serde_json::from_slice(&delivery.body).expect("a wrapped body is JSON");
        let coalesced = &body["coalesced"];
        let window = coalesced["window"]
            .as_str()
            .expect("it names its window")
            .to_owned();
        windows.insert(window, coalesced["count"].as_u64().expect("it counts its events"));
    }
    windows
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_burst_comes_to_one_delivery_for_each_object_and_window() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    burst(launch(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_burst_comes_to_the_same_on_kafka() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (launch, _) = on_kafka(launch(folder.path()), "floods").await;
    burst(launch).await;
}

async fn burst(launch: Launch) {
    let receiver = Receiver::start().await;
    let flood = Arc::new(flood());
    let mut server = launch.start().await;
    let key = ("tests".to_owned(), "flooded".to_owned());
    let mut url = server.apply(&manifest(&flood, &receiver), &no_variables()).await[&key].clone();
    let events = flood.events();
    let part = events.div_ceil(KILLS + 1);
    for from in (0..events).step_by(part) {
        if from > 0 {
            // Killed while windows are open; they fire when the journal has been read.
            server = server.kill().start().await;
            let (_, path) = url.split_once("/webhook/").expect("a webhook's URL");
            url = format!("{}/webhook/{path}", server.ingest().await);
        }
        send(&flood, &url, (from, events.min(from + part))).await;
    }
    let outcomes = outcomes(&server, events).await;
    let routed = outcomes.get("routed").copied().unwrap_or_default();
    let debounced = outcomes.get("debounced").copied().unwrap_or_default();
    assert_eq!(routed + debounced, events as u64, "{outcomes:?}");
    assert!(routed < events as u64, "something is absorbed: {outcomes:?}");
    let windows = "SELECT uniqExact(window) AS n FROM events";
    let windows = server.query(windows).await.expect("ClickHouse answers");
    assert_eq!(
        number(&windows[0]),
        Some(routed),
        "one delivery for each window: {windows:?}"
    );
    let deliveries = "SELECT count() AS n FROM attempts WHERE status = 'delivered'";
    let delivered = |rows: &[Value]| number(&rows[0]) >= Some(routed);
    server.query_until(deliveries, delivered).await;
    let received = receiver.received();
    let by_window = coalesced(&received);
    assert_eq!(
        by_window.values().sum::<u64>(),
        events as u64,
        "each event is in one window"
    );
    assert_eq!(by_window.len() as u64, routed);
    let ids: BTreeSet<&String> = received
        .iter()
        .filter_map(|delivery| delivery.headers.get("webhook-id"))
        .collect();
    assert_eq!(ids.len() as u64, routed, "what is delivered twice has one id");
    println!(
        "counted: {events} events on {} objects, {routed} windows, {KILLS} kills",
        flood.objects
    );
}
