//! What stands in the columns: every value of every row once, masked requests, payloads by their span, terms.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_an_event_holds_its_value() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let (received, decided) = (at.0, at.0 + 877);
    let full = EventRow {
        detail: "lost to 8".to_owned(),
        window: Some(EventId::derive(request_id(7), 0, None)),
        endpoints: vec![
            "0192f0c1-0000-7000-8000-0000000000f1"
                .parse()
                .expect("a literal UUID"),
        ],
        span_start: 3,
        span_bytes: 4,
        payload: "é\0".to_owned(),
        replay_of: Some(EventId::derive(request_id(8), 0, None)),
        decided_at: UnixMillis(decided),
        ..event(1, at)
    };
    house.decide(0, 77, std::slice::from_ref(&full)).await;
    let columns = "environment, integration, toUnixTimestamp64Milli(received_at), event_id, request_id, \
         request_partition, request_offset, position, provider, connection, attribution, event_type, delivery_key, \
         object_key, object_version, toUnixTimestamp64Milli(event_time), outcome, reason, detail, verified, window, \
         endpoints, payload_kind, span_start, span_bytes, hex(text), replay_of, \
         toUnixTimestamp64Milli(decided_at), version";
    let (event, window, old) = (
        full.event_id,
        full.window.expect("set above"),
        full.replay_of.expect("set above"),
    );
    let expected = format!(
        "{ENVIRONMENT}\tcrm\t{received}\t{event}\t{}\t1\t1\t0\tacme\tc-1\tmatched\tcontact.changed\td-1\tcontact/1\t7\t\
         1700000000123\tno_endpoint\tendpoint_missing\tlost to 8\tbody\t{window}\t\
         ['0192f0c1-0000-7000-8000-0000000000f1']\tjson\t3\t4\tC3A900\t{old}\t{decided}\t77",
        full.request_id
    );
    house
        .until(&format!("SELECT {columns} FROM webhook_events"), &expected)
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_an_attempt_holds_its_value() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let [received, attempted, next] = [0, 1877, 2877].map(|later| at.0 + later);
    let closing = AttemptRow {
        error: "timed out".to_owned(),
        attempted_at: UnixMillis(attempted),
        next_at: Some(UnixMillis(next)),
        ..attempt(1, at)
    };
    house
        .append_rows(Topic::Attempts, 0, (78, std::slice::from_ref(&closing)))
        .await;
    let columns = "environment, integration, toUnixTimestamp64Milli(received_at), attempt_id, delivery_id, event_id, \
         request_id, event_partition, event_offset, provider, connection, event_type, endpoint_id, endpoint, url, number, \
         status, reason, http_status, error, toUnixTimestamp64Milli(attempted_at), duration_micros, response, \
         toUnixTimestamp64Milli(next_at), version";
    let AttemptRow {
        attempt_id,
        delivery_id,
        event_id,
        request_id,
        endpoint_id,
        ..
    } = &closing;
    let expected = format!(
        "{ENVIRONMENT}\tcrm\t{received}\t{attempt_id}\t{delivery_id}\t{event_id}\t{request_id}\t1\t5\tacme\tc-1\t\
         contact.changed\t{endpoint_id}\tmain\thttps://example.com/hook\t1\tdelivered\tok\t204\ttimed out\t{attempted}\t\
         1500\tthanks\t{next}\t78"
    );
    house
        .until(&format!("SELECT {columns} FROM attempts"), &expected)
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_an_unknown_definition_shows_no_secret() {
    let house = House::migrated().await;
    let audit = house.audit();
    let mut meta = request(1, earlier(5));
    meta.provider = "nobody-defined-this".to_owned();
    meta.query = "token=abc".to_owned();
    meta.headers.push("x-token", "secret");
    meta.refusal = Some(Reason::SignatureWrong);
    meta.detail = "no active secret made it".to_owned();
    meta.kind = RequestKind::Refused;
    meta.status = 401;
    house.receive(0, &meta, br#"{"token":"secret"}"#).await;
    let columns = "kind, status, refusal, detail, query, headers['x-token'], body, body_bytes, remote, spilled, \
         request_partition, request_offset, appended_at >= received_at";
    let expected = "refused\t401\tsignature_wrong\tno active secret made it\t*********\t******\t\t2\t192.0.2.7\tfalse\t0\t0\t1";
    house
        .until(&format!("SELECT {columns} FROM requests"), expected)
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_command_is_no_request() {
    let house = House::migrated().await;
    let audit = house.audit();
    let command = RequestMeta {
        kind: RequestKind::Replay,
        ..request(1, earlier(5))
    };
    house.receive(0, &command, b"").await;
    house.receive(0, &request(2, earlier(5)), b"{}").await;
    house.until("SELECT request_offset FROM requests", "1").await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_the_span_of_its_body_or_its_text() {
    let house = House::migrated().await;
    let at = earlier(5);
    let provider = house
        .masker
        .catalogue
        .names()
        .next()
        .expect("there are definitions")
        .to_owned();
    let audit = house.audit();
    let body = br#"[{"a":1},{"b":2}]"#;
    let meta = RequestMeta {
        provider,
        ..request(1, at)
    };
    house.receive(0, &meta, body).await;
    let second = EventRow {
        position: 1,
        span_start: 9,
        span_bytes: 7,
        ..event(1, at)
    };
    let text = EventRow {
        payload: "own text".to_owned(),
        ..event(2, at)
    };
    house.decide(0, 1, &[second, text]).await;
    house
        .until(
            "SELECT payload FROM event_payloads ORDER BY payload",
            "own text\n{\"b\":2}",
        )
        .await;
    audit.stop().await;
}
