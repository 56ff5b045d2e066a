//! A former owner that wakes up spoils nothing. A processor in a process of its own stands still (SIGSTOP) past its
//! session timeout at each step of its loop: when it has just opened its journal, with a batch that is decided and not
//! sent, between outputs and journal, in the middle of a round, and before a trim. Another processor takes over; then the
//! first one wakes up and goes on at that very step. In: a real Kafka, which `make kafka` brings. Checked: that every
//! request has one event with one outcome, that no journal goes back or holds a word of who had lost it, that events of one object
//! stay in order, and how many come twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod former;
mod record;
mod world;

use std::time::{Duration, Instant};

use tidegate_broker::Broker;
use tidegate_schemas::{RequestId, Topic};
use tidegate_testkit::kafka::{shared, unique_prefix};

use former::Former;
use record::Record;
use world::{BATCH, FOR_EVER_MS, PARTITIONS, Place, WAITING};

const PATIENCE: Duration = Duration::from_secs(120);
/// The test's name, under which the former owner is run.
const TEST: &str = "a_former_owner_that_wakes_at_any_step_spoils_nothing";
/// Where it stands still, and whether it must find out there that it has lost: elsewhere it may be told before.
const STOPS: [(&str, bool); 5] = [
    ("opened", false),
    ("decided", true),
    ("outputs", true),
    ("slice", false),
    ("trim", false),
];
/// How long it is listened to between two rounds of requests.
const MOMENT: Duration = Duration::from_millis(50);

/// The requests that were appended, and what came of them.
struct Load {
    broker: Broker,
    record: Record,
    number: u64,
}

impl Load {
    /// Appends a few requests to every partition.
    async fn round(&mut self) {
        let mut requests = Vec::new();
        for partition in 0..PARTITIONS {
            for _ in 0..BATCH / 2 {
                requests.push(world::found(partition, self.number));
                self.number += 1;
            }
        }
        let (ids, records): (Vec<RequestId>, Vec<_>) = requests.into_iter().unzip();
        self.broker.append(records).await.unwrap();
        self.record.routed.extend(ids);
    }

    /// Appends requests that will wait, so that there is much in the journals.
    async fn waiting(&mut self) {
        let places = (0..PARTITIONS)
            .flat_map(|partition| (0..WAITING).map(move |at| world::unattributed(partition, at)));
        let (ids, records): (Vec<RequestId>, Vec<_>) = places.unzip();
        self.broker.append(records).await.unwrap();
        self.record.waiting.extend(ids);
    }

    /// Waits until every request that need not wait is decided.
    async fn decided(&mut self) {
        let began = Instant::now();
        while let Some(undecided) = self.record.undecided() {
            assert!(began.elapsed() < PATIENCE, "{undecided}");
            self.record.read(MOMENT).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_former_owner_that_wakes_at_any_step_spoils_nothing() {
    if let Some(place) = former::told() {
        former::run(&place).await;
    }
    let place = Place {
        bootstrap: shared().await.bootstrap(),
        prefix: unique_prefix("woken"),
    };
    let broker = place.connect().await;
    let mut load = Load {
        record: Record::of(&broker),
        broker: broker.clone(),
        number: 0,
    };
    load.waiting().await;
    let mut former = Former::start(&place);
    let others = world::start(&broker, FOR_EVER_MS);
    for (step, finds_out) in STOPS {
        former.stop_at(step);
        let began = Instant::now();
        while !former.says(&format!("at {step}"), MOMENT).await {
            assert!(began.elapsed() < PATIENCE, "it never comes to the step {step:?}");
            load.round().await;
            load.record.read(MOMENT).await;
        }
        former.stand_still();
        load.round().await;
        // What lay in its partitions too: another has taken them over.
        load.decided().await;
        println!("{step}: taken over after {:?}", began.elapsed());
        former.wake();
        if finds_out {
            former.waits_to_say("lost").await;
        }
        load.round().await;
        load.decided().await;
    }
    drop(former);
    load.decided().await;
    others.stop().await;
    // Whoever comes next reads all of the journals: what waits is in them still.
    let last = world::start(&broker, 0);
    load.record.wait_no_longer();
    load.decided().await;
    last.stop().await;
    load.record.is_sound(STOPS.len()).await;
    for partition in 0..PARTITIONS {
        record::journal_is_sound(&broker, partition).await;
        let decided = record::input_reached(&broker, partition).await;
        assert_eq!(
            decided,
            broker.latest(Topic::Requests).await.unwrap()[partition as usize].end
        );
    }
}
