//! What windows held and nobody has in memory any more: it is read again, together for all windows that one request ends.

use serde_json::{Value, json};
use tidegate_schemas::Outcome;

use super::House;
use super::floods::{append, event, outcomes, world};
use crate::Config;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_two_windows_has_the_events_of_both_read_together() {
    let debounce = json!({"quiet_ms": 3_600_000, "max_wait_ms": 3_600_000, "keep": "first", "max_events": 5});
    let world = world(&json!({ "debounce": debounce }));
    let mut house = House::new().await;
    let mut config = Config::default();
    config.flood.held_bytes_max = 0;
    let about = |object: &str, n: u64| event(&format!("{object}{n}"), object, n);
    let singles = (1..=3)
        .map(|n| about("a", n))
        .chain((1..=4).map(|n| about("b", n)));
    let singles: Vec<Vec<Value>> = singles.map(|event| vec![event]).collect();
    append(&house, &world, &singles).await;
    house.start(&world, config);
    house.rows(7).await;
    // For the first of these `a` is read again, because its window might end. The other ends it, and that of `b` too.
    let bundles = [
        vec![about("a", 4), about("c", 1)],
        vec![about("a", 5), about("b", 5)],
    ];
    append(&house, &world, &bundles).await;
    let routed = |outcome: Outcome| outcome == Outcome::Routed;
    let rows = outcomes(&house, 11, |rows| {
        rows.iter().filter(|row| routed(row.outcome)).count() >= 2
    })
    .await;
    house.stop().await.expect("a clean stop");
    let handed_on = rows.iter().filter(|row| routed(row.outcome));
    let mut handed_on: Vec<&str> = handed_on.map(|row| &*row.delivery_key).collect();
    handed_on.sort_unstable();
    assert_eq!(handed_on, ["a1", "b1"]);
}
