//! What becomes of a delivery whose event is gone from its topic before it was decided: it ends, and a row says so.
//! In: an event whose first try failed, and a topic that lost it. Out: rows.

use std::time::Duration;

use tidegate_schemas::{DeliveryStatus, Reason, Topic};

use crate::world::{PARTITION, Plan, Reply};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_whose_event_is_gone_ends_with_a_row_that_names_it() {
    let mut plan = Plan::new(|_, _| Reply::status(500)).await;
    let endpoint = plan.endpoint("hook");
    let mut world = plan.start().await;
    world.event(&[endpoint]).await;
    let first = world.rows(|rows| rows.len() == 1).await.remove(0);
    world
        .broker
        .trim(Topic::Events, PARTITION, first.event_offset + 1)
        .await
        .expect("the log has room");
    world.clock.advance(Duration::from_secs(7));
    let last = world.rows(|rows| rows.len() == 2).await.remove(1);
    assert_eq!(
        (last.status, last.reason, last.number),
        (DeliveryStatus::Dead, Reason::EventGone, 0)
    );
    assert_eq!(
        (last.event_partition, last.event_offset, last.endpoint_id),
        (first.event_partition, first.event_offset, first.endpoint_id),
        "the place by which its earlier tries are found"
    );
    assert_eq!(
        (last.environment, last.endpoint.as_str()),
        (world.environment, "hook")
    );
    // It has ended for every later owner too.
    world.stop().await;
    world.run();
    world.clock.advance(Duration::from_secs(3_600));
    world.stop().await;
    assert_eq!(world.rows(|rows| rows.len() >= 2).await.len(), 2);
    assert_eq!(world.receiver.arrivals().len(), 1);
}
