//! The drain: no new connections, requests in flight finished, an end within the limit. In: requests under way while it
//! begins. Out: their replies, and its return.

use crate::house::{House, Plan, Sent, soon};
use crate::wire::Wire;

async fn begun(house: &House) -> Wire {
    let mut wire = house.connect().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
        house.path("open")
    );
    wire.send(head.as_bytes()).await;
    wire.continued().await;
    wire
}

#[tokio::test]
async fn a_request_in_flight_gets_its_reply_and_new_connections_are_refused() {
    let house = House::usual().await;
    let mut under_way = begun(&house).await;
    let mut idle = house.connect().await;
    idle.send(&Sent::to("open").bytes(&house)).await;
    assert_eq!(idle.reply().await.status, 200);
    let address = house.ingest.address();
    let drained = tokio::spawn(house.ingest.drain());
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of listening", refused).await;
    idle.ends().await;
    assert!(!drained.is_finished() && under_way.is_silent());
    under_way.send(b"body").await;
    assert_eq!(under_way.reply().await.status, 200);
    under_way.ends().await;
    soon("the drain's end", drained).await.expect("no panic");
    let message = house
        .broker
        .reader(tidegate_schemas::Topic::Requests, 2, 1)
        .next(1, 1 << 20)
        .await;
    assert_eq!(message.expect("readable")[0].value.as_ref(), b"body");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_the_drain_beyond_its_limit() {
    let mut plan = Plan::default();
    plan.limits.drain_timeout_ms = 300;
    plan.limits.body_timeout_ms = 3_600_000;
    let house = House::of(plan).await;
    let stuck = begun(&house).await;
    soon("the drain's end", house.ingest.drain()).await;
    stuck.ends().await;
}
