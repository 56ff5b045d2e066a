//! Membership in a group, which shares a topic's partitions out among processes. It decides who owns what and reads
//! nothing: its partitions stay paused, and owners read from the offset in their journal. One thread polls, so that
//! heartbeats and rebalances never wait for work.
//! In: what owners have reached, and that they have ended. Out: partitions gained and lost; offsets committed, which
//! only show lag. Where an owner keeps no journal it notes with the group what it has reached, and a few words more.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::Topic;
use tokio::sync::mpsc;

use super::client::{self, Told};
use super::config::Config;
use super::member::{Held, Member, partitions};
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
    grace: Duration,
}

/// The client that is the member now: one that Kafka has fenced never works again, and another takes its place.
type Current = Arc<Mutex<Arc<BaseConsumer<Member>>>>;

/// How a client joins.
struct Joining {
    settings: ClientConfig,
    member: Member,
    topic: (Topic, String),
}

impl Joining {
    fn join(&self) -> Result<Arc<BaseConsumer<Member>>, Error> {
        let failed =
            |error: KafkaError| Error::kafka(format!("join the group {}", self.member.group), &error);
        let consumer: BaseConsumer<Member> = self
            .settings
            .create_with_context(self.member.anew())
            .map_err(failed)?;
        consumer.subscribe(&[self.topic.1.as_str()]).map_err(failed)?;
        Ok(Arc::new(consumer))
    }
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
        let member = Member {
            told,
            group: format!("{}{group}", config.prefix).into(),
            held: held.clone(),
            changes: tell,
            grace: config.release_timeout(),
            assigned: assigned.clone(),
            former: Arc::default(),
        };
        let joining = Joining {
            settings: client::member(config, group),
            member,
            topic: (topic, names.of(topic).to_owned()),
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
            grace: config.release_timeout(),
        })
    }

    /// The next change; waits for it.
    pub async fn next(&mut self) -> Assignment {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    /// How long an owner may go on that has lost its partition.
    pub fn grace(&self) -> Duration {
        self.grace
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
    let member = &joining.member;
    tracing::warn!(
        group = &*member.group,
        reason,
        "a member that was given up joins its group again"
    );
    let former = current.lock().clone();
    former.context().retire();
    match joining.join() {
        Ok(consumer) => {
            *current.lock() = consumer;
            // Closing may take as long as the cluster does, and the group waits for whoever does not poll.
            std::thread::spawn(move || drop(former));
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
