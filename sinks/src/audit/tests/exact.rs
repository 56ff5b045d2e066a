//! Exactly one row a thing: blocks sent twice, blocks cut differently after a takeover, verdicts that change.

use super::super::intake::{Readers, cut, repeat};
use super::super::ledger::Ledger;
use super::*;

async fn everything(house: &House, table: Table) -> (Vec<Message>, Vec<OffsetRange>) {
    let mut readers = Readers::new(house.broker.clone(), table.topic());
    let cut = cut(&mut readers, &house.config, (0, |_| Some(0)))
        .await
        .expect("the log can be read");
    (cut.messages, cut.ranges)
}

async fn fill(house: &House) {
    let at = earlier(5);
    for number in 0..40 {
        house.receive(number % 3, &request(number, at), b"{}").await;
        house
            .decide(number % 2, 1, &events(number * 10..number * 10 + 10, at))
            .await;
        house
            .append_rows(Topic::Attempts, number % 2, (1, &[attempt(number, at)]))
            .await;
    }
}

const COUNTS: &str =
    "SELECT (SELECT count() FROM requests), (SELECT count() FROM events), (SELECT count() FROM attempts)";
const RAW_COUNTS: &str = "SELECT (SELECT count() FROM webhook_requests), (SELECT count() FROM webhook_events), \
     (SELECT count() FROM delivery_attempts)";

#[tokio::test(flavor = "multi_thread")]
async fn a_block_sent_twice_is_stored_once() {
    let house = House::migrated().await;
    fill(&house).await;
    for table in Table::ALL {
        let (messages, ranges) = everything(&house, table).await;
        let block = house.block(table, &messages, ranges.clone());
        house.inserter().insert(&block).await.expect("the first time");
        house.inserter().insert(&block).await.expect("the second time");
        let mut readers = Readers::new(house.broker.clone(), table.topic());
        let again = repeat(&mut readers, &ranges).await.expect("the log can be read");
        house
            .inserter()
            .insert(&house.block(table, &again, ranges))
            .await
            .expect("made anew");
    }
    house.check(RAW_COUNTS, "40\t400\t40").await;
    house.check(COUNTS, "40\t400\t40").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_cut_differently_after_a_takeover_count_once() {
    let house = House::migrated().await;
    fill(&house).await;
    for rows_max in [1000, 7, 64] {
        let config = Config {
            block_rows_max: rows_max,
            ..house.config.clone()
        };
        for table in Table::ALL {
            let mut readers = Readers::new(house.broker.clone(), table.topic());
            let mut reached = std::collections::BTreeMap::new();
            for turn in 0.. {
                let at = |partition| Some(reached.get(&partition).copied().unwrap_or(0));
                let first = turn % house.broker.partitions(table.topic());
                let cut = cut(&mut readers, &config, (first, at))
                    .await
                    .expect("the log can be read");
                if cut.ranges.is_empty() {
                    break;
                }
                reached.extend(cut.ranges.iter().map(|range| (range.partition, range.to)));
                house
                    .inserter()
                    .insert(&house.block(table, &cut.messages, cut.ranges))
                    .await
                    .expect("inserted");
            }
        }
        house.check(COUNTS, "40\t400\t40").await;
    }
    house
        .check(
            "SELECT sum(c) = count() FROM (SELECT count() AS c FROM events GROUP BY event_id)",
            "1",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_in_flight_at_a_crash_is_repeated_under_its_token() {
    let house = House::migrated().await;
    fill(&house).await;
    for table in Table::ALL {
        let (messages, ranges) = everything(&house, table).await;
        let block = house.block(table, &messages, ranges);
        let mut ledger = Ledger::open(&house.broker).await.expect("a journal");
        ledger
            .announce(table, block.announced.clone())
            .await
            .expect("journalled");
        house
            .inserter()
            .insert(&block)
            .await
            .expect("inserted, and nobody learns of it");
    }
    let audit = house.audit();
    house.decide(0, 9, &events(900..901, earlier(5))).await;
    house.until("SELECT count() FROM events", "401").await;
    audit.stop().await;
    house.check(RAW_COUNTS, "40\t401\t40").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_verdict_counts_whichever_comes_last() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let (first, later) = (
        event(1, at),
        EventRow {
            outcome: Outcome::Filtered,
            ..event(1, at)
        },
    );
    house.decide(0, 5, std::slice::from_ref(&first)).await;
    house.until("SELECT outcome FROM events", "no_endpoint").await;
    house.decide(1, 8, &[later]).await;
    house.until("SELECT outcome FROM events", "filtered").await;
    house.decide(1, 5, &[first, event(2, at)]).await;
    house
        .until(
            "SELECT outcome, count() FROM events GROUP BY outcome ORDER BY outcome",
            "filtered\t1\nno_endpoint\t1",
        )
        .await;
    house.execute("OPTIMIZE TABLE webhook_events FINAL").await;
    house
        .check(
            "SELECT outcome, version FROM events ORDER BY outcome",
            "filtered\t8\nno_endpoint\t5",
        )
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_under_a_new_id_stands_for_the_old() {
    let house = House::migrated().await;
    let audit = house.audit();
    let at = earlier(5);
    let old = event(1, at);
    let new = EventRow {
        event_id: EventId::derive(old.request_id, 0, Some("c-2")),
        connection: "c-2".to_owned(),
        replay_of: Some(old.event_id),
        ..old.clone()
    };
    house.decide(0, 1, &[old, event(2, at)]).await;
    house.until("SELECT count() FROM events", "2").await;
    house.decide(0, 2, &[new]).await;
    house
        .until("SELECT connection FROM events ORDER BY connection", "c-1\nc-2")
        .await;
    house
        .check(
            "SELECT connection FROM event_payloads ORDER BY connection",
            "c-1\nc-2",
        )
        .await;
    house
        .check(
            "SELECT count(), countIf(replay_of IS NOT NULL) FROM events",
            "2\t1",
        )
        .await;
    audit.stop().await;
}
