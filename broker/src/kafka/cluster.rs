//! Kafka as the broker's second engine: the same calls as the embedded log, each handed to the part that does it.
//! In: records, pointers, places. Out: offsets and messages. Decides nothing about what they mean.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::{Pointer, Topic};
use tokio::sync::watch;

use super::client::{self, Told};
use super::config::Config;
use super::ends::Ends;
use super::feed::Feed;
use super::group::{Membership, Offsets};
use super::message::check;
use super::pointers;
use super::producer::{Producer, WhenFull};
use super::pump::Pump;
use super::reach::{self, Reach};
use super::reached::Ledger;
use super::requests::Requests;
use super::topics::Names;
use super::trouble::Trouble;
use crate::error::{AppendError, Error};
use crate::journal::step;
use crate::message::{Message, Record};

/// Bytes of one append; more only costs memory, there is no frame that must hold it.
const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How soon a question that was not answered is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long one question waits: sent to a node that has just died it is never answered, and asked anew it goes elsewhere.
const ONE_QUESTION: Duration = Duration::from_secs(2);
/// How often it is looked whether a client has given up.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A Kafka cluster as this process uses it.
pub struct Cluster {
    pub config: Config,
    pub(super) names: Names,
    ends: Arc<Ends>,
    pub(super) trouble: Arc<Trouble>,
    /// Requests: given up soon, so that their sender is answered in time.
    pub(super) requests: Requests,
    /// What owners write.
    owners: Producer,
    pub(super) admin: Arc<AdminClient<Told>>,
    followers: Mutex<Vec<Arc<Pump>>>,
    seekers: Mutex<Vec<Arc<Pump>>>,
    pub(super) asker: Arc<Pump>,
    ledger: Arc<Ledger>,
    pub(super) reach: watch::Sender<Reach>,
    closed: watch::Sender<bool>,
}

impl Cluster {
    /// Connects, makes missing topics and checks all of them. With a spill it does not wait for a cluster that is away:
    /// see [`Cluster::connected`].
    ///
    /// # Errors
    /// [`Error::Kafka`] when the cluster does not answer and there is no spill, [`Error::Topic`] when a topic breaks a
    /// promise, and whatever keeps the spill from opening.
    pub async fn open(config: &Config) -> Result<Arc<Cluster>, Error> {
        config.check()?;
        let names = Names::new(&config.prefix);
        let ends = Arc::new(Ends::new(names.clone(), &config.partitions));
        let trouble = Arc::new(Trouble::default());
        let told = |client| Told {
            client,
            ends: ends.clone(),
            trouble: trouble.clone(),
        };
        // Its thread hears what goes wrong; whoever makes topics and checks them would only hear of silence.
        let asker = Arc::new(Pump::start(config, names.clone(), told("asker"))?);
        let admin: AdminClient<Told> = client::producer(config, config.append_timeout_ms)
            .create_with_context(told("admin"))
            .map_err(|error| Error::kafka("make a client (broker.kafka)", &error))?;
        let owners = (names.clone(), told("owners"));
        let cluster = Arc::new(Cluster {
            requests: Requests::open(config, (&names, told("intake")), &asker).await?,
            owners: Producer::new(config, owners, (config.append_timeout_ms, WhenFull::Wait))?,
            config: config.clone(),
            names,
            ends,
            trouble,
            admin: Arc::new(admin),
            followers: Mutex::default(),
            seekers: Mutex::default(),
            asker,
            ledger: Arc::default(),
            reach: watch::Sender::new(Reach::Silent),
            closed: watch::Sender::new(false),
        });
        if !cluster.requests.can_spill() {
            cluster.ask().await?;
            cluster.reach.send_replace(Reach::Reached);
            return Ok(cluster);
        }
        tokio::spawn(reach::reach(Arc::downgrade(&cluster)));
        cluster.wait_a_little().await?;
        Ok(cluster)
    }

    /// Resolves when a client has given up for good: only a new process can go on.
    pub async fn failed(&self) -> Error {
        let reason = loop {
            let failures = [self.requests.failure(), self.owners.failure()];
            if let Some(reason) = failures.into_iter().flatten().next() {
                break reason;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        Error::kafka("send to Kafka any more", &reason)
    }

    /// Appends all records, in order within each partition.
    pub async fn append(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        for record in batch {
            let limits = (
                self.config.message_bytes_max(record.topic),
                self.config.partitions_of(record.topic),
            );
            check(record, limits)?;
        }
        let mut topics = batch.iter().map(|record| record.topic);
        if !batch.is_empty() && topics.all(|topic| topic == Topic::Requests) {
            self.requests.append(batch).await
        } else {
            self.owners.append(batch).await
        }
    }

    /// Appends a journal's message, the last of `batch`, once its outputs are acknowledged.
    ///
    /// # Errors
    /// [`AppendError::Overtaken`] when it did not get the expected offset, [`AppendError::InDoubt`] when nobody knows
    /// whether it is there; any other error says that it is not.
    pub async fn append_journal(
        &self,
        batch: &[Record],
        (topic, partition, expected): (Topic, u32, u64),
    ) -> Result<Vec<u64>, AppendError> {
        let Some((journal, outputs)) = batch.split_last() else {
            return Ok(Vec::new());
        };
        let mut offsets = self.append(outputs).await?;
        step("outputs", (topic, partition));
        let written = self.append(std::slice::from_ref(journal)).await;
        let written = written.map_err(|error| match error {
            AppendError::Unanswered { topic, reason } => AppendError::InDoubt {
                topic,
                partition,
                reason,
            },
            error => error,
        })?;
        let found = written.first().copied().unwrap_or_default();
        if found != expected {
            return Err(AppendError::Overtaken {
                topic: topic.label(),
                partition,
                expected,
                found,
            });
        }
        offsets.push(found);
        Ok(offsets)
    }

    /// Attaches a feed to the first pump that does not read the place for somebody else.
    pub fn attach(
        &self,
        seeks: bool,
        (place, from): ((Topic, u32), u64),
        feed: &Arc<Feed>,
    ) -> Result<Arc<Pump>, Error> {
        let (pumps, client) = if seeks {
            (&self.seekers, "seeker")
        } else {
            (&self.followers, "reader")
        };
        let mut pumps = pumps.lock();
        for pump in &*pumps {
            if pump.attach(place, from, feed)? {
                return Ok(pump.clone());
            }
        }
        let told = self.told(client);
        let pump = Arc::new(Pump::start(&self.config, self.names.clone(), told)?);
        pump.attach(place, from, feed)?;
        pumps.push(pump.clone());
        Ok(pump)
    }

    /// What a client of this process tells whom.
    pub fn told(&self, client: &'static str) -> Told {
        Told {
            client,
            ends: self.ends.clone(),
            trouble: self.trouble.clone(),
        }
    }

    /// Reads messages by pointer.
    pub async fn read(self: &Arc<Self>, topic: Topic, at: &[Pointer]) -> Result<Vec<Option<Message>>, Error> {
        pointers::read(self, topic, at).await
    }

    /// The ranges of all partitions of a topic, asked for now.
    pub async fn latest(&self, topic: Topic) -> Result<Vec<Range<u64>>, Error> {
        let (asker, name) = (self.asker.clone(), self.names.of(topic).to_owned());
        let (count, timeout) = (self.config.partitions_of(topic), self.config.question_timeout());
        let asked = tokio::task::spawn_blocking(move || ask_until(&asker, (&name, count), timeout)).await;
        let ranges = asked.map_err(|_| Error::Closed)??;
        for (partition, range) in (0..).zip(&ranges) {
            self.ends.asked(topic, partition, range);
        }
        Ok(ranges)
    }

    /// A topic's full name.
    pub fn name(&self, topic: Topic) -> &str {
        self.names.of(topic)
    }

    /// The client of the cluster's settings, and the topics' names.
    pub fn admin(&self) -> (&AdminClient<Told>, &Names) {
        (&self.admin, &self.names)
    }

    /// The range last known.
    pub fn offsets(&self, topic: Topic, partition: u32) -> Range<u64> {
        self.ends.get(topic, partition)
    }

    /// Deletes what lies below `before`.
    pub async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<(), AppendError> {
        let refused = |reason: String| AppendError::Refused {
            topic: topic.label(),
            reason,
        };
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(before).unwrap_or(i64::MAX));
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        list.add_partition_offset(self.names.of(topic), partition, offset)
            .map_err(|error| refused(error.to_string()))?;
        let options = AdminOptions::new().request_timeout(Some(self.config.question_timeout()));
        let trimmed = self.admin.delete_records(&list, &options).await;
        let trimmed = trimmed.map_err(|error| refused(error.to_string()))?;
        for element in trimmed.elements() {
            element.error().map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }

    /// Joins a group.
    pub fn join(&self, topic: Topic, group: &str, offsets: Offsets) -> Result<Membership, Error> {
        let told = self.told("member");
        Membership::join(
            &self.config,
            (&self.names, told, self.ledger.clone()),
            (topic, group, offsets),
        )
    }

    /// An owner has reached this offset of its input.
    pub fn reached(&self, topic: Topic, partition: u32, offset: u64) {
        self.ledger.reached(topic, partition, offset);
    }

    /// The way of requests.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Bytes that one append may have.
    pub fn batch_bytes_max(&self) -> usize {
        APPEND_BYTES_MAX
    }

    /// Hears of the end.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Sends what waits, and ends all readers.
    pub async fn close(self: Arc<Self>) -> Result<(), Error> {
        self.closed.send_replace(true);
        self.requests.close().await?;
        if !self.is_connected() {
            // Nobody was told that anything was sent.
            return Ok(());
        }
        let timeout = Duration::from_millis(self.config.append_timeout_ms);
        let flushed = tokio::task::spawn_blocking(move || {
            self.requests.flush(timeout)?;
            self.owners.flush(timeout)
        });
        flushed.await.map_err(|_| Error::Closed)?
    }
}

/// Asks until the cluster answers: just made, or while its leaders move, it does not know them all.
fn ask_until(asker: &Pump, topic: (&str, u32), timeout: Duration) -> Result<Vec<Range<u64>>, Error> {
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match ask(asker, topic, left.min(ONE_QUESTION)) {
            Err(_) if left > ASK_AGAIN => {
                // Nobody else tells this client of new leaders: it reads nothing, and would ask a dead node for ever.
                // Whether that was answered shows at the next question.
                let _ = asker
                    .consumer()
                    .fetch_metadata(Some(topic.0), left.min(ONE_QUESTION));
                std::thread::sleep(ASK_AGAIN);
            }
            answered => return answered,
        }
    }
}

/// Asks for the ends of all partitions of a topic in one request to each of their leaders.
fn ask(asker: &Pump, (name, count): (&str, u32), timeout: Duration) -> Result<Vec<Range<u64>>, Error> {
    let failed = |error| Error::kafka(format!("ask where {name} ends"), &error);
    let bound = |at: Offset| {
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            list.add_partition_offset(name, partition, at).map_err(failed)?;
        }
        let answer = asker
            .consumer()
            .offsets_for_times(list, timeout)
            .map_err(failed)?;
        let mut bounds = vec![0; count as usize];
        for element in answer.elements() {
            element.error().map_err(failed)?;
            let place = usize::try_from(element.partition()).ok();
            let offset = element
                .offset()
                .to_raw()
                .and_then(|offset| u64::try_from(offset).ok());
            if let (Some(bound), Some(offset)) = (place.and_then(|at| bounds.get_mut(at)), offset) {
                *bound = offset;
            }
        }
        Ok(bounds)
    };
    let (starts, ends): (Vec<u64>, Vec<u64>) = (bound(Offset::Beginning)?, bound(Offset::End)?);
    Ok(starts
        .into_iter()
        .zip(ends)
        .map(|(start, end)| start.min(end)..end)
        .collect())
}
