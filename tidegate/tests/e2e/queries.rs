//! Every query of `docs/queries.md` against rows in the real engine, through `tidegate query` and through the official
//! client, with what each must answer. In: rows of two integrations, written two hours ago. Out: answers, byte for byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tidegate_testkit::clickhouse::Engine;
use tidegate_testkit::server::{Launch, PATIENCE};

use crate::launch;

const DOCS: &str = include_str!("../../../docs/queries.md");
/// What the rows are: requests, events, attempts. `<N>` is N milliseconds after the first.
const ROWS: [&str; 3] = [
    "INSERT INTO webhook_requests (environment, integration, received_at, request_id, kind, method, path, body, \
     body_bytes, status, refusal) VALUES \
     ('E', 'crm', <0>, 'R01', 'received', 'POST', '/webhook/e/crm', \
      '[{\"email\":\"ada@example.com\"},{\"email\":\"bob@example.com\"}]', 57, 200, ''), \
     ('E', 'crm', <60000>, 'R02', 'received', 'POST', '/webhook/e/crm', '{\"email\":\"ada@example.com\",\"n\":2}', 33, 200, ''), \
     ('E', 'crm', <90000>, 'R03', 'received', 'POST', '/webhook/e/crm', '{\"email\":\"ada@example.com\",\"n\":2}', 33, 200, ''), \
     ('E', 'shop', <120000>, 'R04', 'received', 'POST', '/webhook/e/shop', '{}', 2, 200, ''), \
     ('E', 'shop', <130000>, 'R05', 'refused', 'POST', '/webhook/e/shop', 'forged', 5000, 401, 'signature_wrong'), \
     ('E', 'shop', <140000>, 'R06', 'refused', 'POST', '/webhook/e/shop', 'forged', 6, 401, 'signature_wrong'), \
     ('E', 'shop', <150000>, 'R07', 'refused', 'POST', '/webhook/e/shop', '', 30000000, 413, 'body_too_large')",
    "INSERT INTO webhook_events (environment, integration, received_at, event_id, request_id, position, connection, \
     attribution, event_type, delivery_key, object_key, object_version, outcome, reason, verified, endpoints, \
     payload_kind, span_start, span_bytes, decided_at, version) VALUES \
     ('E', 'crm', <0>, 'V01', 'R01', 0, 'acme', 'matched', 'contact.changed', 'd-1', 'contact/1', '1', 'routed', 'ok', \
      'body', ['P01', 'P02'], 'json', 1, 27, <500>, 1), \
     ('E', 'crm', <0>, 'V02', 'R01', 1, 'beta', 'matched', 'contact.changed', 'd-1b', 'contact/9', '1', 'no_endpoint', \
      'endpoint_missing', 'body', [], 'json', 29, 27, <500>, 1), \
     ('E', 'crm', <60000>, 'V03', 'R02', 0, 'acme', 'matched', 'contact.changed', 'd-2', 'contact/1', '2', 'routed', \
      'ok', 'body', ['P01'], 'json', 0, 33, <60500>, 2), \
     ('E', 'crm', <90000>, 'V04', 'R03', 0, 'acme', 'matched', 'contact.changed', 'd-2', 'contact/1', '2', 'duplicate', \
      'delivery_seen', 'body', [], 'json', 0, 33, <90500>, 3), \
     ('E', 'shop', <120000>, 'V05', 'R04', 0, '', 'none', 'order.paid', 'd-5', '', '', 'routed', 'ok', 'body', ['P02'], \
      'json', 0, 2, <120500>, 4), \
     ('E', 'shop', <125000>, 'V06', 'R08', 0, '', 'none', 'order.paid', '', '', '', 'rejected', 'signature_wrong', \
      'none', [], 'json', 0, 2, <125500>, 5)",
    "INSERT INTO delivery_attempts (environment, integration, received_at, attempt_id, delivery_id, event_id, connection, \
     event_type, endpoint_id, endpoint, number, status, reason, http_status, error, attempted_at, duration_micros) VALUES \
     ('E', 'crm', <0>, 'A01', 'D01', 'V01', 'acme', 'contact.changed', 'P01', 'main', 1, 'parked', 'status', 500, \
      'answered 500', <1000>, 12000), \
     ('E', 'crm', <0>, 'A02', 'D01', 'V01', 'acme', 'contact.changed', 'P01', 'main', 2, 'delivered', 'ok', 204, '', \
      <6000>, 8000), \
     ('E', 'crm', <0>, 'A03', 'D02', 'V01', 'acme', 'contact.changed', 'P02', 'billing', 1, 'delivered', 'ok', 200, '', \
      <1000>, 2000), \
     ('E', 'crm', <60000>, 'A04', 'D03', 'V03', 'acme', 'contact.changed', 'P01', 'main', 1, 'delivered', 'ok', 200, '', \
      <61000>, 4000), \
     ('E', 'shop', <120000>, 'A05', 'D04', 'V05', '', 'order.paid', 'P02', 'billing', 12, 'dead', 'timeout', 0, \
      'no whole answer within 20 s', <1800000>, 20000000)",
];

/// The questions of the page, and what each answers, tab by tab. `<H>` is the hour.
const ANSWERS: &[(&str, &str)] = &[
    (
        "What became of the events of each integration, hour by hour?",
        "<H>|crm|duplicate|1\n<H>|crm|no_endpoint|1\n<H>|crm|routed|2\n<H>|shop|rejected|1\n<H>|shop|routed|1",
    ),
    (
        "Which endpoints fail, and how often?",
        "billing|2|1|0.5|timeout\nmain|3|1|0.333|status",
    ),
    (
        "How fast do endpoints answer?",
        "main|8|12|12|12\nbilling|2|2|2|2",
    ),
    (
        "How long does an event take from the provider to the customer?",
        "crm|3|1000|6000|1",
    ),
    (
        "Which deliveries are dead, and why?",
        "billing|shop||order.paid|12|timeout|0|no whole answer within 20 s|V05",
    ),
    ("What was sent more than once by its provider?", "crm|d-2|2|1|30"),
    (
        "What was refused, and why?",
        "shop|401|signature_wrong|2\nshop|413|body_too_large|1",
    ),
    (
        "Which events belong to no connection?",
        "shop|order.paid|1|<120000>|V05",
    ),
    (
        "Which connections make the most events?",
        "crm|acme|3|75\ncrm|beta|1|25",
    ),
    (
        "Which requests are the largest?",
        "<150000>|shop|30000000|0|R07\n<130000>|shop|5000|6|R05\n<0>|crm|57|57|R01\n<60000>|crm|33|33|R02\n\
         <90000>|crm|33|33|R03\n<140000>|shop|6|6|R06\n<120000>|shop|2|2|R04",
    ),
    (
        "What is the whole story of one event?",
        "<0>|received request|POST /webhook/e/crm\n<500>|routed|ok, proven by body\n\
         <1000>|delivered|try 1 at billing: 200 \n<1000>|parked|try 1 at main: 500 answered 500\n\
         <6000>|delivered|try 2 at main: 204 ",
    ),
    (
        "What happened to one object?",
        "<0>|contact.changed|1|routed|ok\n<60000>|contact.changed|2|routed|ok\n\
         <90000>|contact.changed|2|duplicate|delivery_seen",
    ),
    (
        "Which payloads hold a text, or a value?",
        "V01|contact.changed|ada@example.com\nV03|contact.changed|ada@example.com\nV04|contact.changed|ada@example.com",
    ),
];

/// The questions of the page with their queries.
fn documented() -> Vec<(&'static str, &'static str)> {
    let sections = DOCS.split("\n## ").skip(1).map(|section| {
        let (question, rest) = section.split_once('\n').expect("a question has an answer");
        let (_, sql) = rest.split_once("```sql\n").expect("a question has its query");
        let (sql, rest) = sql.split_once("\n```").expect("a query ends");
        assert!(!rest.contains("```"), "{question}: one query a question");
        (question, sql)
    });
    sections.collect()
}

#[test]
fn every_documented_query_has_an_answer_here() {
    let questions: Vec<_> = documented().into_iter().map(|(question, _)| question).collect();
    let answered: Vec<_> = ANSWERS.iter().map(|(question, _)| *question).collect();
    assert_eq!(questions, answered);
}

/// The first time: within an hour that is over, so that every row is in it.
fn first_time() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let hours = now.expect("a clock behind 1970").as_secs() / 3600;
    ((hours - 2) * 3600 + 600) * 1000
}

/// The times that rows have, in milliseconds after the first.
const TIMES: [u64; 17] = [
    0, 500, 1000, 6000, 60_000, 60_500, 61_000, 90_000, 90_500, 120_000, 120_500, 125_000, 125_500, 130_000,
    140_000, 150_000, 1_800_000,
];

/// Puts times in the place of `<N>`, and ids in the place of their short names.
fn filled(text: &str, time: impl Fn(u64) -> String) -> String {
    let mut filled = text.replace("'E'", "'0192f0c1-2b3c-7d4e-8f90-0000000000f0'");
    for later in TIMES {
        filled = filled.replace(&format!("<{later}>"), &time(later));
    }
    for (letter, kind) in [("R", "a"), ("V", "e"), ("P", "b"), ("A", "c"), ("D", "d")] {
        for number in 1..10 {
            let id = format!("0192f0c1-2b3c-8d4e-8f90-00000000{kind}00{number}");
            filled = filled.replace(&format!("{letter}0{number}"), &id);
        }
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_query_answers_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("clickhouse"));
    let server = launch(&folder.path().join("data"))
        .set("TIDEGATE__CLICKHOUSE__URL", &engine.url())
        .set("TIDEGATE__CLICKHOUSE__USER", engine.user())
        .set("TIDEGATE__CLICKHOUSE__PASSWORD", engine.password())
        .set("TIDEGATE__CLICKHOUSE__ROLLUP_WAIT_S", "0")
        .set("TIDEGATE__CLICKHOUSE__ROLLUP_INTERVAL_S", "1")
        .start()
        .await;
    let client = clickhouse::Client::default()
        .with_url(engine.url())
        .with_user(engine.user())
        .with_password(engine.password())
        .with_database("tidegate");
    server
        .query_until("SELECT count() FROM events_per_minute", |rows| !rows.is_empty())
        .await;
    let first = first_time();
    for insert in ROWS {
        let sql = filled(insert, |later| {
            format!("fromUnixTimestamp64Milli({})", first + later)
        });
        client.query_raw(&sql).execute().await.expect(&sql);
    }
    let mut texts = BTreeMap::new();
    for later in TIMES {
        let sql = format!("SELECT fromUnixTimestamp64Milli({}, 'UTC')", first + later);
        texts.insert(later, ask(&client, &sql).await);
    }
    let hour = ask(
        &client,
        &format!("SELECT toStartOfHour(fromUnixTimestamp64Milli({first}, 'UTC'))"),
    )
    .await;
    for ((question, sql), (_, answer)) in documented().into_iter().zip(ANSWERS) {
        let answer = answer.replace("<H>", &hour);
        let answer = filled(&answer, |later| texts[&later].clone()).replace('|', "\t");
        until(&client, (question, sql), &answer).await;
        assert_eq!(
            printed(server.launch(), sql),
            answer,
            "tidegate query: {question}"
        );
    }
}

async fn ask(client: &clickhouse::Client, sql: &str) -> String {
    let mut cursor = client.query_raw(sql).fetch_bytes("TSV").expect(sql);
    let answer = cursor.collect().await.expect(sql);
    let text = String::from_utf8(answer.to_vec()).expect("text");
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}

/// Asks until the minutes are summed up.
async fn until(client: &clickhouse::Client, (question, sql): (&str, &str), expected: &str) {
    let began = Instant::now();
    loop {
        let answer = ask(client, sql).await;
        if answer == expected {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{question}\n{answer}\nis not\n{expected}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn printed(launch: &Launch, sql: &str) -> String {
    let output = launch.command(&["query", "--format", "TSV", sql]).output();
    let output = output.expect("the program starts");
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("text");
    text.strip_suffix('\n').unwrap_or(&text).to_owned()
}
