//! What an endpoint gets, and what its answers become: body, headers, signatures; every kind of answer, or none. In:
//! one event. Out: the request as it arrived, and the attempt's row.

use crate::world::{Arrival, Plan, Reply, SECRET, SIGNING_KEY, World};
use serde_json::json;
use tidegate_registry::{Entity, Mode, StaticHeader, StoredSecret};
use tidegate_schemas::{
    Coalesced, DeliveryId, DeliveryStatus, EndpointId, Headers, PayloadKind, Reason, Secret,
};

/// What came with the provider's request.
const RECEIVED: &[(&str, &str)] = &[
    ("x-crm-topic", "contact.created"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "999"),
    ("authorization", "Basic xyz"),
    ("host", "hooks.example.com"),
    ("user-agent", "crm/1"),
    ("sec-fetch-mode", "cors"),
    ("proxy-anything", "x"),
    ("cookie", "a=b"),
    ("expect", "100-continue"),
    ("webhook-id", "theirs"),
    ("webhook-signature", "v1,theirs"),
    ("x-nango-signature", "theirs"),
    ("tidegate-attempt", "77"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapped_event_arrives_signed() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let endpoint = plan.endpoint("hook");
    let header = |name: &str, value: &str| StaticHeader {
        name: name.to_owned(),
        value: StoredSecret::new(Secret::new(value.as_bytes())),
    };
    plan.endpoints[0].headers = vec![header("x-api-key", "mine"), header("content-length", "1")];
    let mut world = plan.start().await;
    let mut meta = world.meta(&[endpoint]);
    for (name, value) in RECEIVED {
        meta.headers.push(name, *value);
    }
    let payload = br#"{"b":1.50,"a":"  kept as it is "}"#;
    world.append(&meta, payload).await;
    let arrival = world
        .receiver
        .wait_for(|arrivals| arrivals.len() == 1)
        .await
        .remove(0);

    let expected = format!(
        r#"{{"from":"crm","providerConfigKey":"crm-prod","type":"forward","connectionId":"acme","payload":{},"eventId":"{}","eventType":"contact.created"}}"#,
        std::str::from_utf8(payload).expect("text"),
        meta.id,
    );
    assert_eq!(std::str::from_utf8(&arrival.body).expect("text"), expected);
    check_headers(&arrival, &world, &meta.id.to_string());
    let official = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    official
        .verify(&arrival.body, &arrival.headers)
        .expect("the official library accepts it");

    let row = world.rows(|rows| rows.len() == 1).await.remove(0);
    assert_eq!(
        (row.status, row.reason, row.number),
        (DeliveryStatus::Delivered, Reason::Ok, 1)
    );
    assert_eq!((row.http_status, row.response.as_str()), (200, "thanks"));
    assert_eq!(
        (row.event_id, row.delivery_id),
        (meta.id, DeliveryId::derive(meta.id, endpoint))
    );
    assert_eq!((row.endpoint.as_str(), row.connection.as_str()), ("hook", "acme"));
}

/// Ours are there once, the provider's as they came, and the rest stayed behind.
fn check_headers(arrival: &Arrival, world: &World, id: &str) {
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("tidegate-event-type", "contact.created"),
        ("tidegate-attempt", "1"),
        ("tidegate-integration", "crm-prod"),
        ("tidegate-connection", "acme"),
        ("x-crm-topic", "contact.created"),
        ("x-api-key", "mine"),
        ("host", &format!("127.0.0.1:{}", world.receiver.port())),
        ("x-nango-signature", &legacy_signature(&arrival.body)),
    ] {
        assert_eq!(arrival.header(name), value, "{name}");
        assert_eq!(arrival.headers.get_all(name).iter().count(), 1, "{name}");
    }
    assert_eq!(
        arrival.headers.get_all("x-twice").iter().collect::<Vec<_>>(),
        ["1", "2"]
    );
    for name in [
        "authorization",
        "sec-fetch-mode",
        "proxy-anything",
        "cookie",
        "expect",
    ] {
        assert!(!arrival.headers.contains_key(name), "{name} went along");
    }
    assert!(arrival.header("user-agent").starts_with("tidegate/"));
}

/// Hex SHA-256 of key and body, made by another implementation than the one under test.
fn legacy_signature(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &[SIGNING_KEY.as_bytes(), body].concat());
    hex::encode(digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_payload_has_its_body() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let wrapped = plan.endpoint("wrapped");
    let raw = plan.endpoint("raw");
    plan.endpoints[1].mode = Mode::Raw;
    let mut world = plan.start().await;
    let cases = [
        (
            PayloadKind::Json,
            &b"[1, 2]"[..],
            json!([1, 2]),
            "application/json",
        ),
        (
            PayloadKind::Form,
            b"a=1&b=x+y",
            json!({"a": "1", "b": "x y"}),
            "application/x-www-form-urlencoded",
        ),
        (
            PayloadKind::Text,
            b"hello",
            json!("hello"),
            "text/plain; charset=utf-8",
        ),
        (
            PayloadKind::Base64,
            b"\xff\x00",
            json!("/wA="),
            "application/octet-stream",
        ),
        (
            PayloadKind::Headers,
            b"",
            json!({"x-goog-channel-id": "c"}),
            "application/octet-stream",
        ),
    ];
    for (kind, value, payload, content_type) in cases {
        check_payload(&world, &[wrapped, raw], (kind, value), (&payload, content_type)).await;
    }
    world.stop().await;
}

/// One event of this kind: what the wrapped and the raw endpoint get.
async fn check_payload(
    world: &World,
    endpoints: &[EndpointId],
    (kind, value): (PayloadKind, &[u8]),
    (payload, content_type): (&serde_json::Value, &str),
) {
    let mut meta = world.meta(endpoints);
    meta.payload = kind;
    if kind == PayloadKind::Headers {
        meta.headers.push("x-goog-channel-id", "c");
    }
    world.append(&meta, value).await;
    let id = meta.id.to_string();
    let arrivals = world
        .receiver
        .wait_for(|all| all.iter().filter(|one| one.header("webhook-id") == id).count() == 2);
    for arrival in arrivals.await.iter().filter(|one| one.header("webhook-id") == id) {
        // The official library takes text alone.
        if std::str::from_utf8(&arrival.body).is_ok() {
            let official = standardwebhooks::Webhook::new(SECRET).expect("a secret");
            official
                .verify(&arrival.body, &arrival.headers)
                .expect("signed as it was sent");
        }
        if arrival.path == "/raw" {
            assert_eq!(
                (arrival.body.as_ref(), arrival.header("content-type")),
                (value, content_type)
            );
            continue;
        }
        let body: serde_json::Value = serde_json::from_slice(&arrival.body).expect("JSON");
        assert_eq!(body["payload"], *payload, "{kind}");
        let encoding = (kind == PayloadKind::Base64).then_some("base64");
        assert_eq!(
            body.get("payloadEncoding").and_then(|text| text.as_str()),
            encoding,
            "{kind}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unattributed_event_has_no_connection_and_a_coalesced_one_says_so() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let endpoint = plan.endpoint("hook");
    let mut bare = tidegate_registry::Integration::new(plan.environment.id, "bare", "crm", plan.now);
    bare.flags.unattributed = Mode::Raw;
    plan.others = vec![Entity::Integration(bare)];
    let world = plan.start().await;
    let mut meta = world.meta(&[endpoint]);
    meta.connection = None;
    let window = meta.id;
    let at = meta.received_at;
    meta.coalesced = Some(Coalesced {
        window,
        count: 3,
        first_at: at,
        last_at: at,
        ids: vec![window],
    });
    world.append(&meta, b"{}").await;
    let arrival = world
        .receiver
        .wait_for(|arrivals| arrivals.len() == 1)
        .await
        .remove(0);
    let body: serde_json::Value = serde_json::from_slice(&arrival.body).expect("JSON");
    assert_eq!(body["connectionId"], serde_json::Value::Null);
    assert_eq!(
        (&body["coalesced"]["count"], &body["coalesced"]["window"]),
        (&json!(3), &json!(window))
    );
    assert!(!arrival.headers.contains_key("tidegate-connection"));

    meta.integration = "bare".into();
    meta.headers = Headers::default();
    world.append(&meta, br#"{"bare":true}"#).await;
    let arrivals = world.receiver.wait_for(|arrivals| arrivals.len() == 2).await;
    assert_eq!(arrivals[1].body, r#"{"bare":true}"#);
}

/// One event, one endpoint that behaves so: what its first attempt's row says.
async fn check(reply: Reply, expected: (DeliveryStatus, Reason, u16)) {
    let text = format!("{reply:?}");
    let mut plan = Plan::new(move |_, _| reply.clone()).await;
    let endpoint = plan.endpoint("hook");
    plan.config.timeout_ms = if expected.1 == Reason::Timeout {
        200
    } else {
        30_000
    };
    let mut world = plan.start().await;
    world.event(&[endpoint]).await;
    let row = world.rows(|rows| !rows.is_empty()).await.remove(0);
    assert_eq!(
        (row.status, row.reason, row.http_status),
        expected,
        "{text}: {}",
        row.error
    );
    assert_eq!(row.error.is_empty(), row.reason == Reason::Ok, "{text}");
    assert_eq!(
        row.next_at.is_some(),
        row.status == DeliveryStatus::Parked,
        "{text}"
    );
    assert!(row.response.len() <= 1024, "{text}");
    world.stop().await;
    assert_eq!(
        world.receiver.arrivals().len(),
        1,
        "{text}: tried again, or followed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_is_judged() {
    use DeliveryStatus::{Delivered, Parked};
    let elsewhere = vec![("location", "http://127.0.0.1:9/".to_owned())];
    for (reply, expected) in [
        (Reply::status(201), (Delivered, Reason::Ok, 201)),
        (
            Reply::Status(302, elsewhere.clone()),
            (Parked, Reason::Redirect, 302),
        ),
        (Reply::Status(307, elsewhere), (Parked, Reason::Redirect, 307)),
        (Reply::status(400), (Parked, Reason::Status, 400)),
        (Reply::status(404), (Parked, Reason::Status, 404)),
        (Reply::status(408), (Parked, Reason::Status, 408)),
        (Reply::status(410), (Parked, Reason::Gone, 410)),
        (Reply::status(425), (Parked, Reason::Status, 425)),
        (Reply::status(429), (Parked, Reason::Status, 429)),
        (Reply::status(500), (Parked, Reason::Status, 500)),
        (Reply::status(503), (Parked, Reason::Status, 503)),
        (Reply::Large(1 << 20), (Delivered, Reason::Ok, 200)),
        (Reply::Cut, (Parked, Reason::Broken, 0)),
        (Reply::Drip, (Parked, Reason::Timeout, 0)),
        (Reply::Hang, (Parked, Reason::Timeout, 0)),
    ] {
        check(reply, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_called_is_parked_with_its_reason() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    plan.allow = Vec::new();
    let port = plan.receiver.port();
    let cases = [
        (
            "name",
            format!("http://localhost:{port}/"),
            Reason::AddressRefused,
        ),
        (
            "literal",
            format!("http://127.0.0.1:{port}/"),
            Reason::AddressRefused,
        ),
        (
            "decimal",
            format!("http://2130706433:{port}/"),
            Reason::AddressRefused,
        ),
        (
            "mapped",
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            Reason::AddressRefused,
        ),
        (
            "metadata",
            "http://169.254.169.254/".to_owned(),
            Reason::AddressRefused,
        ),
        ("nothing", "http://tidegate-test.invalid/".to_owned(), Reason::Dns),
        ("scheme", "ftp://example.com/".to_owned(), Reason::UrlUnusable),
    ];
    let endpoints: Vec<_> = cases
        .iter()
        .map(|(name, url, _)| plan.endpoint_at(name, url))
        .collect();
    let mut world = plan.start().await;
    world.event(&endpoints).await;
    let rows = world.rows(|rows| rows.len() == cases.len()).await;
    for (name, _, reason) in &cases {
        let row = rows.iter().find(|row| row.endpoint == *name).expect("a row each");
        assert_eq!(
            (row.reason, row.status),
            (*reason, DeliveryStatus::Parked),
            "{name}: {}",
            row.error
        );
    }
    assert!(world.receiver.arrivals().is_empty(), "something was dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_and_a_missing_secret_are_parked_with_their_reasons() {
    let mut plan = Plan::new(|_, _| Reply::ok()).await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = unused.local_addr().expect("an address");
    drop(unused);
    let refuses = plan.endpoint_at("refuses", &format!("http://{closed}/"));
    let unsigned = plan.endpoint("unsigned");
    plan.endpoints[1].secrets = Vec::new();
    let mut world = plan.start().await;
    world.event(&[refuses, unsigned]).await;
    let rows = world.rows(|rows| rows.len() == 2).await;
    for (name, reason) in [("refuses", Reason::Connect), ("unsigned", Reason::SecretMissing)] {
        let row = rows.iter().find(|row| row.endpoint == name).expect("a row each");
        assert_eq!(
            (row.reason, row.status),
            (reason, DeliveryStatus::Parked),
            "{name}: {}",
            row.error
        );
    }
    assert!(world.receiver.arrivals().is_empty(), "nothing leaves unsigned");
}
