//! What lies in the spill: an embedded log of its own that holds nothing but requests, one partition for each of Kafka's.
//! In: records to keep, and word of what Kafka has. Out: messages in order, and how many, how large, how old they are. A
//! message is durable before it is said to be kept, and a trim before the next batch is sent, so that a crash repeats one
//! batch of each partition at most.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_schemas::{RequestMeta, Topic, UnixMillis};
use tokio::sync::Notify;

use super::super::config::Config;
use super::Spilled;
use crate::embedded::{self, Condition, Keeper, OpenLog, PartitionCounts, RECORD_HEADER};
use crate::error::{AppendError, Error};
use crate::message::{Message, Record};
use crate::reader::{Reader, blocking};

/// Messages and bytes that are sent at a time, of each partition.
const BATCH_MAX: (usize, usize) = (2_000, 1024 * 1024);
/// Bytes that the log's newest messages take in memory.
const TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Segments are as small as the largest message allows, so that little lies ready and space comes back soon.
const SEGMENTS: u64 = 128;
const SEGMENT_UNIT: u64 = 64 * 1024;
/// A century: nothing goes by its age, only what was drained.
const KEPT_HOURS: u64 = 100 * 365 * 24;
/// How soon emptied segments are looked for.
const FREE_EVERY_S: u64 = 2;
/// How soon a trim that found no room is tried again.
const TRIM_AGAIN: Duration = Duration::from_millis(50);

/// The spill's log, and what lies in it.
pub struct Store {
    open: Arc<OpenLog>,
    lying: Mutex<Vec<Lying>>,
    came: Vec<Notify>,
}

/// What lies in one partition, beside its offsets, which are the log's.
#[derive(Debug, Clone, Copy, Default)]
struct Lying {
    /// Below zero for a moment when messages are drained before the call that put them has gone on.
    bytes: i64,
    oldest: UnixMillis,
}

/// The log's configuration: its limits follow from those of Kafka's topics.
///
/// # Errors
/// [`Error::Config`] when `bytes_max` cannot hold four segments of one largest message each.
fn log_config(config: &Config) -> Result<embedded::Config, Error> {
    let message = config.body_message_bytes_max;
    let partitions = PartitionCounts {
        requests: config.partitions.requests,
        events: 1,
        outcomes: 1,
        attempts: 1,
        dead: 1,
        audit: 1,
    };
    let log = embedded::Config {
        body_message_bytes_max: message,
        rows_message_bytes_max: 0,
        disk_bytes_max: config.spill.bytes_max,
        tail_bytes_max: TAIL_BYTES_MAX,
        retention_hours: KEPT_HOURS,
        retention_interval_s: FREE_EVERY_S,
        partitions,
        ..embedded::Config::default()
    };
    let least = message as u64 + log.standing_bytes() + 2 * 4096;
    let segment_bytes = (config.spill.bytes_max / SEGMENTS).max(least);
    let log = embedded::Config {
        segment_bytes: segment_bytes.next_multiple_of(SEGMENT_UNIT),
        ..log
    };
    let needed = log.segment_bytes * (log.spare_segments as u64 + 2);
    if config.spill.bytes_max < needed {
        return Err(Error::Config(format!(
            "broker.kafka.spill.bytes_max is {}, it needs {needed}: four times the largest message \
             (broker.kafka.body_message_bytes_max) and some room",
            config.spill.bytes_max
        )));
    }
    Ok(log)
}

impl Store {
    /// Opens the spill in a folder, made if it is missing, and recovers what a crash left. Blocks.
    ///
    /// # Errors
    /// As an embedded log's; [`Error::Config`] when the limits do not fit.
    pub fn open(config: &Config, folder: &Path) -> Result<Store, Error> {
        Store::of(
            OpenLog::open(&log_config(config)?, folder)?,
            config.partitions.requests,
        )
    }

    /// The same on a host of a test's own.
    #[cfg(test)]
    pub fn open_on(config: &Config, host: embedded::Host) -> Result<Store, Error> {
        Store::of(
            OpenLog::open_on(&log_config(config)?, host)?,
            config.partitions.requests,
        )
    }

    fn of(open: OpenLog, partitions: u32) -> Result<Store, Error> {
        let mut lying = Vec::new();
        for partition in 0..partitions {
            let slot = place(&open, partition);
            let offsets = open.log.offsets(slot);
            let mut found = Lying {
                bytes: signed(open.log.held_bytes(slot)?),
                oldest: UnixMillis(0),
            };
            if !offsets.is_empty() {
                let pointer = tidegate_schemas::Pointer {
                    partition,
                    offset: offsets.start,
                };
                let first = open.log.read_pointers(Topic::Requests, &[pointer])?;
                let first = first.into_iter().flatten().next();
                found.oldest = first.map_or_else(|| open.log.now(), |message| message.timestamp);
            }
            lying.push(found);
            // Whatever is not trimmed outlives its segment.
            open.log.add_keeper(slot, Keeper::new(|range| range.collect()));
        }
        open.log.start_retention();
        Ok(Store {
            open: Arc::new(open),
            lying: Mutex::new(lying),
            came: (0..partitions).map(|_| Notify::new()).collect(),
        })
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.came.len()).unwrap_or(u32::MAX)
    }

    /// Keeps requests, all or none of them; returns when they are durable. Each is marked as spilled.
    ///
    /// # Errors
    /// [`AppendError::SpillFull`] when there is no room, [`AppendError::Closed`].
    pub async fn put(&self, records: impl IntoIterator<Item = Record>) -> Result<(), AppendError> {
        let records: Vec<Record> = records.into_iter().map(marked).collect();
        let put = self.open.log.append(&records, Condition::default()).await;
        let offsets = put.map_err(|error| match error {
            AppendError::Full { needed, used, limit } => AppendError::SpillFull { needed, used, limit },
            error => error,
        })?;
        let now = self.open.log.now();
        let mut lying = self.lying.lock();
        for (record, offset) in records.iter().zip(offsets) {
            let is_oldest = self.offsets(record.partition).start == offset;
            if let Some(partition) = lying.get_mut(record.partition as usize) {
                partition.oldest = if is_oldest { now } else { partition.oldest };
                partition.bytes += record_bytes(&record.key, &record.meta, &record.value);
            }
        }
        drop(lying);
        let came = records
            .iter()
            .filter_map(|record| self.came.get(record.partition as usize));
        came.for_each(Notify::notify_one);
        Ok(())
    }

    /// Waits until something lies in a partition.
    pub async fn lies(&self, partition: u32) {
        while !self.holds(partition) {
            // A word that came before is kept.
            self.came[partition as usize].notified().await;
        }
    }

    /// Whether something lies in a partition.
    pub fn holds(&self, partition: u32) -> bool {
        !self.offsets(partition).is_empty()
    }

    fn offsets(&self, partition: u32) -> Range<u64> {
        self.open.log.offsets(place(&self.open, partition))
    }

    /// The oldest messages of a partition, which must not be empty.
    ///
    /// # Errors
    /// [`Error`] when the disk does not give back what was written.
    pub async fn oldest(&self, partition: u32) -> Result<Vec<Message>, Error> {
        let start = self.offsets(partition).start;
        let mut reader = Reader::of_log(&self.open.log, (Topic::Requests, partition), start);
        let messages = reader.next(BATCH_MAX.0, BATCH_MAX.1).await?;
        if let Some(first) = messages.first() {
            self.lying.lock()[partition as usize].oldest = first.timestamp;
        }
        Ok(messages)
    }

    /// The oldest messages of a partition are in Kafka: trims them, durably.
    ///
    /// # Errors
    /// [`AppendError::Closed`].
    pub async fn drained(&self, partition: u32, messages: &[Message]) -> Result<(), AppendError> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let log = &self.open.log;
        loop {
            match log
                .trim_durably(Topic::Requests, partition, last.offset + 1)
                .await
            {
                Ok(()) => break,
                // Emptied segments give room as soon as they are found.
                Err(error) if error.is_retryable() => tokio::time::sleep(TRIM_AGAIN).await,
                Err(error) => return Err(error),
            }
        }
        let bytes = messages
            .iter()
            .map(|message| record_bytes(&message.key, &message.meta, &message.value));
        let mut lying = self.lying.lock();
        let of_partition = &mut lying[partition as usize];
        of_partition.bytes -= bytes.sum::<i64>();
        of_partition.oldest = last.timestamp;
        Ok(())
    }

    /// What lies there, over all partitions.
    pub fn standing(&self) -> Spilled {
        let lying = self.lying.lock().clone();
        let held = (0..).zip(lying).filter(|(partition, _)| self.holds(*partition));
        held.fold(Spilled::default(), |sum, (partition, lying)| {
            let offsets = self.offsets(partition);
            Spilled {
                requests: sum.requests + (offsets.end - offsets.start),
                bytes: sum.bytes + u64::try_from(lying.bytes).unwrap_or_default(),
                oldest: Some(sum.oldest.map_or(lying.oldest, |oldest| oldest.min(lying.oldest))),
            }
        })
    }

    /// Whether nothing lies there.
    pub fn is_empty(&self) -> bool {
        (0..self.partitions()).all(|partition| !self.holds(partition))
    }

    /// Whether more is taken.
    pub fn has_space(&self) -> bool {
        self.open.log.has_space.load(Relaxed)
    }

    /// Bytes that its segments take on the disk.
    pub fn used_bytes(&self) -> u64 {
        self.open.log.used_bytes()
    }

    /// The store's clock.
    pub fn now(&self) -> UnixMillis {
        self.open.log.now()
    }

    /// Stops in good order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn close(&self) -> Result<(), Error> {
        let open = Arc::clone(&self.open);
        blocking(move || open.close()).await
    }
}

/// The slot of a partition.
fn place(open: &OpenLog, partition: u32) -> usize {
    let slot = open.log.slot(Topic::Requests, partition);
    slot.expect("the log has as many partitions as Kafka's topic")
}

fn marked(record: Record) -> Record {
    Record {
        meta: Bytes::from(RequestMeta::mark_spilled(&record.meta)),
        ..record
    }
}

fn record_bytes(key: &Bytes, meta: &Bytes, value: &Bytes) -> i64 {
    signed((RECORD_HEADER + key.len() + meta.len() + value.len()) as u64)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
