//! What an event costs that is set aside for its connection's rate, with one, a thousand and a hundred thousand connections
//! waiting: to set it aside, to write it, to serve it, and to ask whose turn is next. In: nothing. Out: lines of a table.

use std::hint::black_box;
use std::time::Duration;

use tidegate_bench::{cpu, micros_each};
use tidegate_processor::RehearsedTurns;
use tidegate_registry::RateLimit;
use tidegate_schemas::UnixMillis;

use crate::AT;

/// How many events are set aside in all, unless there are more connections.
const EVENTS: u64 = 200_000;
/// Events between two messages of the journal.
const BATCH: u64 = 2_000;
/// Every connection's rate.
const LIMIT: RateLimit = RateLimit {
    per_second: 1_000,
    burst: 1,
};

/// Prints what turns cost.
pub fn measure() {
    println!("events beyond their connections' rates:");
    for connections in [1, 1_000, 100_000] {
        of(connections);
    }
}

fn of(connections: u64) {
    let names: Vec<String> = (0..connections).map(|n| format!("connection-{n}")).collect();
    let before = resident_bytes();
    let mut turns = RehearsedTurns::new(LIMIT, 8 << 30);
    let events = EVENTS.max(2 * connections);
    let (mut waiting, mut journal_bytes, mut writing) = (0, 0, Duration::ZERO);
    let began = cpu::of_thread();
    for (offset, name) in (0..events).zip(names.iter().cycle()) {
        waiting += u64::from(!turns.come(name, offset, AT));
        if offset % BATCH == BATCH - 1 {
            let before = cpu::of_thread();
            journal_bytes += turns.changes().len_bytes();
            writing += cpu::of_thread().saturating_sub(before);
        }
    }
    let setting = cpu::of_thread().saturating_sub(began).saturating_sub(writing);
    let (counted, resident) = (turns.bytes(), resident_bytes().saturating_sub(before));
    let asked = cpu::micros_of_thread(1_000_000, || {
        black_box(turns.due_at());
    });
    let idle = cpu::micros_of_thread(100_000, || {
        black_box(turns.serve(UnixMillis(1)));
    });
    let serving = serve_all(&mut turns, waiting);
    println!(
        "  {connections:>7} wait: {:>5.2} µs to set one aside, {:>5.2} µs to write it, {serving:>5.2} µs to serve it; \
         {asked:.3} µs to ask who is next, {idle:.3} µs when nobody is; {:.1} bytes each counted, {:.1} resident, {:.1} \
         in the journal",
        micros_each(setting, events),
        micros_each(writing, events),
        each(counted, waiting),
        each(resident, waiting),
        each(journal_bytes, waiting),
    );
}

/// CPU-µs for each that waits, until nobody does.
fn serve_all(turns: &mut RehearsedTurns, waiting: u64) -> f64 {
    let (mut now, mut served) = (AT, 0);
    let began = cpu::of_thread();
    while served < waiting {
        now = now.after(Duration::from_millis(5));
        served += turns.serve(now).len() as u64;
        turns.changes();
    }
    micros_each(cpu::of_thread().saturating_sub(began), waiting)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn each(of: usize, count: u64) -> f64 {
    of as f64 / count.max(1) as f64
}

/// What the process takes of the machine's memory; 0 where the system does not say.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}
