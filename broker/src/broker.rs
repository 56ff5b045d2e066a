//! The broker's handle: append, read in order, read by pointer, trim, keep.
//! One engine today, the embedded log; Kafka becomes the second behind the same methods.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tidegate_schemas::{Pointer, Topic, UnixMillis};

use crate::assignments::Assignments;
use crate::embedded::{Condition, Config, Host, Keeper, Log, Next, OpenLog};
use crate::error::{AppendError, Error};
use crate::message::{Message, Record};

/// A handle on the broker; clones share it.
#[derive(Clone)]
pub struct Broker {
    open: Arc<OpenLog>,
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

    fn of(open: OpenLog) -> Broker {
        Broker { open: Arc::new(open) }
    }

    fn log(&self) -> &Log {
        &self.open.log
    }

    /// Appends all records or none, as one frame, and returns their offsets in the order given. A batch that touches
    /// `requests` or `registry` resolves once it is durable, any other once it is ordered into the log. Records of two
    /// calls are in the order in which the calls were first polled. A call that is dropped may still have appended.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append(&self, batch: Vec<Record>) -> Result<Vec<u64>, AppendError> {
        self.log().append(&batch, Condition::default()).await
    }

    /// Appends like [`Broker::append`] if the next offset of a partition is as expected, else not at all.
    pub(crate) async fn append_if(
        &self,
        batch: &[Record],
        expected: (Topic, u32, u64),
    ) -> Result<Vec<u64>, AppendError> {
        self.log()
            .append(
                batch,
                Condition {
                    expected: Some(expected),
                },
            )
            .await
    }

    /// How many bytes one batch may have, 40 bytes a record included.
    #[must_use]
    pub fn batch_bytes_max(&self) -> usize {
        self.log().frame_bytes_max()
    }

    /// How many bytes of key, metadata and value a message of `topic` may have.
    #[must_use]
    pub fn message_bytes_max(&self, topic: Topic) -> usize {
        self.log().config().message_bytes_max(topic)
    }

    /// How many partitions a topic has.
    #[must_use]
    pub fn partitions(&self, topic: Topic) -> u32 {
        self.log().config().partitions_of(topic)
    }

    /// A reader of one partition that begins at offset `from`, or at the first offset behind it that is still there.
    ///
    /// # Panics
    /// When the topic has no such partition.
    #[must_use]
    pub fn reader(&self, topic: Topic, partition: u32, from: u64) -> Reader {
        let slot = self.slot(topic, partition);
        Reader {
            log: Arc::clone(&self.open.log),
            slot,
            next: from,
        }
    }

    /// Reads messages by pointer, sorted by place and in one pass; `None` where a message is gone or never was.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] when the disk does not give back what was written.
    pub async fn read(&self, topic: Topic, pointers: &[Pointer]) -> Result<Vec<Option<Message>>, Error> {
        let (log, pointers) = (Arc::clone(&self.open.log), pointers.to_vec());
        blocking(move || log.read_pointers(topic, &pointers)).await
    }

    /// The offsets of a partition: the lowest that is still there, and the one behind the last readable.
    ///
    /// # Panics
    /// When the topic has no such partition.
    #[must_use]
    pub fn offsets(&self, topic: Topic, partition: u32) -> Range<u64> {
        let slot = self.slot(topic, partition);
        self.log().offsets(slot)
    }

    /// Gives up every message of a partition below `before`.
    ///
    /// # Errors
    /// [`AppendError`], since the trim itself is a record of the log.
    pub async fn trim(&self, topic: Topic, partition: u32, before: u64) -> Result<(), AppendError> {
        self.log().trim(topic, partition, before).await
    }

    /// Which partitions of `topic` this process owns as a member of `group`. Embedded: all, from the start, for ever.
    #[must_use]
    pub fn assignments(&self, topic: Topic, _group: &str) -> Assignments {
        Assignments::all(self.partitions(topic))
    }

    /// Registers who still needs messages of a partition; without a keeper they go with their segment. Keepers are
    /// asked from a thread of the broker's, never under its lock.
    ///
    /// # Panics
    /// When the topic has no such partition.
    pub fn keep(&self, topic: Topic, partition: u32, keeper: Keeper) {
        let slot = self.slot(topic, partition);
        self.log().add_keeper(slot, keeper);
    }

    /// Begins to free segments. Call it once every keeper is registered: until then nothing is freed.
    pub fn start_retention(&self) {
        self.log().start_retention();
    }

    /// Whether requests are taken; false when the disk or its budget is used up. One atomic read.
    #[must_use]
    pub fn has_space(&self) -> bool {
        self.log().has_space.load(Relaxed)
    }

    /// The broker's clock.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.log().now()
    }

    /// Stops in good order: everything written, synced and indexed. Other handles get `Closed` from now on.
    ///
    /// # Errors
    /// [`Error::Io`] when the last writes fail; the log then recovers at its next start.
    pub async fn close(self) -> Result<(), Error> {
        let open = Arc::clone(&self.open);
        blocking(move || open.close()).await
    }

    fn slot(&self, topic: Topic, partition: u32) -> usize {
        self.log()
            .slot(topic, partition)
            .expect("the caller asks only for partitions that the topic has")
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Broker")
    }
}

/// Reads one partition in order.
pub struct Reader {
    log: Arc<Log>,
    slot: usize,
    next: u64,
}

impl Reader {
    /// Waits until at least one message is readable; returns at most `messages_max` of them and, unless the first alone
    /// is larger, at most `bytes_max` bytes. The newest come from memory without a copy. Dropping the call loses nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] from the disk, [`Error::Closed`] when the broker closes.
    pub async fn next(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<Message>, Error> {
        let log = Arc::clone(&self.log);
        loop {
            let mut readable = std::pin::pin!(log.readable[self.slot].notified());
            readable.as_mut().enable();
            let messages = match log.next(self.slot, self.next, (messages_max, bytes_max))? {
                Next::Memory(records) => records.iter().map(crate::embedded::own_message).collect(),
                Next::Disk(plan) => {
                    let end = plan.end();
                    let messages = blocking(move || plan.read()).await?;
                    if messages.is_empty() {
                        self.next = end;
                    }
                    messages
                }
                Next::Nothing => {
                    readable.await;
                    continue;
                }
            };
            if let Some(last) = messages.last() {
                self.next = last.offset + 1;
                return Ok(messages);
            }
        }
    }

    /// The offset from which it goes on.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Goes on from another offset.
    pub fn seek(&mut self, offset: u64) {
        self.next = offset;
    }
}

/// Runs what blocks on a thread for it.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Closed),
    }
}
