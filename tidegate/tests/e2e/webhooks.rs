//! Every recorded case of every provider, all the way: signed, sent, accepted, attributed, forwarded, verified by the
//! official library, and in ClickHouse; and every one of them forged, which reaches nobody. One server for all of them,
//! one manifest, an integration for each case. Where a key stands elsewhere, nothing is decided until it can be had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate_providers::payload::to_json;
use tidegate_providers::{Catalogue, Sample};
use tidegate_schemas::PayloadKind;
use tidegate_testkit::receiver::{Received, Receiver};
use tidegate_testkit::server::{PATIENCE, Server};

use crate::kafka::on_kafka;
use crate::keys::{KeyServer, ROOT};
use crate::recorded::{Expected, Recorded, all, manifest, now, send};
use crate::{ENDPOINT_SECRET, launch, no_variables, verify};

/// The cases that are not sent, and why: nobody but the vendor can sign its own vector anew, and it is too old as it is.
const NOT_SENT: [&str; 1] = ["vendor_vector"];
const EVENTS: &str = "SELECT toString(event_id) AS event_id, integration, position, connection, event_type, outcome, verified, \
    payload_kind, payload FROM event_payloads ORDER BY integration, position";
/// What was sent, by the integration's key.
type Samples = BTreeMap<String, Sample>;

/// A server, what it asks and what asks it.
struct Scene {
    server: Server,
    receiver: Receiver,
    keys: KeyServer,
    catalogue: Catalogue,
    urls: BTreeMap<(String, String), String>,
    _folders: [tempfile::TempDir; 2],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_every_provider_goes_all_the_way_and_a_forgery_nowhere() {
    all_the_way(Engine::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_kafka() {
    all_the_way(Engine::Kafka).await;
}

/// What carries the topics.
#[derive(Clone, Copy)]
enum Engine {
    Embedded,
    Kafka,
}

async fn all_the_way(engine: Engine) {
    let all = all(&Catalogue::builtin().expect("the definitions compile"));
    let scene = Scene::set(&all, engine).await;
    let (sent, samples) = scene.send_all(&all).await;
    scene.undecided_without_keys(&sent).await;
    scene.keys.open();
    scene.all_arrive(&sent, &samples).await;
    scene.forgeries_do_not(&sent).await;
}

impl Scene {
    async fn set(all: &[Recorded], engine: Engine) -> Self {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let receiver = Receiver::start().await;
        let keys = KeyServer::start().await;
        let [data, definitions] = &folders;
        let catalogue = keys.overlay(definitions.path());
        let overlay = definitions.path().to_str().expect("a path of text");
        let launch = launch(data.path())
            .set("TIDEGATE__SERVER__DEFINITIONS", overlay)
            .set("TIDEGATE__EGRESS__ROOTS_PEM", ROOT);
        let launch = match engine {
            Engine::Embedded => launch,
            Engine::Kafka => on_kafka(launch, "webhooks").await.0,
        };
        let server = launch.start().await;
        let urls = apply(&server, &receiver, all).await;
        Self {
            server,
            receiver,
            keys,
            catalogue,
            urls,
            _folders: folders,
        }
    }

    fn url(&self, recorded: &Recorded) -> &str {
        &self.urls[&("tests".to_owned(), recorded.integration.clone())]
    }

    /// Sends every case, signed anew.
    async fn send_all<'a>(&self, all: &'a [Recorded]) -> (Vec<&'a Recorded>, Samples) {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let (mut sent, mut not_sent, mut samples) = (Vec::new(), Vec::new(), Samples::new());
        for recorded in all {
            let definition = self.catalogue.get(&recorded.provider).expect("a definition");
            let Ok(sample) = recorded.signed(&definition, (self.url(recorded), now())) else {
                not_sent.push(recorded.case.name.as_str());
                continue;
            };
            let (status, id, answer) = send(&http, &sample).await;
            let key = &recorded.integration;
            assert!((200..300).contains(&status), "{key}: {status} {answer}");
            assert_eq!(id.len(), 36, "{key}: the reply names its request");
            sent.push(recorded);
            samples.insert(key.clone(), sample);
        }
        assert_eq!(not_sent, NOT_SENT, "these cannot be signed");
        for definition in self.catalogue.definitions() {
            let name = definition.name();
            let is_sent = sent.iter().any(|recorded| recorded.provider == name);
            assert!(is_sent, "{name}: nothing was sent");
        }
        (sent, samples)
    }

    fn needs_keys(&self, recorded: &Recorded) -> bool {
        let definition = self.catalogue.get(&recorded.provider);
        definition.is_some_and(|definition| definition.needs_network())
    }

    /// While the keys cannot be had, what needs none is decided and the rest waits.
    async fn undecided_without_keys(&self, sent: &[&Recorded]) {
        let (waiting, others): (Vec<&Recorded>, Vec<&Recorded>) = sent
            .iter()
            .copied()
            .partition(|recorded| self.needs_keys(recorded));
        assert!(!waiting.is_empty(), "no provider's keys stand elsewhere");
        let wanted: usize = others.iter().map(|recorded| recorded.events.len()).sum();
        let began = std::time::Instant::now();
        while self.keys.asked() == 0 {
            assert!(began.elapsed() < PATIENCE, "nobody asks for the keys");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let events = self.server.query_until(EVENTS, |rows| rows.len() >= wanted).await;
        assert_eq!(events.len(), wanted, "what waits for a key is not decided");
    }

    async fn all_arrive(&self, sent: &[&Recorded], samples: &Samples) {
        let wanted: usize = sent.iter().map(|recorded| recorded.events.len()).sum();
        // A request's row, which holds the payload, may come after its event's.
        let is_whole = |event: &Value| event["payload_kind"] == "headers" || event["payload"] != "";
        let events = self
            .server
            .query_until(EVENTS, |rows| rows.len() >= wanted && rows.iter().all(is_whole))
            .await;
        assert_eq!(events.len(), wanted, "every event has one outcome");
        let routed: BTreeSet<_> = events
            .iter()
            .filter(|event| event["outcome"] == "routed")
            .map(|event| text(event, "event_id"))
            .collect();
        let sql = "SELECT toString(event_id) AS event_id FROM attempts WHERE status = 'delivered'";
        let attempts = self
            .server
            .query_until(sql, |rows| rows.len() >= routed.len())
            .await;
        let attempted: BTreeSet<_> = attempts.iter().map(|attempt| text(attempt, "event_id")).collect();
        assert_eq!(
            attempted, routed,
            "what was routed was delivered, by ClickHouse's rows"
        );
        let received = self.receiver.received();
        assert_eq!(received.len(), attempts.len(), "nothing came twice");
        verify::all_genuine(&received, ENDPOINT_SECRET);
        let mut compared = 0;
        for recorded in sent {
            let sample = &samples[&recorded.integration];
            compared += check((recorded, sample), &events, &received);
        }
        assert!(
            compared * 10 > wanted * 9,
            "only {compared} payloads of {wanted} were compared"
        );
        let rows = self
            .server
            .query("SELECT count() AS n FROM requests WHERE kind = 'received'")
            .await
            .expect("ClickHouse answers");
        let count = rows[0]["n"].to_string();
        assert_eq!(count.trim_matches('"'), sent.len().to_string());
    }

    /// `tidegate send --forge` of every case that something proves: refused by ingest, or rejected by the processor.
    async fn forgeries_do_not(&self, sent: &[&Recorded]) {
        let before = self.receiver.received().len();
        let (mut refused, mut rejected) = (BTreeSet::new(), BTreeSet::new());
        for recorded in sent.iter().filter(|recorded| recorded.case.is_signed()) {
            let (status, id) = self.forge(recorded);
            match status.as_str() {
                "401" => refused.insert(id),
                "200" | "204" => rejected.insert(id),
                _ => panic!("{}: a forgery is answered {status}", recorded.integration),
            };
        }
        assert!(
            !refused.is_empty() && !rejected.is_empty(),
            "{refused:?} {rejected:?}"
        );
        let sql = "SELECT DISTINCT toString(request_id) AS id FROM requests WHERE refusal IN ('signature_wrong', 'token_wrong')";
        let rows = self
            .server
            .query_until(sql, |rows| rows.len() >= refused.len())
            .await;
        assert_eq!(
            rows.iter().map(|row| text(row, "id")).collect::<BTreeSet<_>>(),
            refused
        );
        let ids = rejected
            .iter()
            .map(|id| format!("'{id}'"))
            .collect::<Vec<_>>()
            .join(",");
        let sql = format!(
            "SELECT toString(request_id) AS id, groupUniqArray(outcome) AS outcomes FROM events WHERE request_id IN ({ids}) GROUP BY id"
        );
        let rows = self
            .server
            .query_until(&sql, |rows| rows.len() >= rejected.len())
            .await;
        for row in rows {
            assert_eq!(row["outcomes"], json!(["rejected"]), "{row}");
        }
        let received = self.receiver.received().len();
        assert_eq!(received, before, "a forgery was forwarded");
    }

    /// Sends it with the program; what it prints of the answer: status and request id.
    fn forge(&self, recorded: &Recorded) -> (String, String) {
        let (provider, case) = (recorded.provider.as_str(), recorded.case.name.as_str());
        let arguments = [
            "send",
            provider,
            "--case",
            case,
            "--to",
            self.url(recorded),
            "--forge",
        ];
        let output = self.server.launch().command(&arguments).output();
        let output = output.expect("the program starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let id = printed.split_whitespace().find(|word| word.len() == 36);
        let id = id.unwrap_or_else(|| panic!("{provider} {case}: {printed} {complaint}"));
        let status = printed.split_whitespace().next().unwrap_or_default();
        (status.to_owned(), id.to_owned())
    }
}

async fn apply(server: &Server, receiver: &Receiver, all: &[Recorded]) -> BTreeMap<(String, String), String> {
    let integrations = all
        .iter()
        .map(|recorded| (recorded.integration.clone(), recorded.manifest()));
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let text = manifest(&[("tests", integrations.collect::<Map<_, _>>(), endpoints)]);
    server.apply(&text, &no_variables()).await
}

/// Checks a case's events; returns how many payloads were compared.
fn check((recorded, sample): (&Recorded, &Sample), events: &[Value], received: &[Received]) -> usize {
    let mut compared = 0;
    let key = recorded.integration.as_str();
    let own: Vec<_> = events
        .iter()
        .filter(|event| event["integration"] == key)
        .collect();
    assert_eq!(own.len(), recorded.events.len(), "{key}: {own:?}");
    for (event, expected) in own.iter().zip(&recorded.events) {
        assert_eq!(text(event, "event_type"), expected.event_type, "{key}: {event}");
        if expected.dropped.is_some() {
            assert_eq!(event["outcome"], "rejected", "{key}: {event}");
            assert!(delivered(received, event).is_empty(), "{key}: {event}");
            continue;
        }
        assert_eq!(event["outcome"], "routed", "{key}: {event}");
        assert_eq!(text(event, "connection"), expected.connection, "{key}: {event}");
        assert_eq!(text(event, "verified"), recorded.proof, "{key}: {event}");
        let deliveries = delivered(received, event);
        let [delivery] = deliveries.as_slice() else {
            panic!("{key}: {} deliveries of {event}", deliveries.len());
        };
        check_delivery(recorded, &expected.connection, delivery);
        compared += usize::from(check_payload((key, sample), (event, expected), delivery));
    }
    compared
}

/// The payload in ClickHouse and the one that was delivered are what was sent, masked where the recording says so.
/// Whether it could be compared: headers gain some on the way, and bytes are no JSON.
fn check_payload(
    (key, sample): (&str, &Sample),
    (event, expected): (&Value, &Expected),
    delivery: &Received,
) -> bool {
    let kind: PayloadKind = serde_json::from_value(event["payload_kind"].clone()).expect("a kind of payload");
    if matches!(kind, PayloadKind::Headers | PayloadKind::Base64) {
        return false;
    }
    let json = |bytes: &[u8]| -> Value {
        let json = to_json(kind, bytes, &sample.headers);
        serde_json::from_slice(&json)
            .unwrap_or_else(|error| panic!("{key}: {error}: {}", String::from_utf8_lossy(&json)))
    };
    let sent = expected.payload.clone().unwrap_or_else(|| json(&sample.body));
    assert_eq!(
        json(text(event, "payload").as_bytes()),
        sent,
        "{key}: in ClickHouse"
    );
    let body: Value = serde_json::from_slice(&delivery.body).expect("a wrapped body is JSON");
    assert_eq!(body["payload"], sent, "{key}: as delivered");
    true
}

fn check_delivery(recorded: &Recorded, connection: &str, delivery: &Received) {
    let key = recorded.integration.as_str();
    let header = |name: &str| delivery.headers.get(name).map_or("", String::as_str);
    assert_eq!(
        (delivery.method.as_str(), delivery.path.as_str()),
        ("POST", "/main"),
        "{key}"
    );
    assert_eq!(header("content-type"), "application/json", "{key}");
    assert_eq!(header("tidegate-integration"), key);
    assert_eq!(header("tidegate-connection"), connection, "{key}");
    assert_eq!(header("tidegate-attempt"), "1", "{key}");
    for legacy in ["x-nango-signature", "x-nango-hmac-sha256"] {
        assert_eq!(header(legacy).len(), 64, "{key}: {legacy}");
    }
    let body: Value = serde_json::from_slice(&delivery.body).expect("a wrapped body is JSON");
    let whose = match connection {
        "" => Value::Null,
        id => json!(id),
    };
    assert_eq!(body["from"], recorded.provider, "{key}");
    assert_eq!(body["providerConfigKey"], key);
    assert_eq!(body["type"], "forward", "{key}");
    assert_eq!(body["connectionId"], whose, "{key}");
    assert!(!body["payload"].is_null(), "{key}: the payload is missing");
}

fn delivered<'a>(received: &'a [Received], event: &Value) -> Vec<&'a Received> {
    let id = text(event, "event_id");
    let own = |delivery: &&Received| delivery.headers.get("webhook-id") == Some(&id);
    received.iter().filter(own).collect()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}
