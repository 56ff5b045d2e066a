//! ClickHouse away, killed in the middle, and back: no row is lost, none is seen twice.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_until_clickhouse_is_there() {
    let mut house = House::open().await;
    house.engine.kill();
    let audit = house.audit();
    house.decide(0, 1, &events(0..10, earlier(5))).await;
    down(&audit.status).await;
    assert!(!audit.status.standing().migrated);
    house.engine.restart();
    house.until("SELECT count() FROM events", "10").await;
    assert_eq!(audit.status.standing().last_error, None);
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_lose_nothing() {
    const BATCHES: u32 = 300;
    let mut house = House::migrated().await;
    let audit = house.audit();
    for kills in 1..=3 {
        for batch in (kills - 1) * BATCHES / 3..kills * BATCHES / 3 {
            house
                .decide(
                    batch % 2,
                    u64::from(batch),
                    &events(batch * 20..batch * 20 + 20, earlier(5)),
                )
                .await;
            house.receive(batch % 3, &request(batch, earlier(5)), b"{}").await;
            if batch % 100 == 50 {
                house.engine.kill();
            }
        }
        down(&audit.status).await;
        house.engine.restart();
    }
    house
        .until("SELECT count(), uniqExact(event_id) FROM events", "6000\t6000")
        .await;
    house
        .until("SELECT count(), uniqExact(request_id) FROM requests", "300\t300")
        .await;
    audit.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_stops_during_an_outage_goes_on_where_it_was() {
    let mut house = House::migrated().await;
    let audit = house.audit();
    house.decide(0, 1, &events(0..10, earlier(5))).await;
    house.until("SELECT count() FROM events", "10").await;
    house.engine.kill();
    house.decide(0, 2, &events(10..20, earlier(5))).await;
    down(&audit.status).await;
    audit.stop().await;
    house.engine.restart();
    let next = house.audit();
    house.decide(1, 3, &events(20..30, earlier(5))).await;
    house
        .until("SELECT count(), uniqExact(event_id) FROM events", "30\t30")
        .await;
    house.check("SELECT count() FROM webhook_events", "30").await;
    next.stop().await;
}

/// Waits until the audit has noticed that ClickHouse is away.
async fn down(status: &Status) {
    let noticing = async {
        while status.standing().last_error.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticing)
        .await
        .expect("the audit notices");
}
