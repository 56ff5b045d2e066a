//! What flood control's tables cost: bytes, CPU and journal of each delivery id, object and open window; lookups, slices and
//! a restore of many objects; the longest that one decision holds the owner up while tables grow. In: how many objects.
//! Out: lines of a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_bench::{Failure, cpu, micros_each};
use tidegate_broker::journal::Changes;
use tidegate_processor::{FloodConfig, Rehearsal, RehearsedEvent};
use tidegate_registry::{Debounce, FloodPolicy};
use tidegate_schemas::{EventId, IntegrationId};

use crate::AT;

/// How many of each kind are counted to say what one costs.
const COUNTED: u64 = 1_000_000;
/// Which of the kinds is about few objects, so that all but their first events are absorbed.
const ABSORBED: usize = 3;
const FEW_OBJECTS: u64 = 1_000;
/// Decisions between two messages of the journal.
const BATCH: u64 = 2_000;
/// How often many objects are made, to tell what the code holds up from what the machine does.
const PASSES: u32 = 3;
/// How many decisions are noted together: a note each would be a table as large as theirs.
const FEW: u64 = 100;
/// How long a loop that does nothing is watched, of its thread's time.
const IDLE: Duration = Duration::from_secs(5);
/// Bytes of a slice.
const SLICE: usize = 1 << 20;

/// No limit that a measurement would meet.
fn config() -> FloodConfig {
    FloodConfig {
        dedupe_bytes_max: 64 << 30,
        objects_bytes_max: 64 << 30,
        windows_bytes_max: 64 << 30,
        ..FloodConfig::default()
    }
}

fn policy(dedupe: bool, compares: bool, debounce: bool) -> Arc<FloodPolicy> {
    Arc::new(FloodPolicy {
        dedupe,
        order: compares,
        debounce: debounce.then(Debounce::default),
        detect_changes: compares,
        ..FloodPolicy::default()
    })
}

/// The `n`th event about an object, or under a delivery id.
fn event<'a>(n: u64, named: &'a str) -> RehearsedEvent<'a> {
    RehearsedEvent {
        id: EventId(uuid::Uuid::from_u128(u128::from(n) + 1)),
        integration: IntegrationId(uuid::Uuid::from_u128(7)),
        connection: Some("acme"),
        event_type: "contact.changed",
        received_at: AT,
        delivery_id: Some(named),
        object_key: Some(named),
        version: Some(1),
        time: None,
        deleted: false,
        content: Some(7),
        payload_bytes: 1_500,
    }
}

fn name(n: u64) -> String {
    format!("contact/{n}")
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn each(of: usize, count: u64) -> f64 {
    of as f64 / count as f64
}

/// Bytes, CPU and journal of each delivery id, object, open window and absorbed event.
pub fn each_kind() {
    println!("{COUNTED} of each kind:");
    let kinds = [
        ("delivery id", policy(true, false, false)),
        ("object: order and content", policy(false, true, false)),
        ("open window", policy(false, false, true)),
        ("absorbed, and a delivery id", policy(true, false, true)),
    ];
    for (kind, (what, policy)) in kinds.into_iter().enumerate() {
        let mut rehearsal = Rehearsal::new(&config());
        let (mut journal_bytes, mut writing) = (0, Duration::ZERO);
        let began = cpu::of_thread();
        for n in 1..=COUNTED {
            let delivery = name(n);
            let object = (kind == ABSORBED).then(|| name(n % FEW_OBJECTS));
            let event = RehearsedEvent {
                object_key: Some(object.as_ref().unwrap_or(&delivery)),
                ..event(n, &delivery)
            };
            rehearsal.decide(&event, &policy);
            if n % BATCH == 0 {
                let before = cpu::of_thread();
                journal_bytes += rehearsal.changes().len_bytes();
                writing += cpu::of_thread().saturating_sub(before);
            }
        }
        let deciding = cpu::of_thread().saturating_sub(began).saturating_sub(writing);
        println!(
            "  {what:<27} {:>6.1} bytes in memory, {:>6.1} in the journal; {:>5.2} µs to decide, {:>5.2} µs to write",
            each(rehearsal.state_bytes(), COUNTED),
            each(journal_bytes, COUNTED),
            micros_each(deciding, COUNTED),
            micros_each(writing, COUNTED)
        );
    }
}

/// The longest of each few steps of a pass. The passes are the same step by step, so what the code needs for a step it
/// needs in each of them, and what the machine took meanwhile in one.
#[derive(Default)]
struct Pauses(Vec<Duration>);

impl Pauses {
    fn note(&mut self, at: u64, took: Duration) {
        let at = at as usize;
        self.0.resize(self.0.len().max(at + 1), Duration::ZERO);
        self.0[at] = took.max(self.0[at]);
    }

    /// The lesser of each.
    fn and(self, other: Self) -> Self {
        let lesser = self.0.into_iter().zip(other.0).map(|(one, other)| one.min(other));
        Self(lesser.collect())
    }

    fn longest_micros(&self) -> f64 {
        self.0
            .iter()
            .max()
            .map_or(0.0, |longest| longest.as_secs_f64() * 1e6)
    }
}

/// What a pass held its thread up for.
struct Held {
    decisions: Pauses,
    /// Of a batch's changes.
    writes: Pauses,
    slices: Pauses,
}

/// Many objects: growing, looking up, slices, a restore.
pub fn large(objects: u64) -> Result<(), Failure> {
    let policy = policy(false, true, false);
    let (mut rehearsal, mut held, mut growing) = grown(objects, &policy);
    let mut journal = Journal::of(&rehearsal, &mut held.slices);
    let mut once = [
        held.decisions.longest_micros(),
        held.writes.longest_micros(),
        held.slices.longest_micros(),
    ];
    for _ in 1..PASSES {
        let (again, mut also, micros) = grown(objects, &policy);
        (rehearsal, growing) = (again, micros.min(growing));
        journal = Journal::of(&rehearsal, &mut also.slices);
        for (most, of) in once.iter_mut().zip([&also.decisions, &also.writes, &also.slices]) {
            *most = of.longest_micros().max(*most);
        }
        held = Held {
            decisions: held.decisions.and(also.decisions),
            writes: held.writes.and(also.writes),
            slices: held.slices.and(also.slices),
        };
    }
    println!(
        "{objects} objects: {:.1} bytes each, {growing:.2} µs to add one",
        each(rehearsal.state_bytes(), objects),
    );
    let rows = [
        ("decision", held.decisions),
        ("writing of a batch's changes", held.writes),
        ("slice of 1 MiB", held.slices),
    ];
    for ((what, pauses), once) in rows.into_iter().zip(once) {
        let micros = pauses.longest_micros();
        println!("  the longest {what}: {micros:.0} µs in each of {PASSES} passes; {once:.0} µs in one");
    }
    let idle = longest_of_nothing(IDLE);
    println!(
        "  beside it a loop that only reads the clock, for {} s: {:.0} µs the longest",
        IDLE.as_secs(),
        idle.as_secs_f64() * 1e6
    );
    lookups(&mut rehearsal, (objects, &policy));
    journal.restore()
}

/// So many objects, what that held up, and the µs for one.
fn grown(objects: u64, policy: &Arc<FloodPolicy>) -> (Rehearsal, Held, f64) {
    let mut rehearsal = Rehearsal::new(&config());
    let (mut decisions, mut writes) = (Pauses::default(), Pauses::default());
    let began = cpu::of_thread();
    for n in 0..objects {
        let name = name(n);
        let before = cpu::of_thread();
        rehearsal.decide(&event(n, &name), policy);
        decisions.note(n / FEW, cpu::of_thread().saturating_sub(before));
        if n % BATCH == 0 {
            let before = cpu::of_thread();
            rehearsal.changes();
            writes.note(n / BATCH, cpu::of_thread().saturating_sub(before));
        }
    }
    let growing = micros_each(cpu::of_thread().saturating_sub(began), objects);
    let held = Held {
        decisions,
        writes,
        slices: Pauses::default(),
    };
    (rehearsal, held, growing)
}

/// The longest that the machine holds up a thread that does nothing: interrupts, and what a virtual machine has to wait for,
/// count as the thread's own time.
fn longest_of_nothing(lasts: Duration) -> Duration {
    let (began, mut longest) = (cpu::of_thread(), Duration::ZERO);
    let mut last = began;
    while last.saturating_sub(began) < lasts {
        let now = cpu::of_thread();
        longest = longest.max(now.saturating_sub(last));
        last = now;
    }
    longest
}

/// Events about objects that are known and have not changed, all over the table.
fn lookups(rehearsal: &mut Rehearsal, (objects, policy): (u64, &Arc<FloodPolicy>)) {
    let lookups = 1_000_000;
    let names: Vec<String> = (0..lookups)
        .map(|n: u64| name(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % objects))
        .collect();
    let before = cpu::of_thread();
    for name in &names {
        rehearsal.decide(&event(0, name), policy);
    }
    let micros = micros_each(cpu::of_thread().saturating_sub(before), lookups);
    println!(
        "  looked up: {micros:.2} µs each, {:.1} M a second on one thread",
        1.0 / micros
    );
}

/// A whole round of slices.
struct Journal {
    slices: Vec<Changes>,
    writing: Duration,
}

impl Journal {
    fn of(rehearsal: &Rehearsal, pauses: &mut Pauses) -> Self {
        let (mut slices, mut cursor) = (Vec::new(), None::<Vec<u8>>);
        let mut writing = Duration::ZERO;
        loop {
            let before = cpu::of_thread();
            let (slice, next) = rehearsal.slice(cursor.as_deref(), SLICE);
            let took = cpu::of_thread().saturating_sub(before);
            pauses.note(slices.len() as u64, took);
            writing += took;
            // An owner lets go of a slice before it writes the next, which finds its memory warm.
            slices.push(slice.clone());
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        Self { slices, writing }
    }

    /// What a new owner needs to read it.
    fn restore(&self) -> Result<(), Failure> {
        let bytes: usize = self.slices.iter().map(Changes::len_bytes).sum();
        let began = Instant::now();
        let restored = Rehearsal::restored(&config(), &self.slices)?;
        println!(
            "  a round of slices: {} MB in {:.2} s of CPU; restored in {:.2} s to {} MB",
            bytes / 1_000_000,
            self.writing.as_secs_f64(),
            began.elapsed().as_secs_f64(),
            restored.state_bytes() / 1_000_000,
        );
        Ok(())
    }
}
