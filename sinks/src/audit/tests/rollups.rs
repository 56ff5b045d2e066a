//! Per-minute sums: a minute is written when it is complete, again for late rows, and repeats count once.

use super::super::rollup::Rollups;
use super::*;

async fn look(rollups: &mut Rollups) {
    rollups.look().await.expect("clickhouse is there");
}

fn rollups(house: &House) -> Rollups {
    Rollups::new(
        connect(&house.config).expect("the configuration is right"),
        &house.config,
    )
}

const EVENTS: &str =
    "SELECT outcome, sum(events), sum(deliveries) FROM events_per_minute GROUP BY outcome ORDER BY outcome";

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_and_repeats_still_count_right() {
    let house = House::migrated().await;
    // The audit's own task must not take up minutes meanwhile.
    let config = Config {
        rollup_interval_s: 3600,
        ..house.config.clone()
    };
    let house = House { config, ..house };
    let audit = house.audit();
    let (at, other) = (earlier(5), earlier(7));
    let endpoint = "0192f0c1-0000-7000-8000-0000000000f1"
        .parse()
        .expect("a literal UUID");
    let routed = |row: EventRow| EventRow {
        outcome: Outcome::Routed,
        endpoints: vec![endpoint],
        ..row
    };
    house.decide(0, 1, &events(0..10, at)).await;
    house.decide(1, 1, &events(10..15, other)).await;
    house.until("SELECT count() FROM events", "15").await;
    let mut owner = rollups(&house);
    look(&mut owner).await;
    house.check(EVENTS, "no_endpoint\t15\t0").await;
    house
        .check("SELECT count() FROM rollup_runs WHERE rollup = 'events'", "2")
        .await;
    look(&mut owner).await;
    house
        .check("SELECT count() FROM rollup_runs WHERE rollup = 'events'", "2")
        .await;

    house.decide(0, 2, &events(0..10, at)).await;
    let later: Vec<EventRow> = events(0..4, at).into_iter().map(routed).collect();
    house.decide(0, 3, &later).await;
    house
        .until("SELECT count(), countIf(outcome = 'routed') FROM events", "15\t4")
        .await;
    look(&mut owner).await;
    house.check(EVENTS, "no_endpoint\t11\t0\nrouted\t4\t4").await;

    let mut next_owner = rollups(&house);
    look(&mut next_owner).await;
    house.check(EVENTS, "no_endpoint\t11\t0\nrouted\t4\t4").await;
    house
        .check(
            "SELECT sum(events) FROM events_per_minute WHERE minute = (SELECT min(minute) FROM rollup_runs)",
            "5",
        )
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_sums_up_by_itself() {
    let house = House::migrated().await;
    let config = Config {
        rollup_interval_s: 1,
        ..house.config.clone()
    };
    let house = House { config, ..house };
    let audit = house.audit();
    let at = earlier(3);
    let body = br#"{"a":1}"#;
    house
        .receive(
            0,
            &RequestMeta {
                body_bytes: 7,
                ..request(1, at)
            },
            body,
        )
        .await;
    let tries = [
        attempt(1, at),
        AttemptRow {
            duration_micros: 500,
            ..attempt(2, at)
        },
    ];
    house.append_rows(Topic::Attempts, 0, (1, &tries)).await;
    house
        .until(
            "SELECT sum(requests), sum(body_bytes) FROM requests_per_minute",
            "1\t7",
        )
        .await;
    house
        .until(
            "SELECT sum(attempts), sum(duration_micros), max(duration_micros_max), any(http_status) FROM attempts_per_minute",
            "2\t2000\t1500\t204",
        )
        .await;
    audit.stop().await;
}
