//! Flood control under a virtual clock, on both kinds of journal: events, redeliveries, reordering, rates that are exceeded,
//! crashes, power that fails, changes of owner and of policy, and a clock that is set; an oracle then judges the whole
//! history. A million steps by default; `TIDEGATE_SIMULATION_STEPS` and `TIDEGATE_SIMULATION_SEED` say otherwise. A failure
//! prints its seed.

mod deciding;
mod events;
mod fairness;
mod history;
mod house;
mod oracle;
mod owner;
mod policies;
mod random;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use events::Source;
use history::History;
use house::{House, Log};
use owner::Owner;
use random::Random;

use crate::flood::Limits;
use crate::held::HeldLimit;
use crate::state::StateLimits;

/// How long a delivery id is remembered, in virtual milliseconds.
const TTL_MILLIS: u64 = 5_000;
/// Steps of one world: so many that its history fits into memory.
const WORLD_STEPS: u64 = 100_000;
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
    /// Fairness is switched off: nothing waits for its turn.
    Unfair,
    /// An event passes those of its connection that wait.
    Overtake,
    /// A new owner does not know what was set aside.
    LoseAside,
}

/// What a simulated world is like.
#[derive(Debug, Clone, Copy)]
struct World {
    log: Log,
    /// Bytes that may be set aside.
    aside_bytes_max: usize,
    fault: Option<Fault>,
}

impl World {
    /// Worlds take turns: both logs, and of each every third has little room for what is set aside.
    fn of(number: u64) -> Self {
        Self {
            log: if number.is_multiple_of(2) {
                Log::Kafka
            } else {
                Log::Embedded
            },
            aside_bytes_max: if number % 6 < 4 { 1 << 20 } else { 1_600 },
            fault: None,
        }
    }
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

fn state_limits(set_aside_bytes_max: usize) -> StateLimits {
    StateLimits {
        set_aside_bytes_max,
        flood: limits(),
        held: HeldLimit::new(0),
    }
}

/// Runs a world for so many steps; its history.
fn run(seed: u64, steps: u64, world: World) -> History {
    let mut random = Random::new(seed);
    let limits = state_limits(world.aside_bytes_max);
    let mut house = House::new(world);
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
        if world.log == Log::Embedded && random.one_in(800) {
            house.lose_power(&mut random);
            former = None;
            owner = Owner::open(&mut house, &limits);
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

/// Runs the `number`th world of a seed and judges it; how often what happened there.
fn try_world((seed, steps): (u64, u64), number: u64) -> BTreeMap<&'static str, usize> {
    let history = run(
        seed.wrapping_add(number),
        steps.min(WORLD_STEPS),
        World::of(number),
    );
    let broken = oracle::judge(&history);
    assert!(
        broken.is_empty(),
        "seed {seed}, world {number}: {:#?}",
        &broken[..broken.len().min(5)]
    );
    let counts = history.counts();
    assert!(
        counts.values().all(|count| *count > 0) && counts.len() >= 9,
        "a world in which something never happens shows nothing: {counts:?}"
    );
    counts
}

#[test]
fn simulated_floods_keep_every_promise() {
    let (seed, steps) = (seed(), steps());
    println!("TIDEGATE_SIMULATION_SEED={seed} TIDEGATE_SIMULATION_STEPS={steps}");
    let worlds = steps.div_ceil(WORLD_STEPS);
    let next = AtomicU64::new(0);
    let happened: Mutex<BTreeMap<&'static str, usize>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= worlds {
                        return;
                    }
                    for (what, count) in try_world((seed, steps), number) {
                        *happened.lock().entry(what).or_default() += count;
                    }
                    if number % 100 == 99 {
                        println!("{} worlds of {worlds}", number + 1);
                    }
                }
            });
        }
    });
    let happened = happened.into_inner();
    assert!(
        worlds < 6 || happened.contains_key("without room"),
        "nobody was ever without room: {happened:?}"
    );
    let happened: Vec<String> = happened
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    println!("counted: seed {seed}: {}", happened.join(", "));
}

/// Breaks a rule on purpose in a world; whether its oracle finds it.
fn check_found(seed: u64, fault: Fault, log: Log) {
    let world = World {
        log,
        fault: Some(fault),
        ..World::of(0)
    };
    let broken = oracle::judge(&run(seed, 40_000, world));
    assert!(
        !broken.is_empty(),
        "seed {seed}: {fault:?} is not found on {log:?}"
    );
    println!(
        "{fault:?} on {log:?}: {} promises broken, the first: {}",
        broken.len(),
        broken[0]
    );
}

#[test]
fn the_oracle_finds_what_is_broken_on_purpose() {
    let seed = seed();
    println!("TIDEGATE_SIMULATION_SEED={seed}");
    let anywhere = [
        Fault::DropFlush,
        Fault::ExtendPastMaxWait,
        Fault::KeepOlder,
        Fault::DoubleCount,
        Fault::Unfair,
        Fault::Overtake,
        Fault::LoseAside,
    ];
    for fault in anywhere {
        for log in [Log::Kafka, Log::Embedded] {
            check_found(seed, fault, log);
        }
    }
    // The embedded log refuses a former owner's appends whether it was told of the next one or not.
    check_found(seed, Fault::ForgetOpen, Log::Kafka);
    println!("counted: eight rules broken, on both journals, and found");
}
