//! Sending: an idempotent producer with `acks=all`, whose delivery reports wake the appends that wait for them.
//! In: batches of records. Out: their offsets, or why they have none. A full queue is an answer, never a pause: librdkafka's
//! own futures would sleep 100 ms there. Batches to one partition keep their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::statistics::Statistics;
use rdkafka::util::Timeout;
use tokio::sync::Notify;

use super::client::{self, Told};
use super::config::Config;
use super::deliveries::{Deliveries, Undelivered, ticket};
use super::message::encode;
use super::topics::Names;
use crate::error::{AppendError, Error};
use crate::message::Record;

/// How long a batch that has begun waits for room before it looks again by itself.
const ROOM_AGAIN: Duration = Duration::from_millis(100);

/// What a full queue means for a batch of which nothing is sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// An answer at once: whoever sent it is told to come again.
    Refuse,
    /// The owner waits; it reads nothing meanwhile.
    Wait,
}

/// Appends records.
pub struct Producer {
    inner: ThreadedProducer<Reports>,
    reports: Reports,
    names: Names,
    when_full: WhenFull,
    queue_bytes_max: usize,
}

/// Takes delivery reports.
#[derive(Clone)]
struct Reports {
    told: Told,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    deliveries: Deliveries,
    queued_bytes: AtomicUsize,
    room: Notify,
    /// The client has given up for good: the process must begin anew.
    broken: AtomicBool,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.told.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            tracing::error!(%error, "the producer cannot go on: {reason}");
            self.shared.broken.store(true, Ordering::Release);
        }
        self.told.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: usize) {
        let (message, report) = match report {
            Ok(message) => (message, u64::try_from(message.offset()).map_err(|_| unnumbered())),
            Err((error, message)) => (message, Err(undelivered(error))),
        };
        let bytes = message.payload_len() + message.key_len();
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.shared.deliveries.settle(ticket, report);
        self.shared.room.notify_waiters();
    }
}

fn unnumbered() -> Undelivered {
    Undelivered::Unanswered("Kafka named no offset".to_owned())
}

/// What an error means for a record that the client had taken.
fn undelivered(error: &KafkaError) -> Undelivered {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition,
        ) => Undelivered::Refused(error.to_string()),
        _ => Undelivered::Unanswered(error.to_string()),
    }
}

/// The records of a batch that are not handed over yet; dropped before its end, they are given up.
struct Unsent<'a> {
    shared: &'a Shared,
    slot: u32,
    left: usize,
    why: Undelivered,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if self.left > 0 {
            let why = std::mem::replace(&mut self.why, unnumbered());
            self.shared.deliveries.unsent(self.slot, self.left, why);
        }
    }
}

impl Producer {
    /// A producer whose records are given up after `timeout_ms`.
    pub fn new(
        config: &Config,
        (names, told): (Names, Told),
        (timeout_ms, when_full): (u64, WhenFull),
    ) -> Result<Self, Error> {
        let reports = Reports {
            told,
            shared: Arc::default(),
        };
        let inner = client::producer(config, timeout_ms)
            .create_with_context(reports.clone())
            .map_err(|error| Error::kafka("make a producer (broker.kafka)", &error))?;
        Ok(Self {
            inner,
            reports,
            names,
            when_full,
            queue_bytes_max: config.queue_bytes_max,
        })
    }

    /// Why the client has given up for good, if it has.
    pub fn failure(&self) -> Option<String> {
        let is_broken = self.reports.shared.broken.load(Ordering::Acquire);
        let fatal = is_broken.then(|| self.inner.client().fatal_error())?;
        Some(fatal.map_or_else(|| "the client has failed".to_owned(), |(_, reason)| reason))
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        let shared = &self.reports.shared;
        !shared.broken.load(Ordering::Acquire) && self.queued_bytes() < self.queue_bytes_max
    }

    fn queued_bytes(&self) -> usize {
        self.reports.shared.queued_bytes.load(Ordering::Acquire)
    }

    /// Appends all records of a batch, which fit their topics, and returns their offsets in order.
    ///
    /// # Errors
    /// [`AppendError::Busy`] when nothing of it was sent, [`AppendError::Refused`] and [`AppendError::Unanswered`] when
    /// a part of it may be there.
    pub async fn append(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        let Some(first) = batch.first() else {
            return Ok(Vec::new());
        };
        let (topic, shared) = (first.topic.label(), &*self.reports.shared);
        if shared.broken.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        if self.when_full == WhenFull::Refuse && !self.has_room() {
            return Err(self.busy());
        }
        let (slot, ended) = shared.deliveries.open(batch.len());
        let mut unsent = Unsent {
            shared,
            slot,
            left: batch.len(),
            why: Undelivered::Unanswered("the append was given up".to_owned()),
        };
        for (place, record) in batch.iter().enumerate() {
            while let Err(error) = self.send(record, ticket(slot, place)) {
                let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !is_full || (place == 0 && self.when_full == WhenFull::Refuse) {
                    unsent.why = Undelivered::Refused(error.to_string());
                    return Err(if is_full {
                        self.busy()
                    } else {
                        refused(topic, error.to_string())
                    });
                }
                // Reports wake all who wait; one that comes between the refusal and here is caught by the timeout.
                let room = shared.room.notified();
                let _ = tokio::time::timeout(ROOM_AGAIN, room).await;
            }
            unsent.left -= 1;
        }
        match ended.await {
            Ok(Ok(offsets)) => {
                let reached = batch.iter().zip(&offsets);
                reached
                    .for_each(|(it, offset)| self.reports.told.ends.reached(it.topic, it.partition, *offset));
                Ok(offsets)
            }
            Ok(Err(Undelivered::Refused(reason))) => Err(refused(topic, reason)),
            Ok(Err(Undelivered::Unanswered(reason))) => Err(AppendError::Unanswered { topic, reason }),
            Err(_) => Err(AppendError::Closed),
        }
    }

    fn send(&self, record: &Record, ticket: usize) -> Result<(), KafkaError> {
        let queued = &self.reports.shared.queued_bytes;
        let bytes = record.key.len() + record.value.len();
        // Counted before it is handed over: its report may be faster than this thread.
        queued.fetch_add(bytes, Ordering::AcqRel);
        let encoded = encode(record, self.names.of(record.topic), ticket);
        self.inner.send(encoded).map_err(|(error, _)| {
            queued.fetch_sub(bytes, Ordering::AcqRel);
            error
        })
    }

    fn busy(&self) -> AppendError {
        AppendError::Busy {
            queued: self.queued_bytes() as u64,
            limit: self.queue_bytes_max as u64,
        }
    }

    /// Gives up everything under way: each append that waits ends at once, unanswered, and what is not sent yet never
    /// will be. The client numbers what it sends next anew.
    pub fn purge(&self) {
        let why = Undelivered::Unanswered("it was given up".to_owned());
        self.reports.shared.deliveries.give_up(&why);
        let everything = PurgeConfig::default().queue().inflight().non_blocking();
        self.inner.purge(everything);
    }

    /// Waits until everything is sent or given up.
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        self.inner
            .flush(Timeout::After(timeout))
            .map_err(|error| Error::kafka("send what still waits", &error))
    }
}

fn refused(topic: &'static str, reason: String) -> AppendError {
    AppendError::Refused { topic, reason }
}
