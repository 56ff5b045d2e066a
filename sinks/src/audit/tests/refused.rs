//! Rows that ClickHouse refuses: they alone are left out, an event's verdict says so, and nothing waits for them.

use super::*;

/// Makes ClickHouse refuse rows by their content, with a code that is known to be a row's fault.
const CONSTRAINT: &str = "ADD CONSTRAINT refuse CHECK event_type != 'refuse me'";

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_ends_as_failed() {
    let house = House::migrated().await;
    house
        .execute(&format!("ALTER TABLE webhook_events {CONSTRAINT}"))
        .await;
    let audit = house.audit();
    let mut rows = events(0..50, earlier(5));
    for refused in [0, 17, 49] {
        rows[refused].event_type = "refuse me".to_owned();
    }
    house.decide(0, 4, &rows).await;
    house.until("SELECT count() FROM events", "50").await;
    house
        .check(
            "SELECT outcome, reason, count(), any(position(detail, 'refuse') > 0) FROM events \
             GROUP BY outcome, reason ORDER BY outcome",
            "failed\trow_refused\t3\t1\nno_endpoint\tendpoint_missing\t47\t0",
        )
        .await;
    let named: Vec<String> = [0, 17, 49]
        .iter()
        .map(|number| request_id(*number).to_string())
        .collect();
    house
        .check(
            "SELECT request_id FROM events WHERE outcome = 'failed' ORDER BY request_id",
            &named.join("\n"),
        )
        .await;
    house.decide(0, 5, &events(60..61, earlier(5))).await;
    house.until("SELECT count() FROM events", "51").await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_attempt_blocks_nobody() {
    let house = House::migrated().await;
    house
        .execute(&format!("ALTER TABLE delivery_attempts {CONSTRAINT}"))
        .await;
    let audit = house.audit();
    let refused = AttemptRow {
        event_type: "refuse me".to_owned(),
        ..attempt(1, earlier(5))
    };
    house
        .append_rows(
            Topic::Attempts,
            0,
            (1, &[attempt(0, earlier(5)), refused, attempt(2, earlier(5))]),
        )
        .await;
    house.until("SELECT count() FROM attempts", "2").await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_nobody_knows_is_searched_for_its_row_too() {
    let house = House::migrated().await;
    let throws = "ADD CONSTRAINT refuse CHECK NOT throwIf(event_type = 'refuse me', 'nobody knows this')";
    house
        .execute(&format!("ALTER TABLE webhook_events {throws}"))
        .await;
    let audit = house.audit();
    let mut rows = events(0..9, earlier(5));
    rows[4].event_type = "refuse me".to_owned();
    house.decide(0, 4, &rows).await;
    house
        .until(
            "SELECT countIf(reason = 'row_refused'), count() FROM events",
            "1\t9",
        )
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_is_passed_over() {
    let house = House::migrated().await;
    let audit = house.audit();
    let meta = RowsMeta {
        v: 1,
        rows: 1,
        commit: 1,
    }
    .encode();
    house
        .append(Topic::Outcomes, 0, (b"no metadata".to_vec(), b"{}\n".to_vec()))
        .await;
    house
        .append(Topic::Outcomes, 0, (meta, b"no row\n".to_vec()))
        .await;
    house
        .append(Topic::Requests, 0, (b"{}".to_vec(), b"body".to_vec()))
        .await;
    house.decide(0, 2, &events(0..1, earlier(5))).await;
    house.until("SELECT count() FROM events", "1").await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_newer_build_stops_the_audit() {
    let house = House::migrated().await;
    let audit = house.audit();
    house
        .append(
            Topic::Outcomes,
            0,
            (br#"{"v":2,"rows":1,"commit":1}"#.to_vec(), b"{}\n".to_vec()),
        )
        .await;
    let ended = tokio::time::timeout(PATIENCE, audit.task)
        .await
        .expect("it stops by itself");
    let error = ended
        .expect("the audit does not panic")
        .expect_err("it may not skip the message");
    assert!(error.to_string().contains("version 2"), "{error}");
}
