//! Every limit on one request: its size, its headers, its slowness, the bytes in flight, its integration's rate. In:
//! requests beyond each. Out: the status that names the limit.

use tidegate_registry::RateLimit;
use tidegate_schemas::Reason;

use crate::house::{House, Plan, Sent};

fn head(house: &House, headers: &str) -> Vec<u8> {
    format!("POST {} HTTP/1.1\r\nhost: h\r\n{headers}\r\n", house.path("open")).into_bytes()
}

async fn check(house: &House, bytes: &[u8], (status, reason): (u16, Reason)) {
    let mut wire = house.connect().await;
    wire.send(bytes).await;
    let reply = wire.reply().await;
    assert_eq!((reply.status, reply.code().as_str()), (status, reason.label()));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let mut plan = Plan::default();
    plan.limits.body_bytes_max = 20;
    let house = House::of(plan).await;
    let fits = Sent {
        body: b"01234567890123456789",
        ..Sent::to("open")
    };
    assert_eq!(house.send(fits).await.status, 200);
    // Not one byte of it was sent.
    let announced = head(&house, "content-length: 21\r\n");
    check(&house, &announced, (413, Reason::BodyTooLarge)).await;
    let asking = head(&house, "expect: 100-continue\r\ncontent-length: 99999999999\r\n");
    check(&house, &asking, (413, Reason::BodyTooLarge)).await;
    let mut chunked = head(&house, "transfer-encoding: chunked\r\n");
    chunked.extend_from_slice(b"6\r\n012345\r\nf\r\n678901234567890\r\n");
    check(&house, &chunked, (413, Reason::BodyTooLarge)).await;
    let appended = house.appended(("open", 2)).await;
    let sizes: Vec<_> = appended
        .iter()
        .map(|(meta, _)| (meta.status, meta.body_bytes))
        .collect();
    assert_eq!(sizes, [(200, 20), (413, 21), (413, 99_999_999_999), (413, 0)]);
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let mut plan = Plan::default();
    plan.limits.header_count_max = 8;
    plan.limits.header_bytes_max = 1_000;
    let house = House::of(plan).await;
    let count = |n: usize| (0..n).map(|i| format!("x-{i}: a\r\n")).collect::<String>();
    check(&house, &head(&house, &count(9)), (431, Reason::HeadersTooLarge)).await;
    // So many that they are not even parsed.
    check(&house, &head(&house, &count(500)), (431, Reason::HeadersTooLarge)).await;
    let large = |n: usize| format!("x-large: {}\r\n", "a".repeat(n));
    check(
        &house,
        &head(&house, &large(1_001)),
        (431, Reason::HeadersTooLarge),
    )
    .await;
    check(
        &house,
        &head(&house, &large(300_000)),
        (431, Reason::HeadersTooLarge),
    )
    .await;
    let mut wire = house.connect().await;
    wire.send(&head(
        &house,
        &format!("{}{}content-length: 0\r\n", count(5), large(900)),
    ))
    .await;
    assert_eq!(wire.reply().await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_answered_400() {
    let house = House::usual().await;
    check(&house, b"nonsense\r\n\r\n", (400, Reason::BadRequest)).await;
    check(
        &house,
        &head(&house, "bad name: x\r\n"),
        (400, Reason::BadRequest),
    )
    .await;
    check(
        &house,
        &head(&house, "content-length: many\r\n"),
        (400, Reason::BadRequest),
    )
    .await;
    let mut wire = house.connect().await;
    wire.send(
        &[
            head(&house, "content-length: 2\r\n"),
            b"{}nonsense\r\n\r\n".to_vec(),
        ]
        .concat(),
    )
    .await;
    assert_eq!(
        wire.reply().await.status,
        200,
        "the good one before it is answered as such"
    );
    assert_eq!(wire.reply().await.status, 400);
    wire.ends().await;
}

#[tokio::test]
async fn slow_senders_are_answered_408_and_idle_ones_are_left() {
    let mut plan = Plan::default();
    plan.limits.header_timeout_ms = 300;
    plan.limits.body_timeout_ms = 300;
    let house = House::of(plan).await;
    check(&house, b"POST /webhook/ HTT", (408, Reason::HeaderTimeout)).await;
    let mut partial = head(&house, "content-length: 10\r\n");
    partial.extend_from_slice(b"01234");
    check(&house, &partial, (408, Reason::BodyTimeout)).await;
    house.connect().await.ends().await;
    let mut idle = house.connect().await;
    idle.send(&head(&house, "content-length: 0\r\n")).await;
    assert_eq!(idle.reply().await.status, 200);
    idle.ends().await;
}

#[tokio::test]
async fn a_body_beyond_the_bytes_in_flight_is_refused_before_it_is_read() {
    let mut plan = Plan::default();
    plan.limits.inflight_bytes_max = 100;
    let house = House::of(plan).await;
    let mut first = house.connect().await;
    first
        .send(&head(&house, "expect: 100-continue\r\ncontent-length: 80\r\n"))
        .await;
    first.continued().await;
    let mut second = house.connect().await;
    second.send(&head(&house, "content-length: 21\r\n")).await;
    let refused = second.reply().await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, Reason::Overloaded.label())
    );
    assert_eq!(refused.header("retry-after"), Some("5"));
    let fits = Sent {
        body: &[b'b'; 20],
        ..Sent::to("open")
    };
    assert_eq!(house.send(fits).await.status, 200);
    first.send(&[b'a'; 80]).await;
    assert_eq!(first.reply().await.status, 200);
    let after = Sent {
        body: &[b'c'; 100],
        ..Sent::to("open")
    };
    assert_eq!(house.send(after).await.status, 200, "every share came back");
}

#[tokio::test]
async fn an_integration_beyond_its_rate_is_told_when_to_come_back() {
    let plan = Plan {
        change: |integration| {
            let limit = RateLimit {
                per_second: 1,
                burst: 3,
            };
            integration.rate_limit = (integration.key == "open").then_some(limit);
        },
        ..Plan::default()
    };
    let house = House::of(plan).await;
    let mut accepted = 0;
    let refused = loop {
        let reply = house.send(Sent::to("open")).await;
        if reply.status != 200 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 10_000, "the rate is never reached");
    };
    assert!(accepted >= 3, "the burst of 3 was cut to {accepted}");
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, Reason::RateLimited.label())
    );
    for (header, value) in [
        ("retry-after", "1"),
        ("x-ratelimit-limit", "3"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1"),
    ] {
        assert_eq!(refused.header(header), Some(value), "{header}");
    }
    house.accept_one("named").await;
}
