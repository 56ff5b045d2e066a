//! The table against a sorted map, its bytes for each slot, and the most that it copies at once.

use std::collections::BTreeMap;

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::super::budget::Budget;
use super::*;

fn share(bytes_max: usize) -> Share {
    Budget::new(bytes_max, 1).share()
}

fn slot(number: u64, value: u8) -> [u8; 16] {
    // Keys are hashes: spread, but the same for one number.
    let spread = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut slot = [0; 16];
    slot[..8].copy_from_slice(&spread.to_be_bytes());
    slot[8..12].copy_from_slice(&spread.rotate_left(17).to_be_bytes()[..4]);
    slot[15] = value;
    slot
}

proptest! {
    #[test]
    fn it_holds_what_a_sorted_map_holds(steps in proptest::collection::vec((0u64..600, any::<u8>(), 0u8..3), 0..3000)) {
        let mut table = Table::<16>::new();
        let mut share = share(1 << 30);
        let mut map: BTreeMap<Fingerprint, [u8; 16]> = BTreeMap::new();
        for (number, value, kind) in steps {
            let slot = slot(number, value);
            let key = key_of(&slot);
            if kind == 0 {
                prop_assert_eq!(table.remove(key), map.remove(&key).is_some());
            } else {
                let new = table.put(&slot, &mut share).expect("room");
                prop_assert_eq!(new, map.insert(key, slot).is_none());
            }
            prop_assert_eq!(table.len(), map.len());
        }
        prop_assert_eq!(table.iter().copied().collect::<Vec<_>>(), map.values().copied().collect::<Vec<_>>());
        for number in 0..600 {
            let key = key_of(&slot(number, 0));
            prop_assert_eq!(table.get(key), map.get(&key));
            let behind: Vec<_> = table.from(key).take(5).copied().collect();
            let expected: Vec<_> = map.range(key..).take(5).map(|(_, slot)| *slot).collect();
            prop_assert_eq!(behind, expected);
        }
    }
}

proptest! {
    #[test]
    fn slots_that_come_in_order_stand_where_any_order_puts_them(
        runs in proptest::collection::vec((proptest::collection::vec(0u64..4000, 0..800), 0u64..4000), 1..6),
    ) {
        let mut table = Table::<16>::new();
        let mut share = share(1 << 30);
        let mut map: BTreeMap<Fingerprint, [u8; 16]> = BTreeMap::new();
        for (at, (numbers, removed)) in runs.into_iter().enumerate() {
            let mut run: Vec<_> = numbers.into_iter().map(|number| slot(number, at as u8)).collect();
            run.sort_unstable_by_key(key_of);
            for slot in run {
                table.put(&slot, &mut share).expect("room");
                map.insert(key_of(&slot), slot);
            }
            let removed = key_of(&slot(removed, 0));
            prop_assert_eq!(table.remove(removed), map.remove(&removed).is_some());
            prop_assert_eq!(table.iter().copied().collect::<Vec<_>>(), map.values().copied().collect::<Vec<_>>());
        }
        for number in 0..4000 {
            let key = key_of(&slot(number, 0));
            prop_assert_eq!(table.get(key), map.get(&key));
        }
    }
}

#[test]
fn a_large_table_keeps_its_order_and_costs_at_most_a_quarter_more_than_its_slots() {
    let mut table = Table::<16>::new();
    let mut share = share(1 << 30);
    let mut most = 0.0f64;
    for number in 0..400_000u64 {
        table.put(&slot(number, 1), &mut share).expect("room");
        if number > 50_000 && number % 1000 == 0 {
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            let each = table.bytes() as f64 / table.len() as f64;
            most = most.max(each);
        }
    }
    assert_eq!(table.len(), 400_000);
    assert_eq!(table.bytes(), share.used());
    assert!(table.iter().map(key_of).is_sorted_by(|a, b| a < b));
    assert_eq!(table.iter().count(), 400_000);
    assert!((0..400_000).all(|number| table.get(key_of(&slot(number, 0))).is_some()));
    assert!(most < 16.0 * 1.25, "{most} bytes for each slot of 16");
    assert!(
        table
            .segments
            .iter()
            .all(|segment| segment.places() <= PLACES_MAX + PLACES_MAX / 4)
    );
}

#[test]
fn a_full_table_takes_nothing_new_and_forgets_nothing() {
    let mut table = Table::<16>::new();
    let mut share = share(64 << 10);
    let mut taken = 0;
    while table.put(&slot(taken, 1), &mut share).is_ok() {
        taken += 1;
    }
    assert!(
        taken > 3000 && share.used() <= 64 << 10,
        "{taken} slots, {} bytes",
        share.used()
    );
    assert_eq!(
        table.put(&slot(0, 9), &mut share),
        Ok(false),
        "what is there can be replaced"
    );
    assert!((0..taken).all(|number| table.get(key_of(&slot(number, 0))).is_some()));
    while !table.free_some(2, &mut share) {}
    assert_eq!(share.used(), 0);
}
