//! Flood control under a virtual clock: events, redeliveries, reordering, crashes, changes of owner and of policy, and a
//! clock that is set; an oracle then judges the whole history. A million steps by default;
//! `TIDEGATE_SIMULATION_STEPS` and `TIDEGATE_SIMULATION_SEED` say otherwise. A failure prints its seed.

mod events;
mod fairness;
mod history;
mod oracle;
mod owner;
mod policies;
mod random;

use std::collections::BTreeMap;

use events::Source;
use history::History;
use owner::{House, Owner};
use random::Random;

use crate::flood::Limits;

/// How long a delivery id is remembered, in virtual milliseconds.
const TTL_MILLIS: u64 = 5_000;
/// By how much the clock moves at most in one step.
const STEP_MILLIS_MAX: u64 = 20;

/// What is broken on purpose, to show that the oracle finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A window that a deletion ends is not handed on.
    DropFlush,
    /// A window may be put off for ever.
    ExtendPastMaxWait,
    /// Of two versions the older is taken for the later.
    KeepOlder,
    /// A new owner does not say that it has opened the journal.
    ForgetOpen,
    /// A commit does not say that its input was reached.
    DoubleCount,
}

fn seed() -> u64 {
    let given = std::env::var("TIDEGATE_SIMULATION_SEED").ok();
    given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(1, |since| since.as_nanos() as u64)
    })
}

fn steps() -> u64 {
    let given = std::env::var("TIDEGATE_SIMULATION_STEPS").ok();
    given.and_then(|steps| steps.parse().ok()).unwrap_or(1_000_000)
}

fn limits() -> Limits {
    Limits {
        ttl: std::time::Duration::from_millis(TTL_MILLIS),
        ..crate::flood::tests::limits(64 << 20)
    }
}

/// Runs a world for so many steps; its history.
fn run(seed: u64, steps: u64, fault: Option<Fault>) -> History {
    let mut random = Random::new(seed);
    let limits = limits();
    let mut house = House::new(fault);
    let mut source = Source::default();
    let mut owner = Owner::open(&mut house, &limits);
    let mut former: Option<Owner> = None;
    for _ in 0..steps {
        house.pass(random.below(STEP_MILLIS_MAX) + 1);
        if random.one_in(400) {
            // Nobody works for a while.
            house.pass(random.below(3_000));
        }
        if random.one_in(300) {
            house.set_clock(&mut random);
        }
        if random.one_in(250) {
            house.change_policy(&mut random);
        }
        if random.one_in(500) {
            // Another takes over; the former one may only be asleep, and work on when it wakes.
            let next = Owner::open(&mut house, &limits);
            former = Some(std::mem::replace(&mut owner, next));
        }
        if random.below(3) > 0 {
            source.send(&mut house, &mut random);
        }
        if let Some(sleeper) = former.as_mut().filter(|_| random.one_in(20))
            && sleeper.work(&mut house, &mut random).is_err()
        {
            former = None;
        }
        if owner.work(&mut house, &mut random).is_err() {
            owner = Owner::open(&mut house, &limits);
        }
    }
    owner.drain(&mut house, &limits);
    house.into_history()
}

#[test]
fn simulated_floods_keep_every_promise() {
    let (seed, steps) = (seed(), steps());
    println!("TIDEGATE_SIMULATION_SEED={seed} TIDEGATE_SIMULATION_STEPS={steps}");
    // Worlds of a hundred thousand steps each, so that a history fits into memory.
    let worlds = steps.div_ceil(100_000);
    let mut happened: BTreeMap<&'static str, usize> = BTreeMap::new();
    for world in 0..worlds {
        let history = run(seed.wrapping_add(world), steps.min(100_000), None);
        let broken = oracle::judge(&history);
        assert!(
            broken.is_empty(),
            "seed {seed}, world {world}: {:#?}",
            &broken[..broken.len().min(5)]
        );
        let counts = history.counts();
        assert!(
            counts.values().all(|count| *count > 0) && counts.len() >= 7,
            "a world in which something never happens shows nothing: {counts:?}"
        );
        for (what, count) in counts {
            *happened.entry(what).or_default() += count;
        }
    }
    let happened: Vec<String> = happened
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    println!("counted: seed {seed}: {}", happened.join(", "));
}

#[test]
fn the_oracle_finds_what_is_broken_on_purpose() {
    let seed = seed();
    println!("TIDEGATE_SIMULATION_SEED={seed}");
    let faults = [
        Fault::DropFlush,
        Fault::ExtendPastMaxWait,
        Fault::KeepOlder,
        Fault::ForgetOpen,
        Fault::DoubleCount,
    ];
    for fault in faults {
        let broken = oracle::judge(&run(seed, 40_000, Some(fault)));
        assert!(!broken.is_empty(), "seed {seed}: {fault:?} is not found");
        println!(
            "{fault:?}: {} promises broken, the first: {}",
            broken.len(),
            broken[0]
        );
    }
}
