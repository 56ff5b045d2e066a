//! A Kafka in memory that answers, is silent or is slow, and a spill before it on a disk that can lose power. In: requests
//! with a text each. Out: what became of them, and what Kafka has in the end, in its order.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash;
mod ways;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_schemas::{Topic, UnixMillis};
use tokio::sync::Notify;

use super::{Outlet, Spilling, Store};
use crate::embedded::disk::SimDisk;
use crate::embedded::{Host, PartitionCounts};
use crate::error::AppendError;
use crate::kafka::config::{Config, Spill};
use crate::message::Record;

/// Generous: reached only by what would never come.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const PARTITIONS: u32 = 3;
const MARK: &str = "\"spilled\":true";

/// How Kafka behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Answers,
    /// Nobody hears anything; what is sent arrives all the same, or it does not.
    Silent {
        arrives: bool,
    },
}

/// A request as it lies in Kafka: its text, and whether it is marked as spilled.
pub type Arrived = (String, bool);

/// Kafka, in memory.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

struct State {
    mood: Mood,
    /// Partitions whose leader is away whatever the mood is.
    dead: HashSet<u32>,
    topic: Vec<Vec<Arrived>>,
    /// How often everything under way was given up.
    purges: u64,
    /// Texts that were sent and had no answer.
    in_doubt: HashSet<String>,
}

impl Cluster {
    pub fn new(mood: Mood) -> Self {
        let state = State {
            mood,
            dead: HashSet::new(),
            topic: vec![Vec::new(); PARTITIONS as usize],
            purges: 0,
            in_doubt: HashSet::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
        }
    }

    pub fn become_(&self, mood: Mood) {
        self.state.lock().mood = mood;
        self.changed.notify_waiters();
    }

    /// Takes a partition's leader away, or brings it back.
    pub fn lead(&self, partition: u32, is_there: bool) {
        let mut state = self.state.lock();
        if is_there {
            state.dead.remove(&partition);
        } else {
            state.dead.insert(partition);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// What lies in a partition.
    pub fn partition(&self, partition: u32) -> Vec<Arrived> {
        self.state.lock().topic[partition as usize].clone()
    }

    /// The texts in a partition, each where it stands first.
    pub fn firsts(&self, partition: u32) -> Vec<String> {
        let mut seen = HashSet::new();
        let texts = self.partition(partition).into_iter().map(|(text, _)| text);
        texts.filter(|text| seen.insert(text.clone())).collect()
    }

    pub fn in_doubt(&self) -> HashSet<String> {
        self.state.lock().in_doubt.clone()
    }

    pub fn purges(&self) -> u64 {
        self.state.lock().purges
    }
}

impl State {
    fn mood_of(&self, batch: &[Record]) -> Mood {
        let is_dead = batch.iter().any(|record| self.dead.contains(&record.partition));
        if is_dead {
            Mood::Silent { arrives: false }
        } else {
            self.mood
        }
    }

    fn take(&mut self, batch: &[Record]) -> Vec<u64> {
        let mut offsets = Vec::new();
        for record in batch {
            let text = text(record);
            let marked = String::from_utf8_lossy(&record.meta).contains(MARK);
            let partition = &mut self.topic[record.partition as usize];
            partition.push((text, marked));
            offsets.push(partition.len() as u64 - 1);
        }
        offsets
    }
}

/// Notes what was sent as in doubt unless its answer came.
struct Doubt<'a> {
    state: &'a Mutex<State>,
    texts: Vec<String>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.state.lock().in_doubt.extend(self.texts.drain(..));
    }
}

impl Outlet for Cluster {
    async fn send(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        let mut doubt = Doubt {
            state: &self.state,
            texts: batch.iter().map(text).collect(),
        };
        let purges = self.purges();
        let mut arrived: Option<Vec<u64>> = None;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.purges != purges {
                    break;
                }
                let mood = state.mood_of(batch);
                if mood != (Mood::Silent { arrives: false }) && arrived.is_none() {
                    arrived = Some(state.take(batch));
                }
                if mood == Mood::Answers {
                    doubt.texts.clear();
                    return Ok(arrived.unwrap_or_default());
                }
            }
            changed.await;
        }
        Err(AppendError::Unanswered {
            topic: "requests",
            reason: "it was given up".to_owned(),
        })
    }

    fn purge(&self) {
        self.state.lock().purges += 1;
        self.changed.notify_waiters();
    }

    async fn answers(&self, partition: u32) -> bool {
        let state = self.state.lock();
        state.mood == Mood::Answers && !state.dead.contains(&partition)
    }
}

pub fn request(partition: u32, text: &str) -> Record {
    Record {
        topic: Topic::Requests,
        partition,
        key: Bytes::from_static(b"integration"),
        meta: Bytes::from_static(br#"{"v":1}"#),
        value: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn text(record: &Record) -> String {
    String::from_utf8(record.value.to_vec()).unwrap()
}

/// A spill of at least four small segments; requests are given up soon.
pub fn config() -> Config {
    Config {
        body_message_bytes_max: 16 * 1024,
        partitions: PartitionCounts {
            requests: PARTITIONS,
            ..PartitionCounts::default()
        },
        spill: Spill {
            bytes_max: 8 * 64 * 1024,
            ..Spill::default()
        },
        ..Config::default()
    }
}

pub fn host(disk: &SimDisk) -> Host {
    Host {
        disk: Arc::new(disk.clone()),
        fatal: Arc::new(|text| panic!("{text}")),
        now: Arc::new(|| UnixMillis::from(std::time::SystemTime::now())),
    }
}

/// Opens the spill on a disk, before a cluster that is reached.
pub fn start(cluster: &Cluster, disk: &SimDisk) -> Spilling<Cluster> {
    let spilling = start_unreached(cluster, disk);
    spilling.intake.reached();
    spilling
}

pub fn start_unreached(cluster: &Cluster, disk: &SimDisk) -> Spilling<Cluster> {
    let store = Store::open_on(&config(), host(disk)).unwrap();
    Spilling::start(cluster.clone(), store, Duration::from_millis(30))
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waits = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, waits).await.is_ok(),
        "{what}: not within {PATIENCE:?}"
    );
}

/// Waits until requests go straight again.
pub async fn straight(spilling: &Spilling<Cluster>) {
    until("requests go straight", || spilling.intake.spills_for().is_none()).await;
    assert!(spilling.intake.store.is_empty(), "nothing lies in the spill then");
}
