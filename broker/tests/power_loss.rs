//! Power loss: any subset of the pages written since the last sync is gone. The log opens, and every message that was
//! acknowledged is there, in order, once. Without syncs the same check notices. `TIDEGATE_CHAOS_ROUNDS` sets how often.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use support::{Chance, open_sim, outcome, read_all, request, tiny_config};
use tidegate_broker::Broker;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_schemas::Topic;

/// How many times the lights go out, each time in another way.
const SEEDS: u64 = 150;
/// Power losses of one log, one after the other.
const LOSSES: usize = 3;
/// Logs between two lines of progress.
const TELL_EVERY: u64 = 50;

type Acknowledged = Arc<Mutex<Vec<(u64, String)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_message_survives() {
    let seeds = std::env::var("TIDEGATE_CHAOS_ROUNDS").map_or(SEEDS, |seeds| {
        seeds.parse().expect("TIDEGATE_CHAOS_ROUNDS is a number")
    });
    for seed in 0..seeds {
        if let Err(loss) = check(seed, SimDisk::new()).await {
            panic!("seed {seed}: {loss}");
        }
        if seed % TELL_EVERY == TELL_EVERY - 1 {
            println!("{} of {seeds} logs", seed + 1);
        }
    }
    println!("counted: {seeds} logs, {LOSSES} power losses each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_the_loss_is_noticed() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new();
        disk.ignore_syncs();
        if check(seed, disk).await.is_err() {
            return;
        }
    }
    panic!("{SEEDS} power losses without a single sync, and nothing was missed");
}

/// Appends under load, loses power, opens, and says what is missing.
async fn check(seed: u64, mut disk: SimDisk) -> Result<(), String> {
    let mut chance = Chance::new(seed);
    let mut sure = Vec::new();
    for life in 0..LOSSES {
        let broker = open_sim(&tiny_config(), &disk)
            .await
            .map_err(|error| format!("life {life}: {error}"))?;
        expect(&broker, &sure)
            .await
            .map_err(|loss| format!("life {life}: {loss}"))?;
        // What was read may have been written by an append that was never acknowledged; it stays from now on.
        let there = read_all(&broker, Topic::Requests, 0)
            .await
            .map_err(|error| error.to_string())?;
        let acknowledged: Acknowledged = Arc::new(Mutex::new(there));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                tokio::spawn(write(
                    broker.clone(),
                    Arc::clone(&acknowledged),
                    (seed, life, writer),
                ))
            })
            .collect();
        let wanted = acknowledged.lock().len() + 1 + chance.below(60);
        support::until("enough is acknowledged", || acknowledged.lock().len() >= wanted).await;
        sure = acknowledged.lock().clone();
        let lost = disk.power_loss(&mut |count| chance.below(count));
        writers.iter().for_each(|writer| writer.abort());
        drop(broker);
        disk = lost;
    }
    let broker = open_sim(&tiny_config(), &disk)
        .await
        .map_err(|error| error.to_string())?;
    expect(&broker, &sure).await
}

async fn write(broker: Broker, acknowledged: Acknowledged, (seed, life, writer): (u64, usize, usize)) {
    for number in 0_u64.. {
        let text = format!(
            "{seed}/{life}/{writer}/{number} {}",
            "x".repeat((number as usize * 37) % 300)
        );
        let Ok(offsets) = broker.append(vec![outcome("row"), request(0, &text)]).await else {
            return;
        };
        acknowledged.lock().push((offsets[1], text));
    }
}

async fn expect(broker: &Broker, acknowledged: &[(u64, String)]) -> Result<(), String> {
    let there = read_all(broker, Topic::Requests, 0)
        .await
        .map_err(|error| error.to_string())?;
    for (at, (offset, _)) in there.iter().enumerate() {
        if *offset != at as u64 {
            return Err(format!("offset {offset} stands where {at} should"));
        }
    }
    for (offset, text) in acknowledged {
        let found = there.get(*offset as usize).map(|(_, text)| text);
        if found != Some(text) {
            return Err(format!(
                "offset {offset} holds {found:?}, {text:?} was acknowledged"
            ));
        }
    }
    Ok(())
}
