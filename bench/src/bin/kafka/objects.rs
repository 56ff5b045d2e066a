//! How long a processor takes to hold the objects that lie in its journals on Kafka, and nowhere else. In: how many. Out:
//! seconds from its start on an empty folder, the CPU that it costs, and what it says meanwhile. The journals are written
//! by flood control and the journal themselves, and are as long as they may become: a round of slices with the changes
//! beside it, and nearly another one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_bench::kafka::{Node, PATIENCE, Process};
use tidegate_bench::webhook::Choice;
use tidegate_bench::{Failure, micros_each};
use tidegate_broker::Broker;
use tidegate_broker::journal::{ChangeError, Changes, Commit, Journal, Tables};
use tidegate_processor::{FloodConfig, Rehearsal, RehearsedEvent};
use tidegate_registry::FloodPolicy;
use tidegate_schemas::{EventId, IntegrationId, Topic, UnixMillis};
use tokio::task::JoinSet;

use crate::rebuild::{told, write};
use crate::scene::Scene;

const PARTITIONS: u32 = 8;
/// Decisions between two messages of a journal.
const BATCH: u64 = 2_000;
/// How much of a further round lies behind the last whole one, of a hundred.
const FURTHER: usize = 95;
/// How often it is looked whether all is there.
const POLL: Duration = Duration::from_millis(200);
/// When every event comes.
const AT: UnixMillis = UnixMillis(1_795_255_200_000);

/// So many objects.
pub async fn run((node, folder): (&Node, &Path), count: u64) -> Result<(), Failure> {
    let scene = Scene::new(&Choice::read(std::iter::empty())?, 1)?;
    let config = node.config("objects.", PARTITIONS);
    let broker = node.connect(&config).await?;
    let keys = folder.join("keys");
    write(&broker, &keys, vec![scene.entities()]).await?;
    hold(&broker, count).await?;

    let (began, spent) = (Instant::now(), node.spent()?);
    let data = folder.join("holder");
    let mut processor = Process::start(&data, "processor", &node.settings(&config, &keys))?;
    processor.ready().await?;
    let ready = began.elapsed();
    held(std::slice::from_ref(&processor), count).await?;
    println!(
        "{count} objects: all there {:.1?} after the start, {:.1?} after the registry was read (goal 60 s for 10 M); {:.2} µs \
         of CPU each, the broker's {:.2} µs",
        began.elapsed(),
        began.elapsed().saturating_sub(ready),
        micros_each(processor.spent()?, count),
        micros_each(node.spent()?.saturating_sub(spent), count),
    );
    told(&processor);
    processor.terminate()?;
    broker.close().await?;
    Ok(())
}

/// Waits until processors together hold so many objects.
pub async fn held(processors: &[Process], count: u64) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let mut held = 0.0;
        for processor in processors {
            let metric = processor.metric("tidegate_processor_objects{").await;
            held += metric.unwrap_or_default();
        }
        if held >= count as f64 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let printed: String = processors.iter().map(Process::printed).collect();
            return Err(format!("{held} of {count} objects are there: {printed}").into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Writes the journals of owners that hold so many objects together.
pub async fn hold(broker: &Broker, count: u64) -> Result<(), Failure> {
    let began = Instant::now();
    let partitions = u64::from(broker.partitions(Topic::Requests));
    let mut owners = JoinSet::new();
    for partition in 0..broker.partitions(Topic::Requests) {
        let share = count / partitions + u64::from(u64::from(partition) < count % partitions);
        let broker = broker.clone();
        owners.spawn(async move { Owner::open(broker, partition).await?.hold(share).await });
    }
    let mut bytes = 0;
    while let Some(owner) = owners.join_next().await {
        bytes += owner??;
    }
    println!(
        "{count} objects lie in {partitions} journals of {:.1} MB together, written in {:.1?}",
        bytes as f64 / 1e6,
        began.elapsed()
    );
    Ok(())
}

/// Flood control as an owner's tables, and what it has written of them.
struct Objects {
    flood: Rehearsal,
    sliced_bytes: AtomicUsize,
    is_round_complete: AtomicBool,
}

impl Tables for Objects {
    fn apply(&mut self, _: &[u8]) -> Result<(), ChangeError> {
        Err(ChangeError::new("the journal was to be empty"))
    }

    fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let (slice, cursor) = self.flood.slice(after, bytes_max);
        for change in Changes::decode(slice.as_bytes()) {
            out.push(change.expect("it was encoded just now"));
        }
        self.sliced_bytes.store(slice.len_bytes(), Ordering::Relaxed);
        self.is_round_complete.store(cursor.is_none(), Ordering::Relaxed);
        cursor
    }
}

/// The owner of one partition.
struct Owner {
    partition: u32,
    journal: Journal,
    objects: Objects,
    policy: Arc<FloodPolicy>,
    /// Bytes of the last whole round with its changes, and of what was written since.
    held_bytes: (usize, usize),
}

impl Owner {
    async fn open(broker: Broker, partition: u32) -> Result<Self, Failure> {
        let config = FloodConfig {
            objects_bytes_max: 64 << 30,
            ..FloodConfig::default()
        };
        let mut objects = Objects {
            flood: Rehearsal::new(&config),
            sliced_bytes: AtomicUsize::new(0),
            is_round_complete: AtomicBool::new(false),
        };
        let (journal, _) = Journal::open(&broker, (Topic::State, partition), &mut objects, |_| {}).await?;
        let policy = FloodPolicy {
            dedupe: false,
            order: true,
            detect_changes: true,
            ..FloodPolicy::default()
        };
        Ok(Self {
            partition,
            journal,
            objects,
            policy: Arc::new(policy),
            held_bytes: (0, 0),
        })
    }

    /// Learns of so many objects, then of newer versions of them until the journal is as long as it becomes; its bytes.
    async fn hold(mut self, count: u64) -> Result<usize, Failure> {
        for first in (0..count).step_by(BATCH as usize) {
            self.decide((first, count), 1).await?;
        }
        self.journal.complete_round(&self.objects).await?;
        self.held_bytes = (0, 0);
        let (mut version, mut further) = (1, false);
        loop {
            version += 1;
            for first in (0..count).step_by(BATCH as usize) {
                let whole = self.decide((first, count), version).await?;
                let (before, since) = self.held_bytes;
                if further && since * 100 >= before * FURTHER {
                    return Ok(before + since);
                }
                further |= whole;
            }
        }
    }

    /// A batch of events from the `first`th object on; whether it has completed a round.
    async fn decide(&mut self, (first, count): (u64, u64), version: i64) -> Result<bool, Failure> {
        for number in first..count.min(first + BATCH) {
            let object = format!("contact/{}/{number}", self.partition);
            let event = RehearsedEvent {
                id: EventId(uuid::Uuid::from_u128(u128::from(number) + 1)),
                integration: IntegrationId(uuid::Uuid::from_u128(7)),
                connection: Some("acme"),
                event_type: "contact.changed",
                received_at: AT,
                delivery_id: None,
                object_key: Some(&object),
                version: Some(version),
                time: None,
                deleted: false,
                content: Some(version.unsigned_abs()),
                payload_bytes: 1_500,
            };
            self.objects.flood.decide(&event, &self.policy);
        }
        let changes = self.objects.flood.changes();
        let changed_bytes = changes.len_bytes();
        let commit = Commit {
            changes,
            ..Commit::default()
        };
        self.journal.commit(commit, &self.objects).await?;
        self.held_bytes.1 += changed_bytes + self.objects.sliced_bytes.load(Ordering::Relaxed);
        let whole = self.objects.is_round_complete.load(Ordering::Relaxed);
        if whole {
            self.held_bytes = (self.held_bytes.1, 0);
        }
        Ok(whole)
    }
}
