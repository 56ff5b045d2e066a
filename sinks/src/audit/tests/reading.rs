//! Asking: filters find what they should with bound values, answers stream, and no question changes anything.

use super::super::{Search, Subject};
use super::*;

async fn found(house: &House, search: &Search, subject: Subject) -> usize {
    let reader = Reader::new(&house.config).expect("the configuration is right");
    let answer = reader
        .query(&search.question(subject), "JSONEachRow")
        .expect("sent");
    let lines = answer.collect().await.expect("an answer");
    lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .count()
}

/// Sets one filter.
type Set = Box<dyn Fn(&mut Search)>;

/// Filters around a row, and how many requests, events and attempts each finds.
fn searches(row: &EventRow) -> Vec<(Set, [usize; 3])> {
    let (at, request, event, environment) =
        (row.received_at, row.request_id.0, row.event_id.0, row.environment);
    let text = |text: &str| Some(text.to_owned());
    let (other, connection, event_type) = (text("other"), text("c-2'"), text("contact.changed"));
    let (verdict, delivered, key, thanks) = (
        text("no_endpoint"),
        text("delivered"),
        text("CONTACT/2"),
        text("Thanks"),
    );
    vec![
        (Box::new(|_| {}), [1, 2, 1]),
        (
            Box::new(move |search| search.environment = Some(environment)),
            [1, 2, 1],
        ),
        (
            Box::new(move |search| search.integration.clone_from(&other)),
            [0, 0, 0],
        ),
        (
            Box::new(move |search| search.connection.clone_from(&connection)),
            [0, 1, 0],
        ),
        (
            Box::new(move |search| search.event_type.clone_from(&event_type)),
            [0, 2, 1],
        ),
        (
            Box::new(move |search| search.outcome.clone_from(&verdict)),
            [0, 2, 0],
        ),
        (
            Box::new(move |search| search.outcome.clone_from(&delivered)),
            [0, 0, 1],
        ),
        (Box::new(move |search| search.since = Some(at)), [1, 2, 1]),
        (Box::new(move |search| search.until = Some(at)), [0, 0, 0]),
        (Box::new(move |search| search.id = Some(request)), [1, 1, 1]),
        (Box::new(move |search| search.id = Some(event)), [0, 1, 1]),
        (Box::new(move |search| search.text.clone_from(&key)), [0, 1, 0]),
        (Box::new(move |search| search.text.clone_from(&thanks)), [0, 0, 1]),
        (Box::new(|search| search.limit = 1), [1, 1, 1]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_what_they_name() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let id = RequestId::new(at);
    let mut row = event(1, at);
    row.request_id = id;
    row.event_id = EventId::derive(id, 0, Some("c-2"));
    row.connection = "c-2'".to_owned();
    house.decide(0, 1, &[row.clone(), event(2, at)]).await;
    house
        .receive(0, &RequestMeta { id, ..request(1, at) }, b"{}")
        .await;
    let tried = AttemptRow {
        event_id: row.event_id,
        request_id: id,
        ..attempt(1, at)
    };
    house.append_rows(Topic::Attempts, 0, (1, &[tried])).await;
    house.until("SELECT (SELECT count() FROM events), (SELECT count() FROM requests), (SELECT count() FROM attempts)", "2\t1\t1").await;
    for (set, expected) in searches(&row) {
        let mut search = Search::default();
        set(&mut search);
        for (subject, expected) in [Subject::Requests, Subject::Events, Subject::Attempts]
            .into_iter()
            .zip(expected)
        {
            assert_eq!(
                found(&house, &search, subject).await,
                expected,
                "{subject:?} {search:?}"
            );
        }
    }
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_change_nothing() {
    let house = House::migrated().await;
    for statement in [
        "DROP TABLE webhook_events",
        "INSERT INTO rollup_runs VALUES ('x', 0, 1, 0)",
        "TRUNCATE TABLE rollup_runs",
    ] {
        let error = house.ask(statement).await.expect_err(statement);
        assert!(
            !error.is_retryable() || error.to_string().contains("readonly"),
            "{statement}: {error}"
        );
    }
    house.check("SELECT count() FROM rollup_runs", "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stream_and_end_with_their_error() {
    let house = House::migrated().await;
    let reader = Reader::new(&house.config).expect("the configuration is right");
    let question = Question::new("SELECT number, repeat('x', 100) FROM numbers(1000000)");
    let mut answer = reader.query(&question, "TabSeparated").expect("sent");
    let (mut bytes, mut pieces) = (0, 0);
    while let Some(piece) = answer.next().await.expect("an answer") {
        bytes += piece.len();
        pieces += 1;
    }
    assert!(
        bytes > 100_000_000 && pieces > 10,
        "{bytes} bytes in {pieces} pieces"
    );
    let error = house
        .ask("SELECT nothing FROM nowhere")
        .await
        .expect_err("no such table");
    assert!(error.to_string().contains("nowhere"), "{error}");
}
