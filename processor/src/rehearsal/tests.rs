//! A virtual clock: bursts, windows, and turns.

use tidegate_registry::{Debounce, RateLimit};
use uuid::Uuid;

use super::*;

/// The `n`th event of one object, `at` this time, with a content.
fn event(n: u128, at: u64, content: u64) -> RehearsedEvent<'static> {
    RehearsedEvent {
        id: EventId(Uuid::from_u128(n)),
        integration: IntegrationId(Uuid::from_u128(9)),
        connection: Some("acme"),
        event_type: "changed",
        received_at: UnixMillis(at),
        delivery_id: None,
        object_key: Some("contact/1"),
        version: None,
        time: None,
        deleted: false,
        content: Some(content),
        payload_bytes: 100,
    }
}

fn told(happened: &[Rehearsed]) -> Vec<(u128, u64, &'static str)> {
    let word = |became: &Became| match became {
        Became::SetAside(_) => "set aside",
        Became::Repeat => "repeat",
        Became::Duplicate => "duplicate",
        Became::Stale(_) => "stale",
        Became::Held(_) => "held",
        Became::Unchanged(..) => "unchanged",
        Became::HandedOn(_) => "handed on",
    };
    let tell = |it: &Rehearsed| (it.event.0.as_u128(), it.at.0, word(&it.became));
    happened.iter().map(tell).collect()
}

#[test]
fn a_burst_comes_to_one_event_when_its_window_ends() {
    let mut rehearsal = Rehearsal::new(&FloodConfig::default());
    let policy = Arc::new(FloodPolicy {
        debounce: Some(Debounce::default()),
        detect_changes: true,
        ..FloodPolicy::default()
    });
    let mut happened = Vec::new();
    for (n, at, content) in [(1, 1_000, 5), (2, 2_000, 6), (3, 9_000, 6)] {
        happened.extend(rehearsal.decide(&event(n, at, content), &policy));
    }
    happened.extend(rehearsal.finish());
    assert_eq!(rehearsal.open_windows(), 0);
    assert_eq!(
        told(&happened),
        [
            (1, 1_000, "held"),
            (2, 2_000, "held"),
            (2, 4_000, "handed on"),
            (3, 9_000, "held"),
            (3, 11_008, "unchanged"),
        ],
        "{happened:#?}"
    );
    let Became::HandedOn(handed_on) = &happened[2].became else {
        panic!("{happened:#?}");
    };
    let coalesced = handed_on.coalesced.as_ref().expect("it stands for two");
    assert_eq!((coalesced.count, coalesced.ids.len()), (2, 2));
}

fn rated(per_second: u32, burst: u32) -> Arc<FloodPolicy> {
    Arc::new(FloodPolicy {
        dedupe: false,
        rate: Some(RateLimit { per_second, burst }),
        ..FloodPolicy::default()
    })
}

#[test]
fn what_exceeds_a_rate_is_set_aside_and_decided_when_its_turn_comes() {
    let mut rehearsal = Rehearsal::new(&FloodConfig::default());
    let policy = rated(10, 2);
    let mut happened = Vec::new();
    for n in 1..=5 {
        happened.extend(rehearsal.decide(&event(n, 1_000, 0), &policy));
    }
    let quiet = RehearsedEvent {
        connection: Some("umbrella"),
        ..event(6, 1_001, 0)
    };
    happened.extend(rehearsal.decide(&quiet, &policy));
    // Its connection still waits, so it joins the end, though it came late.
    happened.extend(rehearsal.decide(&event(7, 1_250, 0), &policy));
    happened.extend(rehearsal.finish());
    assert_eq!(
        told(&happened),
        [
            (1, 1_000, "handed on"),
            (2, 1_000, "handed on"),
            (3, 1_000, "set aside"),
            (4, 1_000, "set aside"),
            (5, 1_000, "set aside"),
            (6, 1_001, "handed on"),
            (3, 1_100, "handed on"),
            (4, 1_200, "handed on"),
            (7, 1_250, "set aside"),
            (5, 1_300, "handed on"),
            (7, 1_400, "handed on"),
        ],
        "{happened:#?}"
    );
    let behind: Vec<Behind> = happened
        .iter()
        .filter_map(|it| match it.became {
            Became::SetAside(behind) => Some(behind),
            _ => None,
        })
        .collect();
    assert_eq!(behind[0], Behind::ConnectionsRate);
    assert!(
        behind[1..].iter().all(|behind| *behind == Behind::Others),
        "{behind:?}"
    );
}

#[test]
fn an_integrations_rate_holds_all_of_its_connections_up() {
    let mut rehearsal = Rehearsal::new(&FloodConfig::default());
    let policy = Arc::new(FloodPolicy {
        rate: None,
        integration_rate: rated(10, 1).rate,
        ..(*rated(1, 1)).clone()
    });
    let other = RehearsedEvent {
        connection: Some("umbrella"),
        ..event(2, 1_000, 0)
    };
    let mut happened = rehearsal.decide(&event(1, 1_000, 0), &policy);
    happened.extend(rehearsal.decide(&other, &policy));
    happened.extend(rehearsal.finish());
    assert_eq!(
        told(&happened),
        [
            (1, 1_000, "handed on"),
            (2, 1_000, "set aside"),
            (2, 1_100, "handed on")
        ]
    );
    assert_eq!(happened[1].became, Became::SetAside(Behind::IntegrationsRate));
}

#[test]
fn what_finds_no_room_to_wait_passes() {
    let mut rehearsal = Rehearsal::new(&FloodConfig::default()).setting_aside_within(0);
    let policy = rated(1, 1);
    let mut happened = rehearsal.decide(&event(1, 1_000, 0), &policy);
    happened.extend(rehearsal.decide(&event(2, 1_000, 0), &policy));
    let Became::HandedOn(HandedOn { unchecked, .. }) = &happened[1].became else {
        panic!("{happened:#?}");
    };
    assert!(unchecked.is_some_and(|note| note.contains("set_aside_bytes_max")));
}
