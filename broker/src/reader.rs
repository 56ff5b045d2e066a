//! Reading one partition in order, from either engine.
//! In: where to begin. Out: messages, waited for. The reader keeps its own place; nobody else knows of it.

use std::sync::Arc;

use tidegate_schemas::Topic;

use crate::embedded::{Log, Next};
use crate::error::Error;
use crate::kafka;
use crate::message::Message;

/// Reads one partition in order.
pub struct Reader {
    source: Source,
}

enum Source {
    Embedded(LogReader),
    Kafka(kafka::Reader),
}

impl Reader {
    pub(crate) fn of_log(log: &Arc<Log>, (topic, partition): (Topic, u32), from: u64) -> Reader {
        let slot = log
            .slot(topic, partition)
            .expect("the broker has checked that the topic has the partition");
        let log = Arc::clone(log);
        Reader {
            source: Source::Embedded(LogReader {
                log,
                slot,
                next: from,
            }),
        }
    }

    pub(crate) fn of_cluster(reader: kafka::Reader) -> Reader {
        Reader {
            source: Source::Kafka(reader),
        }
    }

    /// Waits until at least one message is readable; returns at most `messages_max` of them and, unless the first alone
    /// is larger, at most `bytes_max` bytes. The embedded log's newest come from memory without a copy. Dropping the
    /// call loses nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Io`] from the disk, [`Error::Closed`] when the broker closes.
    pub async fn next(&mut self, messages_max: usize, bytes_max: usize) -> Result<Vec<Message>, Error> {
        match &mut self.source {
            Source::Embedded(reader) => reader.next((messages_max, bytes_max)).await,
            Source::Kafka(reader) => reader.next(messages_max, bytes_max).await,
        }
    }

    /// The offset from which it goes on.
    #[must_use]
    pub fn position(&self) -> u64 {
        match &self.source {
            Source::Embedded(reader) => reader.next,
            Source::Kafka(reader) => reader.position(),
        }
    }

    /// Goes on from another offset.
    pub fn seek(&mut self, offset: u64) {
        match &mut self.source {
            Source::Embedded(reader) => reader.next = offset,
            Source::Kafka(reader) => reader.seek(offset),
        }
    }
}

struct LogReader {
    log: Arc<Log>,
    slot: usize,
    next: u64,
}

impl LogReader {
    async fn next(&mut self, limits: (usize, usize)) -> Result<Vec<Message>, Error> {
        let log = Arc::clone(&self.log);
        loop {
            let mut readable = std::pin::pin!(log.readable[self.slot].notified());
            readable.as_mut().enable();
            let messages = match log.next(self.slot, self.next, limits)? {
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
}

/// Runs what blocks on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Closed),
    }
}
