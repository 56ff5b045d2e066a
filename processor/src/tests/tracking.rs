//! Exactly one row for every tracked event: by its verdict, or by its own doing when it is dropped without one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_schemas::{EventId, EventRow, Outcome, Proof, Reason, UnixMillis};

use super::World;
use crate::Config;
use crate::event::Refused;
use crate::outcomes::Rows;
use crate::request::{Asked, Request};
use crate::tracked::{Ledger, Subject, Tracked};

const COMMIT: u64 = 41;

fn check(end: impl FnOnce(Tracked<'_>), expected: &[(Outcome, Reason)]) {
    let world = World::new("lines");
    let (meta, body) = world.request(&[], "body");
    let id = EventId::derive(meta.id, 7, Some("c"));
    let request = Request {
        pointer: tidegate_schemas::Pointer {
            partition: 1,
            offset: 9,
        },
        meta,
        body,
        asked: Asked {
            position: Some(7),
            ..Asked::default()
        },
        given: None,
    };
    let ledger = Ledger::new(Rows::new(COMMIT, UnixMillis(5), &Config::default()));
    let tracked = ledger.track(Subject {
        request: &request,
        provider: "lines",
        proof: Proof::Body,
        event: None,
        connection: Some("c"),
        id: EventId::derive(request.meta.id, 7, Some("c")),
    });
    // A panic in the step is part of what is tested.
    let _panicked = catch_unwind(AssertUnwindSafe(|| end(tracked)));
    let records = ledger.into_rows().into_records(0);
    let text: Vec<u8> = records.iter().flat_map(|record| record.value.to_vec()).collect();
    let lines = std::str::from_utf8(&text).expect("rows are text").lines();
    let rows: Vec<EventRow> = lines
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect();
    let ends: Vec<_> = rows.iter().map(|row| (row.outcome, row.reason)).collect();
    assert_eq!(ends, expected);
    assert!(
        rows.iter()
            .all(|row| (row.event_id, row.commit, row.request_offset) == (id, COMMIT, 9))
    );
}

#[test]
fn a_verdict_is_the_one_row() {
    let refused = Refused::new(Reason::EndpointFilter, "");
    check(
        |tracked| tracked.end(&(&refused).into()),
        &[(Outcome::Filtered, Reason::EndpointFilter)],
    );
}

#[test]
fn what_is_set_aside_has_no_row_yet() {
    check(|tracked: Tracked<'_>| tracked.set_aside(), &[]);
}

#[test]
fn what_is_dropped_without_an_outcome_is_recorded_as_lost() {
    check(
        |tracked: Tracked<'_>| drop(tracked),
        &[(Outcome::Failed, Reason::Lost)],
    );
}

#[test]
fn what_a_panic_drops_is_recorded_as_panicked() {
    let panics = |tracked: Tracked<'_>| {
        let _held = tracked;
        panic!("a step panics while it holds an event");
    };
    check(panics, &[(Outcome::Failed, Reason::Panicked)]);
}
