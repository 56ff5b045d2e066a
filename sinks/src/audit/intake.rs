//! Reads the next block's messages from a topic, over all its partitions, and reads those of an announced block again.
//! In: the offsets reached and the limits. Out: messages in the order of partition and offset, and their ranges.
//! Interprets a message only as far as counting its rows.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_broker::{Broker, Message, Reader};
use tidegate_schemas::{Metadata, RowsMeta, Topic};

use super::config::Config;
use super::error::Error;
use super::ledger::OffsetRange;

/// The messages of one block.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) ranges: Vec<OffsetRange>,
    pub(crate) messages: Vec<Message>,
    /// Whether more waits than fitted.
    pub(crate) full: bool,
    /// Messages that were gone before they could be read.
    pub(crate) lost: u64,
}

/// What a block may still take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// How many messages one read asks for.
const READ_MESSAGES: usize = 1024;
/// How many bytes one read asks for.
const READ_BYTES: usize = 8 << 20;
/// What is readable comes at once, unless it was freed meanwhile or the broker is away: after this time it is asked which.
const ASKED_AFTER: Duration = Duration::from_secs(5);

/// What was read of a range.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) messages: Vec<Message>,
    /// The offset before which all of it was read, or is gone.
    pub(crate) to: u64,
    /// Messages that were freed after the broker had said that they are there.
    pub(crate) gone: u64,
}

/// The readers of a topic's partitions, kept from block to block: to begin anew costs a question to Kafka.
pub(crate) struct Readers {
    broker: Broker,
    topic: Topic,
    readers: HashMap<u32, Reader>,
}

impl Readers {
    pub(crate) fn new(broker: Broker, topic: Topic) -> Self {
        Self {
            broker,
            topic,
            readers: HashMap::new(),
        }
    }

    fn give_up(&mut self, partition: u32) {
        self.readers.remove(&partition);
    }

    fn at(&mut self, partition: u32, from: u64) -> &mut Reader {
        let (broker, topic) = (&self.broker, self.topic);
        let reader = self
            .readers
            .entry(partition)
            .or_insert_with(|| broker.reader(topic, partition, from));
        reader.seek(from);
        reader
    }

    /// Reads exactly a range; or, within a room, as much of it as fits (at least one message) and what has come behind it
    /// meanwhile. Nothing is passed over but what is gone.
    ///
    /// # Errors
    /// [`Error::Stalled`] when nothing comes that is there; and when the broker does not answer.
    pub(crate) async fn read(&mut self, range: OffsetRange, room: Option<Room>) -> Result<Part, Error> {
        let is_exact = room.is_none();
        let mut room = room.unwrap_or(Room {
            rows: usize::MAX,
            bytes: usize::MAX,
        });
        let (mut part, partition) = (Part::from(range.from), range.partition);
        while part.to < range.to {
            let (messages_max, bytes_max) = (
                READ_MESSAGES.min(room.rows.max(1)),
                room.bytes.clamp(1, READ_BYTES),
            );
            let reader = self.at(partition, part.to);
            let Ok(read) = tokio::time::timeout(ASKED_AFTER, reader.next(messages_max, bytes_max)).await
            else {
                let start = self.start(partition).await?;
                if start > part.to {
                    let to = start.min(range.to);
                    part.gone += to - part.to;
                    part.to = to;
                } else if is_exact || part.messages.is_empty() {
                    return Err(self.stalled(partition, part.to));
                } else {
                    return Ok(part);
                }
                continue;
            };
            for message in read? {
                let (rows, bytes) = (rows_of(&message), message.len_bytes());
                let is_full = !part.messages.is_empty() && (rows > room.rows || bytes > room.bytes);
                if is_full || (is_exact && message.offset >= range.to) {
                    return Ok(part);
                }
                part.to = message.offset + 1;
                room = Room {
                    rows: room.rows.saturating_sub(rows),
                    bytes: room.bytes.saturating_sub(bytes),
                };
                part.messages.push(message);
            }
        }
        Ok(part)
    }

    /// The first offset of a partition that is still there.
    async fn start(&self, partition: u32) -> Result<u64, Error> {
        let there = self.broker.latest(self.topic).await?;
        Ok(there.get(partition as usize).map_or(0, |range| range.start))
    }

    fn stalled(&self, partition: u32, next: u64) -> Error {
        Error::Stalled {
            topic: self.topic.label(),
            partition,
            next,
            seconds: ASKED_AFTER.as_secs(),
        }
    }
}

impl Part {
    fn from(offset: u64) -> Self {
        Self {
            messages: Vec::new(),
            to: offset,
            gone: 0,
        }
    }
}

/// Reads what waits behind the offsets that `reached` names, up to the limits; a partition of which it names none is
/// somebody else's. Each partition first gets an equal share of them, beginning at `first`, so that a partition with a backlog
/// cannot keep the others waiting.
pub(crate) async fn cut(
    readers: &mut Readers,
    config: &Config,
    (first, reached): (u32, impl Fn(u32) -> Option<u64>),
) -> Result<Cut, Error> {
    let topic = readers.topic;
    let count = readers.broker.partitions(topic);
    let mut waiting = Vec::new();
    let mut cut = Cut::default();
    let latest = readers.broker.latest(topic).await?;
    for partition in (0..count).map(|index| (first + index) % count) {
        let there = latest.get(partition as usize).cloned().unwrap_or(0..0);
        let Some(reached) = reached(partition) else {
            readers.give_up(partition);
            continue;
        };
        if there.end > reached {
            cut.lost += there.start.saturating_sub(reached);
            waiting.push(OffsetRange {
                partition,
                from: reached.max(there.start),
                to: there.end,
            });
        }
    }
    let mut room = Room {
        rows: config.block_rows_max.max(1),
        bytes: config.block_bytes_max.max(1),
    };
    let (mut left, mut stalled) = (waiting.len(), None);
    for range in waiting {
        let share = Room {
            rows: room.rows.div_ceil(left.max(1)),
            bytes: room.bytes.div_ceil(left.max(1)),
        };
        left -= 1;
        let part = match readers.read(range, Some(share)).await {
            Err(error @ Error::Stalled { .. }) => {
                stalled = Some(error);
                continue;
            }
            part => part?,
        };
        cut.full |= part.to < range.to;
        cut.lost += part.gone;
        cut.ranges.push(OffsetRange { to: part.to, ..range });
        for message in part.messages {
            room.rows = room.rows.saturating_sub(rows_of(&message));
            room.bytes = room.bytes.saturating_sub(message.len_bytes());
            cut.messages.push(message);
        }
    }
    match stalled {
        Some(error) if cut.ranges.is_empty() => return Err(error),
        Some(error) => tracing::warn!(%error, "the other partitions go on"),
        None => {}
    }
    cut.ranges.sort_by_key(|range| range.partition);
    cut.messages
        .sort_by_key(|message| (message.partition, message.offset));
    Ok(cut)
}

/// Reads exactly the messages of some ranges again; what is gone by now is left out.
pub(crate) async fn repeat(readers: &mut Readers, ranges: &[OffsetRange]) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    let latest = readers.broker.latest(readers.topic).await?;
    for range in ranges {
        let there = latest.get(range.partition as usize).cloned().unwrap_or(0..0);
        let range = OffsetRange {
            from: range.from.max(there.start),
            to: range.to.min(there.end),
            ..*range
        };
        messages.extend(readers.read(range, None).await?.messages);
    }
    Ok(messages)
}

fn rows_of(message: &Message) -> usize {
    match message.topic {
        Topic::Requests => 1,
        _ => RowsMeta::decode(&message.meta).map_or(1, |meta| meta.rows as usize),
    }
}
