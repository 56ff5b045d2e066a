//! The broker's handle: append, read in order, read by pointer, trim, keep.
//! Two engines stand behind it, the embedded log and Kafka; which one it is shows nowhere else.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tidegate_schemas::{Pointer, Topic, UnixMillis};

use crate::assignments::Assignments;
use crate::embedded::{Condition, Config, Host, Keeper, OpenLog};
use crate::error::{AppendError, Error};
use crate::journal::Readings;
use crate::kafka::{self, Cluster, Offsets, SpillStanding};
use crate::message::{Message, Record};
use crate::reader::{Reader, blocking};

/// A handle on the broker; clones share it.
#[derive(Clone)]
pub struct Broker {
    engine: Engine,
    /// The journals that this process is reading.
    readings: Arc<Readings>,
}

#[derive(Clone)]
enum Engine {
    Embedded(Arc<OpenLog>),
    Kafka(Arc<Cluster>),
}

impl Broker {
    /// Opens the embedded log in `directory`, made if it is missing, and recovers what a crash left.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Damaged`] when acknowledged messages cannot be
    /// read, [`Error::Config`] when the configuration cannot work or does not fit the log.
    pub async fn open(config: &Config, directory: &Path) -> Result<Broker, Error> {
        let (config, directory) = (config.clone(), directory.to_path_buf());
        blocking(move || OpenLog::open(&config, &directory))
            .await
            .map(Broker::of)
    }

    /// Opens the embedded log on a host of the caller's: another disk, another clock, another end on a disk error.
    ///
    /// # Errors
    /// As [`Broker::open`].
    pub async fn open_on(config: &Config, host: Host) -> Result<Broker, Error> {
        let config = config.clone();
        blocking(move || OpenLog::open_on(&config, host))
            .await
            .map(Broker::of)
    }

    /// Connects to a Kafka cluster, makes the topics that are missing and checks all of them. With a spill
    /// (`config.spill.dir`) it returns though the cluster is away: requests are taken, everything else waits, and
    /// [`Broker::connected`] tells when it is back.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration cannot work, [`Error::Kafka`] when the cluster does not answer,
    /// [`Error::Topic`] when a topic does not hold what is promised, [`Error::Locked`] and [`Error::Damaged`] of a spill.
    pub async fn connect(config: &kafka::Config) -> Result<Broker, Error> {
        let cluster = Cluster::open(config).await?;
        Ok(Broker::over(Engine::Kafka(cluster)))
    }

    fn of(open: OpenLog) -> Broker {
        Broker::over(Engine::Embedded(Arc::new(open)))
    }

    fn over(engine: Engine) -> Broker {
        let readings = Arc::default();
        Broker { engine, readings }
    }

    pub(crate) fn readings(&self) -> Arc<Readings> {
        self.readings.clone()
    }

    /// Appends all records and returns their offsets in the order given. Records of two calls are in the order in which
    /// the calls were first polled. A call that is dropped may still have appended.
    ///
    /// Embedded: one frame, all or nothing; a batch that touches `requests` or `registry` resolves once it is durable,
    /// any other once it is ordered into the log. Kafka: each record by itself; resolves once all are acknowledged by
    /// every replica in sync. While it is away, requests are durable on this process's own disk and have no offset yet:
    /// then the list is empty.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, batch: Vec<Record>) -> Result<Vec<u64>, AppendError> {
        match &self.engine {
            Engine::Embedded(open) => open.log.append(&batch, Condition::default()).await,
            Engine::Kafka(cluster) => cluster.append(&batch).await,
        }
    }

    /// Appends outputs and, last, a journal's message, which must get the offset expected. Embedded: if that is not
    /// the next one, nothing is appended. Kafka: then the message is there, and every reader passes over it.
    pub(crate) async fn append_journal(
        &self,
        batch: &[Record],
        expected: (Topic, u32, u64),
    ) -> Result<Vec<u64>, AppendError> {
        match &self.engine {
            Engine::Embedded(open) => {
                let condition = Condition {
                    expected: Some(expected),
                };
                open.log.append(batch, condition).await
            }
            Engine::Kafka(cluster) => cluster.append_journal(batch, expected).await,
        }
    }

    /// How many bytes one batch may have, 40 bytes a record included.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        match &self.engine {
            Engine::Embedded(open) => open.log.frame_bytes_max(),
            Engine::Kafka(cluster) => cluster.batch_bytes_max(),
        }
    }

    /// How many bytes of key, metadata and value a message of `topic` may have.
    #[must_use]
    pub fn message_bytes_max(&self, topic: Topic) -> usize {
        match &self.engine {
            Engine::Embedded(open) => open.log.config().message_bytes_max(topic),
            Engine::Kafka(cluster) => cluster.config.message_bytes_max(topic),
        }
    }

    /// How many partitions a topic has.
    #[must_use]
    pub fn partitions(&self, topic: Topic) -> u32 {
        match &self.engine {
            Engine::Embedded(open) => open.log.config().partitions_of(topic),
            Engine::Kafka(cluster) => cluster.config.partitions_of(topic),
        }
    }

    /// A reader of one partition that begins at offset `from`, or at the first offset behind it that is still there.
    ///
    /// # Panics
    /// When the topic has no such partition.
    #[must_use]
    pub fn reader(&self, topic: Topic, partition: u32, from: u64) -> Reader {
        self.check_place(topic, partition);
        match &self.engine {
            Engine::Embedded(open) => Reader::of_log(&open.log, (topic, partition), from),
            Engine::Kafka(cluster) => {
                Reader::of_cluster(kafka::Reader::new(cluster.clone(), (topic, partition), from))
            }
        }
    }

    /// A reader of a whole journal.
    pub(crate) fn journal_reader(&self, topic: Topic, partition: u32) -> Reader {
        match &self.engine {
            Engine::Embedded(_) => self.reader(topic, partition, 0),
            Engine::Kafka(cluster) => {
                self.check_place(topic, partition);
                Reader::of_cluster(kafka::Reader::of_journal(cluster.clone(), (topic, partition)))
            }
        }
    }

    /// Reads messages by pointer, sorted by place and in one pass; `None` where a message is gone or never was.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] when the disk does not give back what was written, [`Error::Kafka`] when
    /// the cluster does not answer.
    pub async fn read(&self, topic: Topic, pointers: &[Pointer]) -> Result<Vec<Option<Message>>, Error> {
        match &self.engine {
            Engine::Embedded(open) => {
                let (log, pointers) = (Arc::clone(&open.log), pointers.to_vec());
                blocking(move || log.read_pointers(topic, &pointers)).await
            }
            Engine::Kafka(cluster) => cluster.read(topic, pointers).await,
        }
    }

    /// The offsets of a partition: the lowest that is still there, and the one behind the last readable. On Kafka as
    /// last known, without asking: see [`Broker::latest`].
    ///
    /// # Panics
    /// When the topic has no such partition.
    #[must_use]
    pub fn offsets(&self, topic: Topic, partition: u32) -> Range<u64> {
        match &self.engine {
            Engine::Embedded(open) => open.log.offsets(self.check_place(topic, partition)),
            Engine::Kafka(cluster) => cluster.offsets(topic, partition),
        }
    }

    /// The offsets of every partition of a topic, asked for after this call began: whatever was readable then lies
    /// below the ends.
    ///
    /// # Errors
    /// [`Error::Kafka`] when the cluster does not answer.
    pub async fn latest(&self, topic: Topic) -> Result<Vec<Range<u64>>, Error> {
        match &self.engine {
            Engine::Embedded(_) => {
                let partitions = 0..self.partitions(topic);
                Ok(partitions
                    .map(|partition| self.offsets(topic, partition))
                    .collect())
            }
            Engine::Kafka(cluster) => cluster.latest(topic).await,
        }
    }

    /// Gives up every message of a partition below `before`.
    ///
    /// # Errors
    /// [`AppendError`], since the trim itself is a record of the log.
    pub async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<(), AppendError> {
        match &self.engine {
            Engine::Embedded(open) => open.log.trim(topic, partition, before).await,
            Engine::Kafka(cluster) => cluster.trim(topic, partition, before).await,
        }
    }

    /// Which partitions of `topic` this process owns as a member of `group`. Embedded: all, from the start, for ever.
    ///
    /// # Errors
    /// [`Error::Kafka`] when the client of the group cannot be made.
    pub fn assignments(&self, topic: Topic, group: &str) -> Result<Assignments, Error> {
        match &self.engine {
            Engine::Embedded(_) => Ok(Assignments::all(self.partitions(topic))),
            Engine::Kafka(cluster) => cluster.join(topic, group, Offsets::Follow).map(Assignments::of),
        }
    }

    /// The same for owners that keep no journal where partitions are shared out: what they reach is noted with the
    /// group ([`Assignments::note`]). Embedded there are no notes.
    ///
    /// # Errors
    /// [`Error::Kafka`] when the client of the group cannot be made.
    pub fn noted_assignments(&self, topic: Topic, group: &str) -> Result<Assignments, Error> {
        match &self.engine {
            Engine::Embedded(_) => Ok(Assignments::all(self.partitions(topic))),
            Engine::Kafka(cluster) => cluster.join(topic, group, Offsets::Noted).map(Assignments::of),
        }
    }

    /// Everything in which a Kafka cluster's topics fall short of what is promised, missing ones included. Makes nothing.
    ///
    /// # Errors
    /// As [`Broker::connect`], when nothing can be said of the topics.
    pub async fn shortfalls(config: &kafka::Config) -> Result<Vec<Error>, Error> {
        kafka::shortfalls(config).await
    }

    /// How far these groups are behind in their topics on Kafka, which is told to the metrics too. Embedded: nothing, the
    /// log keeps what is not read.
    ///
    /// # Errors
    /// [`Error::Kafka`] when the cluster does not answer.
    pub async fn standings(&self, groups: &[(Topic, &str)]) -> Result<Vec<kafka::Standing>, Error> {
        match &self.engine {
            Engine::Embedded(_) => Ok(Vec::new()),
            Engine::Kafka(cluster) => kafka::standings(cluster, groups).await,
        }
    }

    /// Whether partitions may go to other processes: an owner that has lost its journal then tries again while the
    /// group gives it the partition.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Kafka(_))
    }

    /// An owner has reached `offset` of its input and journalled it. On Kafka the group's own offset follows now and
    /// then, which only shows lag.
    pub fn reached(&self, topic: Topic, partition: u32, offset: u64) {
        if let Engine::Kafka(cluster) = &self.engine {
            cluster.reached(topic, partition, offset);
        }
    }

    /// Registers who still needs messages of a partition; without a keeper they go with their segment. Keepers are
    /// asked from a thread of the broker's, never under its lock. On Kafka the topic's own settings decide.
    ///
    /// # Panics
    /// When the topic has no such partition.
    pub fn keep(&self, topic: Topic, partition: u32, keeper: Keeper) {
        if let Engine::Embedded(open) = &self.engine {
            open.log.add_keeper(self.check_place(topic, partition), keeper);
        }
    }

    /// Begins to free segments. Call it once every keeper is registered: until then nothing is freed.
    pub fn start_retention(&self) {
        if let Engine::Embedded(open) = &self.engine {
            open.log.start_retention();
        }
    }

    /// Whether requests are taken; false when the disk or its budget is used up, or too much waits for Kafka. Cheap.
    #[must_use]
    pub fn has_space(&self) -> bool {
        match &self.engine {
            Engine::Embedded(open) => open.log.has_space.load(Relaxed),
            Engine::Kafka(cluster) => cluster.requests().has_space(),
        }
    }

    /// The configuration's key whose limit is reached when there is no space.
    #[must_use]
    pub fn space_limit(&self) -> &'static str {
        match &self.engine {
            Engine::Embedded(_) => "broker.embedded.disk_bytes_max",
            Engine::Kafka(cluster) => cluster.requests().space_limit(),
        }
    }

    /// Waits until the cluster has answered once and its topics were checked. Embedded: at once.
    ///
    /// # Errors
    /// [`Error::Config`] when it has answered and cannot be used: this process must not go on.
    pub async fn connected(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Embedded(_) => Ok(()),
            Engine::Kafka(cluster) => cluster.connected().await,
        }
    }

    /// Whether the cluster has answered since this process began. Embedded: always.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        match &self.engine {
            Engine::Embedded(_) => true,
            Engine::Kafka(cluster) => cluster.is_connected(),
        }
    }

    /// Resolves when the engine can go on only in a new process. Embedded: never, for it ends the process itself.
    pub async fn failed(&self) -> Error {
        match &self.engine {
            Engine::Embedded(_) => std::future::pending().await,
            Engine::Kafka(cluster) => cluster.failed().await,
        }
    }

    /// How this process's spill stands, if it has one.
    #[must_use]
    pub fn spill(&self) -> Option<SpillStanding> {
        match &self.engine {
            Engine::Embedded(_) => None,
            Engine::Kafka(cluster) => cluster.requests().spill(),
        }
    }

    /// The broker's clock.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match &self.engine {
            Engine::Embedded(open) => open.log.now(),
            Engine::Kafka(_) => UnixMillis::from(SystemTime::now()),
        }
    }

    /// Stops in good order: everything written, synced and indexed, or acknowledged. Other handles get `Closed` from
    /// now on.
    ///
    /// # Errors
    /// [`Error::Io`] when the last writes fail; the log then recovers at its next start.
    pub async fn close(self) -> Result<(), Error> {
        match self.engine {
            Engine::Embedded(open) => blocking(move || open.close()).await,
            Engine::Kafka(cluster) => cluster.close().await,
        }
    }

    /// The slot of a partition in the embedded log.
    fn check_place(&self, topic: Topic, partition: u32) -> usize {
        let slot = match &self.engine {
            Engine::Embedded(open) => open.log.slot(topic, partition).ok(),
            Engine::Kafka(cluster) => (partition < cluster.config.partitions_of(topic)).then_some(0),
        };
        slot.expect("the caller asks only for partitions that the topic has")
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Broker")
    }
}
