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
    let all = Search::default();
    let searches = [
        (all.clone(), [1, 2, 1]),
        (
            Search {
                environment: Some(row.environment),
                ..all.clone()
            },
            [1, 2, 1],
        ),
        (
            Search {
                integration: Some("other".to_owned()),
                ..all.clone()
            },
            [0, 0, 0],
        ),
        (
            Search {
                connection: Some("c-2'".to_owned()),
                ..all.clone()
            },
            [0, 1, 0],
        ),
        (
            Search {
                event_type: Some("contact.changed".to_owned()),
                ..all.clone()
            },
            [0, 2, 1],
        ),
        (
            Search {
                outcome: Some("no_endpoint".to_owned()),
                ..all.clone()
            },
            [0, 2, 0],
        ),
        (
            Search {
                outcome: Some("delivered".to_owned()),
                ..all.clone()
            },
            [0, 0, 1],
        ),
        (
            Search {
                since: Some(at),
                ..all.clone()
            },
            [1, 2, 1],
        ),
        (
            Search {
                until: Some(at),
                ..all.clone()
            },
            [0, 0, 0],
        ),
        (
            Search {
                id: Some(id.0),
                ..all.clone()
            },
            [1, 1, 1],
        ),
        (
            Search {
                id: Some(row.event_id.0),
                ..all.clone()
            },
            [0, 1, 1],
        ),
        (
            Search {
                text: Some("CONTACT/2".to_owned()),
                ..all.clone()
            },
            [0, 1, 0],
        ),
        (
            Search {
                text: Some("Thanks".to_owned()),
                ..all.clone()
            },
            [0, 0, 1],
        ),
        (Search { limit: 1, ..all }, [1, 1, 1]),
    ];
    for (search, expected) in searches {
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
