//! Membership in a group, which shares a topic's partitions out among processes. It decides who owns what and reads
//! nothing: its partitions stay paused, and owners read from the offset in their journal. One thread polls, so that
//! heartbeats and rebalances never wait for work.
//! In: what owners have reached, and that they have ended. Out: partitions gained and lost; offsets committed, which
//! only show lag. Where an owner keeps no journal it notes with the group what it has reached, and a few words more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::Topic;
use tokio::sync::mpsc;

use super::client::{self, Told};
use super::config::Config;
use super::reached::Ledger;
use super::topics::Names;
use crate::assignments::{Assignment, Note};
use crate::error::Error;
use crate::metrics;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How often the offsets reached are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How soon a client that cannot be made is tried again.
const JOIN_AGAIN: Duration = Duration::from_secs(1);

/// Whether the offsets that a group keeps are its owners' own notes, or follow what their journals say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offsets {
    /// They only show lag: the thread that polls commits what the owners have reached.
    Follow,
    /// They are the truth: owners note them themselves.
    Noted,
}

/// A membership; it ends when this is dropped.
pub struct Membership {
    changes: mpsc::Receiver<Assignment>,
    held: Arc<Held>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    current: Current,
    assigned: Arc<Mutex<BTreeSet<u32>>>,
    topic: String,
    timeout: Duration,
}

/// The client that is the member now: one that Kafka has fenced never works again, and another takes its place.
type Current = Arc<Mutex<Arc<BaseConsumer<Member>>>>;

/// How a client joins.
struct Joining {
    settings: ClientConfig,
    member: Member,
    topic: (Topic, String),
    group: String,
}

impl Joining {
    fn join(&self) -> Result<Arc<BaseConsumer<Member>>, Error> {
        let failed = |error: KafkaError| Error::kafka(format!("join the group {}", self.group), &error);
        let consumer: BaseConsumer<Member> = self
            .settings
            .create_with_context(self.member.clone())
            .map_err(failed)?;
        consumer.subscribe(&[self.topic.1.as_str()]).map_err(failed)?;
        Ok(Arc::new(consumer))
    }
}

/// The owners that run in this process, by partition.
#[derive(Default)]
struct Held {
    owners: Mutex<HashMap<u32, usize>>,
    released: Condvar,
}

impl Held {
    fn gain(&self, partition: u32) {
        *self.owners.lock().entry(partition).or_default() += 1;
    }

    fn release(&self, partition: u32) {
        let mut owners = self.owners.lock();
        if let Some(count) = owners.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                owners.remove(&partition);
            }
        }
        self.released.notify_all();
    }

    fn release_all(&self) {
        self.owners.lock().clear();
        self.released.notify_all();
    }

    /// Waits until no owner of these partitions runs any more; `false` when that takes longer than `timeout`.
    fn wait_for(&self, partitions: &[u32], timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut owners = self.owners.lock();
        while partitions.iter().any(|partition| owners.contains_key(partition)) {
            if self.released.wait_until(&mut owners, until).timed_out() {
                return false;
            }
        }
        true
    }
}

/// Hears of rebalances on the thread that polls.
#[derive(Clone)]
struct Member {
    told: Told,
    held: Arc<Held>,
    changes: mpsc::Sender<Assignment>,
    release: Duration,
    /// What the group has given to this process.
    assigned: Arc<Mutex<BTreeSet<u32>>>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.told.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else {
            return;
        };
        let partitions = partitions(list);
        self.lose(&partitions);
        // Partitions that were lost belong to others already, whose journals' epochs keep ours out.
        if !consumer.assignment_lost() && !self.held.wait_for(&partitions, self.release) {
            tracing::warn!(
                "owners did not end in time (broker.kafka.release_timeout_ms); others take their partitions over"
            );
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else {
            return;
        };
        if let Err(error) = consumer.pause(list) {
            tracing::warn!(%error, "a member of a group reads what nobody takes");
        }
        let partitions = partitions(list);
        metrics::kafka_rebalanced("gained", partitions.len());
        for partition in partitions {
            self.assigned.lock().insert(partition);
            self.held.gain(partition);
            self.tell(Assignment::Gained(partition));
        }
    }
}

impl Member {
    /// These are somebody else's now; what is not ours is not told again.
    fn lose(&self, partitions: &[u32]) {
        let ours: Vec<u32> = {
            let mut assigned = self.assigned.lock();
            let ours = partitions.iter().filter(|partition| assigned.remove(partition));
            ours.copied().collect()
        };
        metrics::kafka_rebalanced("lost", ours.len());
        ours.iter()
            .for_each(|partition| self.tell(Assignment::Lost(*partition)));
    }

    fn tell(&self, change: Assignment) {
        // Nobody listens any more when the role has ended: then nothing is owned either.
        let _ = self.changes.blocking_send(change);
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<u32> {
    let elements = list.elements();
    let partitions = elements.iter().map(|element| u32::try_from(element.partition()));
    partitions.filter_map(Result::ok).collect()
}

impl Membership {
    /// Joins `group`, which shares the partitions of `topic` out.
    pub fn join(
        config: &Config,
        (names, told, ledger): (&Names, Told, Arc<Ledger>),
        (topic, group, offsets): (Topic, &str, Offsets),
    ) -> Result<Self, Error> {
        // A change for every partition, gained and lost, fits: the thread that polls need not wait.
        let (tell, changes) = mpsc::channel(2 * config.partitions_of(topic) as usize + 16);
        let held = Arc::new(Held::default());
        let assigned = Arc::<Mutex<BTreeSet<u32>>>::default();
        let joining = Joining {
            settings: client::member(config, group),
            member: Member {
                told,
                held: held.clone(),
                changes: tell,
                release: Duration::from_millis(config.release_timeout_ms),
                assigned: assigned.clone(),
            },
            topic: (topic, names.of(topic).to_owned()),
            group: format!("{}{group}", config.prefix),
        };
        let current = Arc::new(Mutex::new(joining.join()?));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, polled) = (stop.clone(), current.clone());
        let followed = (offsets == Offsets::Follow).then_some(ledger);
        let thread = std::thread::Builder::new()
            .name(format!("kafka-{group}"))
            .spawn(move || poll(&joining, &polled, (followed.as_deref(), &stopped)))
            .map_err(Error::io("start a thread that polls a group"))?;
        Ok(Self {
            changes,
            held,
            stop,
            thread: Some(thread),
            current,
            assigned,
            topic: names.of(topic).to_owned(),
            timeout: config.question_timeout(),
        })
    }

    /// The next change; waits for it.
    pub async fn next(&mut self) -> Assignment {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    /// What was last noted of these partitions; nothing of those of which nothing was.
    pub async fn notes(&self, partitions: &[u32]) -> Result<Vec<Note>, Error> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, i32::try_from(*partition).unwrap_or(i32::MAX));
        }
        let (consumer, timeout) = (self.current.lock().clone(), self.timeout);
        let failed =
            |error: KafkaError| Error::kafka(format!("read what is noted of {}", self.topic), &error);
        let asked = tokio::task::spawn_blocking(move || consumer.committed_offsets(list, timeout)).await;
        let answer = asked.map_err(|_| Error::Closed)?.map_err(failed)?;
        let mut notes = Vec::new();
        for element in answer.elements() {
            element.error().map_err(failed)?;
            let offset = element.offset().to_raw().map(u64::try_from);
            if let (Ok(partition), Some(Ok(offset))) = (u32::try_from(element.partition()), offset) {
                notes.push(Note {
                    partition,
                    offset,
                    text: element.metadata().to_owned(),
                });
            }
        }
        Ok(notes)
    }

    /// Notes with the group how far its partitions are; returns once Kafka has it. Whoever is no member any more is
    /// refused.
    pub async fn note(&self, notes: &[Note]) -> Result<(), Error> {
        let action = || format!("note how far {} is", self.topic);
        let failed = |error: KafkaError| Error::kafka(action(), &error);
        let is_ours = |note: &Note| self.assigned.lock().contains(&note.partition);
        if !notes.iter().all(is_ours) {
            // A member that speaks while it is being replaced is fenced for good.
            return Err(Error::kafka(action(), &"partitions have gone to another process"));
        }
        let mut list = TopicPartitionList::new();
        for note in notes {
            let partition = i32::try_from(note.partition).unwrap_or(i32::MAX);
            let offset = Offset::Offset(i64::try_from(note.offset).unwrap_or(i64::MAX));
            let mut element = list.add_partition(&self.topic, partition);
            element.set_offset(offset).map_err(failed)?;
            element.set_metadata(&note.text);
        }
        let consumer = self.current.lock().clone();
        let noting = tokio::task::spawn_blocking(move || consumer.commit(&list, CommitMode::Sync));
        // The client itself would wait for as long as the cluster is away.
        let Ok(noted) = tokio::time::timeout(self.timeout, noting).await else {
            return Err(Error::kafka(
                action(),
                &"no answer within broker.kafka.question_timeout_ms",
            ));
        };
        noted.map_err(|_| Error::Closed)?.map_err(failed)
    }

    /// The owner of a partition has ended: nothing of it runs any more.
    pub fn released(&self, partition: u32) {
        self.held.release(partition);
    }
}

impl Drop for Membership {
    /// Leaves the group; a member with a name (`broker.kafka.instance`) keeps its partitions for a while.
    fn drop(&mut self) {
        self.held.release_all();
        self.changes.close();
        self.stop.store(true, Ordering::Release);
        // The thread ends by itself: leaving may take as long as the cluster does.
        drop(self.thread.take());
    }
}

fn poll(joining: &Joining, current: &Current, (ledger, stop): (Option<&Ledger>, &AtomicBool)) {
    let (topic, name) = (joining.topic.0, &joining.topic.1);
    let follow = |consumer: &BaseConsumer<Member>| {
        if let Some(ledger) = ledger {
            commit(consumer, name, &ledger.take(topic));
        }
    };
    let mut committed = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let consumer = current.lock().clone();
        if let Some(Err(error)) = consumer.poll(POLL) {
            metrics::kafka_error("member");
            tracing::debug!(%error, "a member of a group was told of an error");
        }
        if let Some((_, reason)) = consumer.client().fatal_error() {
            drop(consumer);
            begin_anew(joining, current, &reason);
        } else if committed.elapsed() >= COMMIT_EVERY {
            committed = Instant::now();
            follow(&consumer);
        }
    }
    let consumer = current.lock().clone();
    follow(&consumer);
}

/// Joins again as another client: Kafka has fenced this one, since it slept past its session and another took its name.
fn begin_anew(joining: &Joining, current: &Current, reason: &str) {
    tracing::warn!(
        group = joining.group,
        reason,
        "a member that was given up joins its group again"
    );
    let all: Vec<u32> = joining.member.assigned.lock().iter().copied().collect();
    joining.member.lose(&all);
    match joining.join() {
        Ok(consumer) => {
            let former = std::mem::replace(&mut *current.lock(), consumer);
            // It closes here, unless somebody still waits for an answer of it.
            drop(former);
        }
        Err(error) => {
            tracing::warn!(%error, "it cannot join yet");
            std::thread::sleep(JOIN_AGAIN);
        }
    }
}

/// Commits offsets of partitions that are assigned; nothing is decided by them, so nobody waits.
fn commit(consumer: &BaseConsumer<Member>, name: &str, reached: &[(u32, u64)]) {
    let assigned = consumer
        .assignment()
        .map(|list| partitions(&list))
        .unwrap_or_default();
    let mut list = TopicPartitionList::new();
    for (partition, offset) in reached
        .iter()
        .filter(|(partition, _)| assigned.contains(partition))
    {
        let place = (i32::try_from(*partition), i64::try_from(*offset));
        if let (Ok(partition), Ok(offset)) = place
            && let Err(error) = list.add_partition_offset(name, partition, Offset::Offset(offset))
        {
            tracing::debug!(%error, "an offset is not committed");
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, CommitMode::Async)
    {
        tracing::debug!(%error, "offsets were not committed; the journal holds them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoke_waits_for_all_owners_of_a_partition_and_no_longer_than_it_may() {
        let held = Arc::new(Held::default());
        held.gain(1);
        held.gain(1);
        assert!(held.wait_for(&[2], Duration::ZERO), "nobody owns it");
        held.release(1);
        assert!(!held.wait_for(&[1], Duration::ZERO), "a former owner still runs");
        let releasing = held.clone();
        let thread = std::thread::spawn(move || releasing.release(1));
        assert!(held.wait_for(&[1], Duration::from_secs(60)));
        thread.join().expect("it only releases");
    }
}
