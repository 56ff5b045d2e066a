//! The ledger of a run: what was answered with a 2xx, beside what ClickHouse shows and what the receiver took. Pure. Out:
//! what is missing, and what is double, foreign or wrong; each fault in words. That every fault is found is tested here.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

/// One event at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// The load's number in its payload.
    pub number: u64,
    /// How often it came.
    pub times: u64,
}

/// An event's row.
#[derive(Debug, Clone, Deserialize)]
pub struct EventRow {
    /// Its request's id.
    pub request: String,
    /// Its own id.
    pub event: String,
    /// What became of it.
    pub outcome: String,
}

/// What the load did.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// The request id of every number that was answered with a 2xx.
    pub accepted: BTreeMap<u64, String>,
    /// How many numbers were sent, answered or not.
    pub numbers: u64,
}

/// What ClickHouse shows.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The ids of the requests that it has rows of, one for each row.
    pub requests: Vec<String>,
    /// The events' rows.
    pub events: Vec<EventRow>,
    /// The ids of the events that an attempt has delivered.
    pub delivered: Vec<String>,
}

/// What the receiver took.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Events by `webhook-id`.
    pub events: HashMap<String, Got>,
    /// Deliveries that were not as they should be.
    pub wrong: Vec<String>,
}

/// The three side by side.
#[derive(Debug, Clone)]
pub struct Ledger<'a> {
    /// What the load did.
    pub sent: &'a Sent,
    /// What ClickHouse shows.
    pub shown: Shown,
    /// What the receiver took.
    pub taken: Taken,
}

/// What is not there yet.
#[derive(Debug)]
pub struct Missing {
    /// At the receiver.
    pub deliveries: Vec<String>,
    /// In ClickHouse.
    pub rows: Vec<String>,
}

impl Ledger<'_> {
    /// What is still missing.
    pub fn missing(&self) -> Missing {
        let requests: HashSet<&String> = self.shown.requests.iter().collect();
        let rows = self.shown.events.iter();
        let decided: HashMap<&String, &String> = rows.map(|row| (&row.request, &row.event)).collect();
        let delivered: HashSet<&String> = self.shown.delivered.iter().collect();
        let arrived: HashSet<u64> = self.taken.events.values().map(|got| got.number).collect();
        let (mut deliveries, mut rows) = (Vec::new(), Vec::new());
        for (number, request) in &self.sent.accepted {
            if !arrived.contains(number) {
                deliveries.push(format!("number {number} of request {request} did not arrive"));
            }
            if !requests.contains(request) {
                rows.push(format!("number {number}: request {request} has no row"));
            }
            let got = decided
                .get(request)
                .and_then(|event| self.taken.events.get(*event));
            if let Some(got) = got.filter(|got| got.number != *number) {
                deliveries.push(format!(
                    "number {number} of request {request} came as number {}",
                    got.number
                ));
            }
        }
        // What a crash kept from its sender was accepted all the same, and comes to its end too.
        let accepted = self.sent.accepted.values().collect();
        let undecided = requests
            .union(&accepted)
            .filter(|request| !decided.contains_key(**request));
        rows.extend(undecided.map(|request| format!("request {request} has no event")));
        let lost = self.shown.events.iter();
        let lost = lost.filter(|row| !self.taken.events.contains_key(&row.event));
        deliveries.extend(lost.map(|row| format!("event {} did not arrive", row.event)));
        let unsaid = self.taken.events.keys();
        let unsaid = unsaid.filter(|event| !delivered.contains(event));
        rows.extend(unsaid.map(|event| format!("event {event} arrived, and no attempt says so")));
        Missing { deliveries, rows }
    }

    /// What is there and should not be. Rows that were given up cannot be asked for.
    pub fn excess(&self, rows_complete: bool) -> Vec<String> {
        let mut excess = self.taken.wrong.clone();
        let mut once = HashSet::new();
        for row in &self.shown.events {
            if row.outcome != "routed" {
                excess.push(format!("event {} is {}", row.event, row.outcome));
            }
            if !once.insert(&row.request) {
                excess.push(format!("request {} has a second event row", row.request));
            }
        }
        let mut once = HashSet::new();
        let twice = self.shown.requests.iter();
        let twice = twice.filter(|request| !once.insert(*request));
        excess.extend(twice.map(|request| format!("request {request} has a second row")));
        let decided: HashSet<&String> = self.shown.events.iter().map(|row| &row.event).collect();
        let mut numbers = HashSet::new();
        for (event, got) in &self.taken.events {
            if got.number >= self.sent.numbers {
                excess.push(format!("event {event} was delivered and never sent"));
            }
            if rows_complete && !decided.contains(event) {
                excess.push(format!("event {event} was delivered and never decided"));
            }
            if !numbers.insert(got.number) {
                excess.push(format!("number {} was delivered under two ids", got.number));
            }
        }
        excess
    }
}

/// Numbers 0 and 1 came out as they should; number 2 was sent and nobody knows what became of it.
fn sound() -> (Sent, Shown, Taken) {
    let text = |name: &str, number: u64| format!("{name}{number}");
    let accepted = (0..2).map(|number| (number, text("request", number))).collect();
    let sent = Sent { accepted, numbers: 3 };
    let shown = Shown {
        requests: (0..2).map(|number| text("request", number)).collect(),
        events: (0..2)
            .map(|number| row(&text("request", number), &text("event", number)))
            .collect(),
        delivered: (0..2).map(|number| text("event", number)).collect(),
    };
    let got = (0..2).map(|number| (text("event", number), Got { number, times: 1 }));
    let taken = Taken {
        events: got.collect(),
        wrong: Vec::new(),
    };
    (sent, shown, taken)
}

fn row(request: &str, event: &str) -> EventRow {
    EventRow {
        request: request.to_owned(),
        event: event.to_owned(),
        outcome: "routed".to_owned(),
    }
}

/// Every fault that a ledger shows after something was done to a sound one.
fn faults(harm: impl FnOnce(&mut Sent, &mut Shown, &mut Taken)) -> Vec<String> {
    let (mut sent, mut shown, mut taken) = sound();
    harm(&mut sent, &mut shown, &mut taken);
    let ledger = Ledger {
        sent: &sent,
        shown,
        taken,
    };
    let missing = ledger.missing();
    [missing.deliveries, missing.rows, ledger.excess(true)].concat()
}

#[test]
fn a_sound_ledger_has_no_fault() {
    assert_eq!(faults(|_, _, _| {}), Vec::<String>::new());
    // A repeat is counted, and is no fault.
    let repeated =
        |_: &mut Sent, _: &mut Shown, taken: &mut Taken| taken.events.get_mut("event0").unwrap().times = 2;
    assert_eq!(faults(repeated), Vec::<String>::new());
    // What a crash kept from its sender may come out too.
    let unanswered = |_: &mut Sent, shown: &mut Shown, taken: &mut Taken| {
        shown.requests.push("request2".to_owned());
        shown.events.push(row("request2", "event2"));
        shown.delivered.push("event2".to_owned());
        taken
            .events
            .insert("event2".to_owned(), Got { number: 2, times: 1 });
    };
    assert_eq!(faults(unanswered), Vec::<String>::new());
}

type Harm = fn(&mut Sent, &mut Shown, &mut Taken);

/// What may be wrong with a ledger, and the words in which it says so.
const HARMS: [(Harm, &str); 14] = [
    (
        |_, _, taken| taken.events.retain(|event, _| event != "event1"),
        "number 1 of request request1 did not arrive",
    ),
    (
        |_, shown, _| drop(shown.requests.pop()),
        "request request1 has no row",
    ),
    (
        |_, shown, _| drop(shown.events.pop()),
        "request request1 has no event",
    ),
    (
        |_, shown, _| drop(shown.delivered.pop()),
        "event event1 arrived, and no attempt says so",
    ),
    (
        |_, shown, _| shown.requests.push("request1".to_owned()),
        "request request1 has a second row",
    ),
    (
        |_, shown, _| shown.events.push(row("request1", "event9")),
        "request request1 has a second event row",
    ),
    (
        |_, shown, _| shown.events.push(row("request2", "event2")),
        "event event2 did not arrive",
    ),
    (
        |_, shown, _| shown.requests.push("request2".to_owned()),
        "request request2 has no event",
    ),
    (
        |_, _, taken| {
            _ = taken
                .events
                .insert("event2".to_owned(), Got { number: 2, times: 1 })
        },
        "event event2 was delivered and never decided",
    ),
    (
        |_, shown, _| shown.events[0].outcome = "failed".to_owned(),
        "event event0 is failed",
    ),
    (
        |_, _, taken| taken.events.get_mut("event1").unwrap().number = 0,
        "number 0 was delivered under two ids",
    ),
    (
        |_, _, taken| taken.events.get_mut("event1").unwrap().number = 2,
        "number 1 of request request1 came as number 2",
    ),
    (
        |sent, _, _| sent.numbers = 1,
        "event event1 was delivered and never sent",
    ),
    (
        |_, _, taken| taken.wrong.push("taking: forged".to_owned()),
        "taking: forged",
    ),
];

#[test]
fn every_fault_of_a_ledger_is_found() {
    for (harm, words) in HARMS {
        let found = faults(harm);
        assert!(
            found.iter().any(|fault| fault.contains(words)),
            "{words:?} is not in {found:?}"
        );
    }
}
