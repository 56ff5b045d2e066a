//! What flood control remembers and what it costs: the rules that need more than one step, the journal, and the bytes.
//! Whole histories are judged by the simulation.

use std::time::Duration;

use tidegate_broker::journal::Changes;
use tidegate_registry::Debounce;
use uuid::Uuid;

use super::*;

pub(crate) fn limits(bytes_max: usize) -> Limits {
    let budget = || Budget::new(bytes_max, 1);
    Limits {
        ttl: Duration::from_secs(100),
        seen: budget(),
        objects: budget(),
        windows: budget(),
    }
}

fn begun(limits: &Limits) -> FloodControl {
    let mut flood = FloodControl::within(limits);
    flood.begin(UnixMillis(1000), || FingerprintKey([3; 16]));
    flood
}

/// The `n`th event, `at` this time, about an object.
fn arrival<'a>(n: u64, at: u64, object: &'a str) -> Arrival<'a> {
    Arrival {
        id: EventId(Uuid::from_u128(u128::from(n) + 1)),
        integration: IntegrationId(Uuid::from_u128(9)),
        connection: Some("acme"),
        event_type: "changed",
        place: Place {
            offset: n,
            position: 0,
        },
        received_at: UnixMillis(at),
        delivery: None,
        object: Some(object),
        deleted: false,
        version: None,
        time: None,
        payload_bytes: 100,
        on_demand: false,
    }
}

fn debounced() -> FloodPolicy {
    FloodPolicy {
        debounce: Some(Debounce::default()),
        ..FloodPolicy::default()
    }
}

#[test]
fn a_delivery_id_is_remembered_for_one_to_two_ttls() {
    let mut flood = begun(&limits(1 << 20));
    let policy = FloodPolicy::default();
    let mut judge = |n: u64, at: u64, delivery: &str| {
        let arrival = Arrival {
            delivery: Some(DeliveryKey::Id(delivery)),
            ..arrival(n, at, "o")
        };
        flood.judge(&arrival, &policy, UnixMillis(at)).fate
    };
    assert_eq!(judge(1, 1_000_000, "a"), Fate::Passes(None));
    assert_eq!(judge(1, 1_000_001, "a"), Fate::Repeat);
    assert_eq!(judge(2, 1_000_002, "a"), Fate::Duplicate);
    assert_eq!(judge(3, 1_099_999, "a"), Fate::Duplicate);
    assert_eq!(
        judge(4, 1_100_000, "b"),
        Fate::Passes(None),
        "the generation turns"
    );
    assert_eq!(judge(5, 1_199_999, "a"), Fate::Duplicate);
    assert_eq!(
        judge(6, 1_200_000, "a"),
        Fate::Passes(None),
        "after two it is forgotten"
    );
    assert_eq!(judge(7, 1_200_001, "b"), Fate::Duplicate);
}

#[test]
fn a_request_from_the_future_turns_no_generation() {
    let mut flood = begun(&limits(1 << 20));
    let policy = FloodPolicy::default();
    let mut judge = |n: u64, received_at: u64, now: u64| {
        let arrival = Arrival {
            delivery: Some(DeliveryKey::Id("a")),
            ..arrival(n, received_at, "o")
        };
        flood.judge(&arrival, &policy, UnixMillis(now)).fate
    };
    assert_eq!(judge(1, 1_000_000, 1_000_000), Fate::Passes(None));
    assert_eq!(judge(2, 9_000_000, 1_000_001), Fate::Duplicate);
    assert_eq!(judge(3, 9_000_000, 1_000_002), Fate::Duplicate);
}

#[test]
fn when_there_is_no_room_events_pass_and_say_so() {
    let mut flood = begun(&limits(0));
    let policy = FloodPolicy {
        order: true,
        ..debounced()
    };
    let mut passed = Vec::new();
    for n in 0..200 {
        let object = format!("o{n}");
        let arrival = Arrival {
            version: Some(1),
            ..arrival(n, 1000, &object)
        };
        let judged = flood.judge(&arrival, &policy, UnixMillis(1000));
        if judged.fate == Fate::Passes(None) {
            passed.push(judged.unchecked);
        }
    }
    assert!(passed.contains(&Some(Unchecked::WindowsFull)), "{passed:?}");
    let nameless = Arrival {
        object: None,
        ..arrival(999, 1000, "")
    };
    let judged = flood.judge(&nameless, &policy, UnixMillis(1000));
    assert_eq!(
        (judged.fate, judged.unchecked),
        (Fate::Passes(None), Some(Unchecked::NoObject))
    );
}

/// An owner that has decided for a while, with the journal that it wrote meanwhile and a whole round of slices.
fn an_owner_and_its_journal(limits: &Limits, policy: &FloodPolicy) -> (FloodControl, Changes, Changes) {
    let mut flood = begun(limits);
    let mut changes = Changes::new();
    for n in 0..500 {
        let object = format!("o{}", n % 130);
        let delivery = format!("d{n}");
        let arrival = Arrival {
            delivery: Some(DeliveryKey::Id(&delivery)),
            version: Some(i64::try_from(n).expect("small")),
            ..arrival(n, 1000 + n, &object)
        };
        flood.judge(&arrival, policy, UnixMillis(1000 + n));
        if n % 3 == 0 {
            let object = flood.object(arrival.integration, "acme", &object);
            flood.detect(object, n << 20, || n);
        }
        if n % 50 == 0 {
            flood.write_changes(&mut changes);
        }
    }
    flood.write_changes(&mut changes);
    let mut slices = Changes::new();
    let mut cursor: Option<Vec<u8>> = None;
    loop {
        cursor = flood.slice(cursor.as_deref(), 700, &mut slices);
        if cursor.is_none() {
            break;
        }
    }
    (flood, changes, slices)
}

#[test]
fn a_restored_owner_decides_as_the_former_one_would() {
    let limits = limits(1 << 24);
    let policy = FloodPolicy {
        order: true,
        ..debounced()
    };
    let (mut flood, changes, slices) = an_owner_and_its_journal(&limits, &policy);
    let fired = flood.fire(UnixMillis(100_000), usize::MAX);
    assert_eq!(fired.len(), 130);
    for written in [changes, slices] {
        let mut restored = FloodControl::within(&limits);
        for change in Changes::decode(written.as_bytes()) {
            restored.apply(change.expect("whole")).expect("as it was written");
        }
        restored.begin(UnixMillis(1500), || panic!("the key is in the journal"));
        let judge = |flood: &mut FloodControl, delivery: &str, version| {
            let arrival = Arrival {
                delivery: Some(DeliveryKey::Id(delivery)),
                version: Some(version),
                ..arrival(1000, 1500, "o7")
            };
            flood.judge(&arrival, &policy, UnixMillis(1500)).fate
        };
        assert_eq!(judge(&mut restored, "d1", 9999), Fate::Duplicate);
        assert_eq!(judge(&mut restored, "new", 3), Fate::Stale(Rank::Version(397)));
        let mut again = restored.fire(UnixMillis(100_000), usize::MAX);
        let mut fired = fired.clone();
        again.sort_by_key(|ended| ended.object);
        fired.sort_by_key(|ended| ended.object);
        for (ended, before) in again.iter().zip(&fired) {
            assert_eq!((ended.object, ended.ids()), (before.object, before.ids()));
            assert_eq!(ended.kept_id(), before.kept_id());
            assert_eq!(ended.window, before.window);
        }
        assert_eq!(again.len(), fired.len());
    }
}

#[test]
fn a_window_is_of_one_object_of_one_connection_of_one_integration() {
    let mut flood = begun(&limits(1 << 20));
    let other_integration = IntegrationId(Uuid::from_u128(10));
    let mut judge = |n: u64, of: Arrival<'static>| {
        let arrival = Arrival {
            id: EventId(Uuid::from_u128(u128::from(n))),
            ..of
        };
        flood.judge(&arrival, &debounced(), UnixMillis(1000)).fate
    };
    let held_in = |n: u128| Fate::Held(EventId(Uuid::from_u128(n)));
    let same = arrival(0, 1000, "o");
    let other_connection = Arrival {
        connection: Some("umbrella"),
        ..same
    };
    let other_integration = Arrival {
        integration: other_integration,
        ..same
    };
    let nobodys = Arrival {
        connection: None,
        ..same
    };
    assert_eq!(judge(1, same), held_in(1));
    assert_eq!(judge(2, other_connection), held_in(2));
    assert_eq!(judge(3, other_integration), held_in(3));
    assert_eq!(judge(4, arrival(0, 1000, "p")), held_in(4));
    assert_eq!(judge(5, nobodys), Fate::Passes(None));
    assert_eq!(judge(6, other_connection), held_in(2));
    assert_eq!(judge(7, same), held_in(1));
}

#[test]
fn a_list_ends_by_its_bytes_and_by_its_number() {
    let keeps_all = |max_bytes| FloodPolicy {
        debounce: Some(Debounce {
            keep: Keep::All,
            max_bytes,
            ..Debounce::default()
        }),
        ..FloodPolicy::default()
    };
    let ends_at = |policy: &FloodPolicy| {
        let mut flood = begun(&limits(1 << 24));
        let ended = (1..).find_map(|n| {
            flood
                .judge(&arrival(n, 1000, "o"), policy, UnixMillis(1000))
                .after
        });
        let ended = ended.expect("it ends");
        assert_eq!(ended.members.places().count(), ended.window.count as usize);
        assert_eq!(flood.open_windows(), 0);
        ended.window.count as usize
    };
    // Each has a hundred bytes.
    assert_eq!(ends_at(&keeps_all(1)), 1);
    assert_eq!(ends_at(&keeps_all(500)), 5);
    assert_eq!(ends_at(&keeps_all(501)), 6);
    assert_eq!(ends_at(&keeps_all(u64::MAX)), LISTED_MAX);
}

#[test]
fn open_windows_stay_open_when_their_budget_was_made_smaller() {
    let mut flood = begun(&limits(1 << 24));
    for n in 0..300 {
        flood.judge(
            &arrival(n, 1000, &format!("o{}", n % 150)),
            &debounced(),
            UnixMillis(1000),
        );
    }
    let mut changes = Changes::new();
    flood.write_changes(&mut changes);
    let mut restored = FloodControl::within(&limits(0));
    for change in Changes::decode(changes.as_bytes()) {
        restored.apply(change.expect("whole")).expect("as it was written");
    }
    restored.begin(UnixMillis(1500), || panic!("the key is in the journal"));
    assert_eq!(restored.open_windows(), 150);
    let ended = restored.fire(UnixMillis(100_000), usize::MAX);
    assert_eq!(ended.len(), 150);
    // One that cannot be handed on yet is opened again, and fires once more.
    for ended in ended {
        restored.restore(ended, UnixMillis(100_500));
    }
    assert_eq!(restored.fire(UnixMillis(100_400), usize::MAX), []);
    assert_eq!(restored.fire(UnixMillis(100_600), usize::MAX).len(), 150);
}

#[test]
fn the_bytes_are_as_documented() {
    let limits = limits(1 << 30);
    let mut flood = begun(&limits);
    let policy = FloodPolicy {
        order: true,
        ..debounced()
    };
    for n in 0..150_000 {
        let object = format!("o{n}");
        let arrival = Arrival {
            delivery: Some(DeliveryKey::Id(&object)),
            version: Some(1),
            ..arrival(n, 1000, &object)
        };
        flood.judge(&arrival, &policy, UnixMillis(1000));
    }
    let fill = flood.fill();
    let each = |bytes: usize, entries: usize| bytes as f64 / entries as f64;
    assert_eq!(
        (fill.delivery_ids, fill.objects, fill.windows),
        (150_000, 150_000, 150_000)
    );
    let costs = [
        ("delivery id", each(fill.seen_bytes, fill.delivery_ids), 20.0),
        ("object", each(fill.objects_bytes, fill.objects), 40.0),
        ("window", each(fill.windows_bytes, fill.windows), 96.0),
    ];
    for (what, bytes, at_most) in costs {
        println!("{bytes:.1} bytes for each {what}");
        assert!(bytes <= at_most, "{bytes:.1} bytes for each {what}");
    }
}
