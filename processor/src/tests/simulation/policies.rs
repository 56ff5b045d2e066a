//! The policies between which the simulated world changes. In: nothing. Out: one of every kind, some of them with rates
//! that the busier connections exceed and the seldom one does not.

use std::time::Duration;

use tidegate_registry::{Debounce, Edge, FloodPolicy, Keep, RateLimit};

/// Every kind of policy, with windows short enough for many to end.
pub fn policies() -> Vec<FloodPolicy> {
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
    let rate = |per_second, burst| Some(RateLimit { per_second, burst });
    let with = |policy: FloodPolicy, rate, integration_rate| FloodPolicy {
        rate,
        integration_rate,
        ..policy
    };
    let unlimited = vec![
        policy(true, false, None, false),
        policy(true, true, Some(debounce(100, 400)), true),
        policy(true, false, Some(bypass), true),
        policy(true, false, Some(leading), false),
        policy(true, false, Some(both.clone()), true),
        policy(true, false, Some(all.clone()), false),
        policy(true, true, Some(first), false),
        policy(true, true, None, true),
        policy(true, false, Some(debounce(200, 200)), true),
    ];
    let limited = [
        with(policy(true, false, None, false), rate(25, 4), None),
        with(
            policy(true, true, Some(debounce(100, 400)), true),
            rate(40, 10),
            None,
        ),
        with(policy(true, false, Some(both), true), None, rate(60, 5)),
        with(policy(true, false, Some(all), false), rate(30, 1), rate(70, 10)),
    ];
    unlimited.into_iter().chain(limited).collect()
}

fn debounce(quiet: u64, max_wait: u64) -> Debounce {
    Debounce {
        quiet: Duration::from_millis(quiet),
        max_wait: Duration::from_millis(max_wait),
        ..Debounce::default()
    }
}

fn policy(dedupe: bool, order: bool, debounce: Option<Debounce>, detect_changes: bool) -> FloodPolicy {
    FloodPolicy {
        dedupe,
        order,
        debounce,
        detect_changes,
        ..FloodPolicy::default()
    }
}
