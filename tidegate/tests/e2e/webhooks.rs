//! Every recorded case of every provider, all the way: signed, sent, accepted, attributed, forwarded, verified by the
//! official library, and in ClickHouse. One server for all of them, one manifest, an integration for each case.
//! What only a provider's own key can sign must reach nobody while its keys cannot be had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate_providers::Catalogue;
use tidegate_testkit::receiver::{Received, Receiver};
use tidegate_testkit::server::Server;

use crate::recorded::{Recorded, all, manifest, now, send};
use crate::{ENDPOINT_SECRET, launch, no_variables, verify};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_of_every_provider_goes_all_the_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let server = launch(folder.path()).start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let all = all(&catalogue);
    let urls = apply(&server, &receiver, &all).await;
    let (sent, undecided) = send_all(&catalogue, &all, &urls).await;
    all_providers_are_here(&catalogue, &sent, &undecided);
    let wanted: usize = sent.iter().map(|recorded| recorded.events.len()).sum();
    let sql = "SELECT toString(event_id) AS event_id, integration, position, connection, event_type, outcome, verified \
               FROM events ORDER BY integration, position";
    let events = server.query_until(sql, |rows| rows.len() >= wanted).await;
    let routed: BTreeSet<_> = events
        .iter()
        .filter(|event| event["outcome"] == "routed")
        .map(|event| text(event, "event_id"))
        .collect();
    let sql =
        "SELECT toString(event_id) AS event_id, status, http_status FROM attempts WHERE status = 'delivered'";
    let attempts = server.query_until(sql, |rows| rows.len() >= routed.len()).await;
    let attempted: BTreeSet<_> = attempts.iter().map(|attempt| text(attempt, "event_id")).collect();
    assert_eq!(
        attempted, routed,
        "what was routed was delivered, by ClickHouse's rows"
    );
    let received = receiver.received();
    assert_eq!(received.len(), attempts.len(), "nothing came twice");
    verify::all_genuine(&received, ENDPOINT_SECRET);
    for recorded in &sent {
        check(recorded, &events, &received);
    }
    let decided = events.len();
    assert_eq!(
        decided, wanted,
        "what only the provider can sign is not decided without its keys"
    );
    let received_rows = server
        .query("SELECT count() AS n FROM requests WHERE kind = 'received'")
        .await;
    let rows = received_rows.expect("ClickHouse answers");
    assert_eq!(
        rows[0]["n"].to_string().trim_matches('"'),
        (sent.len() + undecided.len()).to_string()
    );
}

async fn apply(server: &Server, receiver: &Receiver, all: &[Recorded]) -> BTreeMap<(String, String), String> {
    let integrations = all
        .iter()
        .map(|recorded| (recorded.integration.clone(), recorded.manifest()));
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let text = manifest(&[("tests", integrations.collect::<Map<_, _>>(), endpoints)]);
    server.apply(&text, &no_variables()).await
}

/// Sends every case; those that are genuine, and those whose key only the provider's own server could tell. A case that
/// cannot be signed anew goes with its recorded signature, unless that is too old by now.
async fn send_all<'a>(
    catalogue: &Catalogue,
    all: &'a [Recorded],
    urls: &BTreeMap<(String, String), String>,
) -> (Vec<&'a Recorded>, Vec<&'a Recorded>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let (mut genuine, mut undecided) = (Vec::new(), Vec::new());
    for recorded in all {
        let definition = catalogue.get(&recorded.provider).expect("a definition");
        let url = &urls[&("tests".to_owned(), recorded.integration.clone())];
        let signed = recorded.signed(&definition, (url, now()));
        let kept = match &signed {
            Ok(_) => &mut genuine,
            Err(_) if definition.needs_network() => &mut undecided,
            Err(_) if recorded.expires => continue,
            Err(_) => &mut genuine,
        };
        kept.push(recorded);
        let sample = signed.unwrap_or_else(|_| recorded.sample(url));
        let (status, id, answer) = send(&http, &sample).await;
        let key = &recorded.integration;
        assert!((200..300).contains(&status), "{key}: {status} {answer}");
        assert_eq!(id.len(), 36, "{key}: the reply names its request");
    }
    (genuine, undecided)
}

/// Every provider but those whose keys only their own servers tell was sent for with a genuine webhook.
fn all_providers_are_here(catalogue: &Catalogue, genuine: &[&Recorded], undecided: &[&Recorded]) {
    let sent: BTreeSet<_> = genuine
        .iter()
        .map(|recorded| recorded.provider.as_str())
        .collect();
    let undecided: BTreeSet<_> = undecided
        .iter()
        .map(|recorded| recorded.provider.as_str())
        .collect();
    for definition in catalogue.definitions() {
        let name = definition.name();
        assert!(
            sent.contains(name) || undecided.contains(name),
            "{name}: nothing was sent"
        );
    }
    assert!(undecided.len() <= 1, "{undecided:?} cannot be signed");
}

fn check(recorded: &Recorded, events: &[Value], received: &[Received]) {
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
    }
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
