//! The policies between which the simulated world changes. In: nothing. Out: one of every kind.

use std::time::Duration;

use tidegate_registry::{Debounce, Edge, FloodPolicy, Keep};

/// Every kind of policy, with windows short enough for many to end.
pub fn policies() -> Vec<FloodPolicy> {
    let debounce = |quiet: u64, max_wait: u64| Debounce {
        quiet: Duration::from_millis(quiet),
        max_wait: Duration::from_millis(max_wait),
        ..Debounce::default()
    };
    let policy = |dedupe, order, debounce, detect_changes| FloodPolicy {
        dedupe,
        order,
        debounce,
        detect_changes,
        ..FloodPolicy::default()
    };
    let bypass = Debounce {
        bypass: vec!["urgent".to_owned()],
        ..debounce(80, 400)
    };
    let leading = Debounce {
        edge: Edge::Leading,
        ..debounce(60, 300)
    };
    let both = Debounce {
        edge: Edge::Both,
        ..debounce(150, 600)
    };
    let all = Debounce {
        keep: Keep::All,
        max_bytes: 300,
        ..debounce(120, 500)
    };
    let first = Debounce {
        keep: Keep::First,
        max_events: Some(3),
        ..debounce(200, 700)
    };
    vec![
        policy(true, false, None, false),
        policy(true, true, Some(debounce(100, 400)), true),
        policy(true, false, Some(bypass), true),
        policy(true, false, Some(leading), false),
        policy(true, false, Some(both), true),
        policy(true, false, Some(all), false),
        policy(true, true, Some(first), false),
        policy(true, true, None, true),
        policy(true, false, Some(debounce(200, 200)), true),
    ]
}
