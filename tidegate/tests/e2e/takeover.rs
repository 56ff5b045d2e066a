//! Two processors on one Kafka with windows open: one of them is killed, or ended in order, or the policy is another one by
//! then, and the other fires every window once, with the event that it kept. In: processes of their own for each role, one
//! ClickHouse. Out: rows and deliveries that add up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{PATIENCE, Server};

use crate::apart::{beside, count};
use crate::floods::{Flood, flood, send_one};
use crate::writers::with_engine;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// Enough for both processors to have some.
const INTEGRATIONS: usize = 8;
/// How many objects each integration has events about.
const OBJECTS: usize = 3;

/// The system under test, and how many events it was sent of each integration.
struct World {
    flood: Flood,
    whole: Server,
    receiver: Receiver,
    http: reqwest::Client,
    urls: Vec<String>,
    sent: usize,
}

fn key(number: usize) -> String {
    format!("flooded-{number}")
}

impl World {
    /// Applies the integrations on a server that takes requests and answers for them.
    async fn on(whole: Server, debounce: &Value) -> Self {
        let (receiver, mut flood) = (Receiver::start().await, flood());
        flood.objects = OBJECTS;
        let integrations: Map<_, _> = (0..INTEGRATIONS)
            .map(|number| {
                let mut integration = flood.written();
                integration["flood"] = json!({ "debounce": debounce });
                (key(number), integration)
            })
            .collect();
        let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
        let text =
            json!({ "environments": { "tests": { "integrations": integrations, "endpoints": endpoints } } });
        let urls = whole.apply(&text.to_string(), &no_variables()).await;
        Self {
            flood,
            whole,
            receiver,
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            urls: urls.into_values().collect(),
            sent: 0,
        }
    }

    /// One event about each object of each integration.
    async fn send(&mut self) {
        for _ in 0..OBJECTS {
            for url in &self.urls {
                send_one(&self.flood, (&self.http, url), self.sent).await;
            }
            self.sent += 1;
        }
    }

    /// Sends until each of these has windows open.
    async fn open_windows_on(&mut self, processors: [&Server; 2]) {
        let began = Instant::now();
        loop {
            self.send().await;
            let mut open = true;
            for processor in processors {
                open &= count(
                    &processor.get("/metrics").await,
                    "tidegate_processor_open_windows",
                ) > 0.0;
            }
            if open {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "one has no windows:\n{}",
                processors[0].printed()
            );
        }
    }

    async fn set(&self, debounce: &Value) {
        for number in 0..INTEGRATIONS {
            let path = format!("/api/v1/environments/tests/integrations/{}", key(number));
            let body = json!({ "flood": { "debounce": debounce } });
            self.whole
                .patch(&path, &body)
                .await
                .expect("the policy can be set");
        }
    }

    /// Waits until no window is open any more, and judges everything so far.
    async fn settled(&self) {
        let sql = "SELECT toString(event_id) AS event, toString(window) AS window, outcome FROM events";
        let events = self.sent * INTEGRATIONS;
        let settled = |rows: &[Value]| {
            let fired = windows_of(rows, "routed");
            rows.len() >= events && windows_of(rows, "debounced").is_subset(&fired)
        };
        let rows = self.whole.query_until(sql, settled).await;
        assert!(
            settled(&rows),
            "{} rows of {events}, windows stay open:\n{}",
            rows.len(),
            self.whole.printed()
        );
        let ids: BTreeSet<&str> = rows.iter().map(|row| text(row, "event")).collect();
        assert_eq!(
            (ids.len(), rows.len()),
            (events, events),
            "every event has one true outcome"
        );
        let mut routed: BTreeMap<&str, &str> = BTreeMap::new();
        for row in &rows {
            match (text(row, "outcome"), text(row, "window")) {
                ("debounced", _) => {}
                ("routed", window) => {
                    let other = routed.insert(text(row, "event"), window);
                    assert_eq!(other, None, "{row}");
                }
                _ => panic!("an event has another outcome: {row}"),
            }
        }
        let windows: Vec<&str> = routed
            .values()
            .copied()
            .filter(|window| !window.is_empty())
            .collect();
        let distinct: BTreeSet<&&str> = windows.iter().collect();
        assert_eq!(distinct.len(), windows.len(), "a window hands one event on");
        self.delivered(&routed.keys().copied().collect(), events).await;
    }

    /// Waits for the deliveries of what was routed; each stands for all of its window, which kept the last that came.
    async fn delivered(&self, routed: &BTreeSet<&str>, events: usize) {
        let began = Instant::now();
        let deliveries = loop {
            let mut deliveries: BTreeMap<String, Value> = BTreeMap::new();
            for delivery in self.receiver.received() {
                let body: Value = serde_json::from_slice(&delivery.body).expect("a wrapped body is JSON");
                let id = text(&body, "eventId").to_owned();
                let other = deliveries.insert(id, body.clone());
                assert!(
                    other.is_none_or(|other| other == body),
                    "what comes twice is the same: {body}"
                );
            }
            if deliveries.len() >= routed.len() || began.elapsed() > PATIENCE {
                break deliveries;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let delivered: BTreeSet<&str> = deliveries.keys().map(String::as_str).collect();
        assert_eq!(
            delivered, *routed,
            "what is routed is delivered, and nothing else"
        );
        let mut stood_for = 0;
        for (id, body) in &deliveries {
            let Some(ids) = body["coalesced"]["ids"].as_array() else {
                stood_for += 1;
                continue;
            };
            stood_for += ids.len();
            assert_eq!(body["coalesced"]["count"], json!(ids.len()), "{body}");
            assert_eq!(ids.last(), Some(&json!(id)), "the last that came is kept: {body}");
        }
        assert_eq!(
            stood_for, events,
            "each event is in one window, or passed by itself"
        );
    }
}

fn text<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap_or_default()
}

fn windows_of<'r>(rows: &'r [Value], outcome: &str) -> BTreeSet<&'r str> {
    rows.iter()
        .filter(|row| row["outcome"] == outcome)
        .map(|row| text(row, "window"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_windows_over_fires_each_of_them_once() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, _engine) = with_engine(launch(folders[0].path()), "takeover").await;
    let launch = launch.set("TIDEGATE_ROLES", "api,ingest,forward,audit");
    let quiet = json!({"quiet": "6s", "max_wait": "20s"});
    let mut world = World::on(launch.start().await, &quiet).await;
    let processor = |folder: usize| beside(&launch, folders[folder].path(), "processor");
    let (first, second) = (processor(1).start().await, processor(2).start().await);

    // Killed.
    world.open_windows_on([&first, &second]).await;
    let first = first.kill();
    world.send().await;
    world.settled().await;

    // Ended in order, under another policy than that under which its windows were opened.
    let first = first.start().await;
    world.open_windows_on([&first, &second]).await;
    world.set(&json!("off")).await;
    world.send().await;
    let second = {
        let launch = second.launch().clone();
        let status = second.terminate().await;
        assert!(status.success(), "SIGTERM ends with {status}");
        launch
    };
    world.send().await;
    world.settled().await;

    // Killed, with a policy that is longer than that of its windows.
    world.set(&quiet).await;
    let second = second.start().await;
    world.open_windows_on([&first, &second]).await;
    world.set(&json!({"quiet": "50s", "max_wait": "60m"})).await;
    let _second = second.kill();
    world.set(&quiet).await;
    world.send().await;
    world.settled().await;
}
