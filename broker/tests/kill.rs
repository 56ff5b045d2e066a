//! A child process that appends under load is killed with -9 at random moments, over and over on the same log: every
//! message that it saw acknowledged is there afterwards, in order, once.
//!
//! The child is this test binary again, told by an environment variable where to write. `TIDEGATE_CHAOS_KILLS` sets
//! how many times it is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Chance, outcome, record, request, small_config};
use tidegate_broker::{Broker, Error};
use tidegate_schemas::Topic;

const DIRECTORY: &str = "TIDEGATE_TEST_KILL_DIRECTORY";
const KILLS: &str = "TIDEGATE_CHAOS_KILLS";
const WRITERS: usize = 8;
/// After so many kills a new log is begun, for the old one has little space left.
const KILLS_A_LOG: usize = 50;
const CHECK_EVERY: usize = 10;

#[test]
fn every_acknowledged_message_survives_kill_9() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        append_for_ever(directory.as_ref());
    }
    let kills = std::env::var(KILLS).map_or(20, |kills| {
        kills.parse().expect("TIDEGATE_CHAOS_KILLS is a number")
    });
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let (mut counted, mut left) = (0, kills);
    while left > 0 {
        let here = left.min(KILLS_A_LOG);
        counted += kill_over_and_over(here, &mut chance);
        left -= here;
        println!("{} of {kills} kills", kills - left);
    }
    println!("counted: {counted} messages acknowledged");
    assert!(counted > kills, "the child hardly ever came to append");
}

/// Kills the child so often on one log, checking it now and then; says how many messages were acknowledged.
fn kill_over_and_over(kills: usize, chance: &mut Chance) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 1..=kills {
        acknowledged.extend(run_and_kill(directory.path(), chance));
        if kill % CHECK_EVERY == 0 || kill == kills {
            check(directory.path(), &acknowledged);
        }
    }
    acknowledged.len()
}

/// Runs the child and kills it after it has acknowledged a random number of messages, or in the middle of its start.
fn run_and_kill(directory: &std::path::Path, chance: &mut Chance) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "every_acknowledged_message_survives_kill_9",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    if chance.below(10) == 0 {
        std::thread::sleep(Duration::from_micros(chance.below(30_000) as u64));
    } else {
        let wanted = 1 + chance.below(400);
        while acknowledged.len() < wanted {
            let line = lines.next().expect("the child runs until it is killed").unwrap();
            acknowledged.extend(parse(&line));
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A line that was cut by the kill is no acknowledgement.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    acknowledged
}

fn parse(line: &str) -> Option<(u64, String)> {
    let (offset, text) = line
        .strip_prefix("acknowledged ")?
        .strip_suffix(" end")?
        .split_once(' ')?;
    Some((offset.parse().ok()?, text.to_owned()))
}

fn append_for_ever(directory: &std::path::Path) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let broker = Broker::open(&small_config(), directory).await.unwrap();
        let first = broker.offsets(Topic::Requests, 0).end;
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(broker.clone(), first, writer)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
    unreachable!("the writers never end");
}

async fn write(broker: Broker, life: u64, writer: usize) {
    for number in 0_u64.. {
        let text = format!(
            "{life}-{writer}-{number}-{}",
            "k".repeat((number as usize * 131) % 2000)
        );
        let batch = vec![outcome(&text), request(0, &text), record(Topic::State, 0, &text)];
        let offsets = broker.append(batch).await.unwrap();
        println!("acknowledged {} {text} end", offsets[1]);
    }
}

fn check(directory: &std::path::Path, acknowledged: &[(u64, String)]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // The killed child's lock goes with it; the system may take a moment.
        let broker = loop {
            match Broker::open(&small_config(), directory).await {
                Err(Error::Locked { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        let there = support::read_all(&broker, Topic::Requests, 0).await.unwrap();
        for (at, (offset, _)) in there.iter().enumerate() {
            assert_eq!(*offset, at as u64);
        }
        for (offset, text) in acknowledged {
            assert_eq!(there.get(*offset as usize), Some(&(*offset, text.clone())));
        }
        for topic in [Topic::Outcomes, Topic::State] {
            assert_eq!(
                support::read_all(&broker, topic, 0).await.unwrap(),
                there,
                "{topic}"
            );
        }
        let mut texts: Vec<&String> = there.iter().map(|(_, text)| text).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), there.len(), "a message is there twice");
        broker.close().await.unwrap();
    });
}
