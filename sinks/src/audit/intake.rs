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
struct Room {
    rows: usize,
    bytes: usize,
}

/// How many messages one read asks for.
const READ_MESSAGES: usize = 1024;
/// How many bytes one read asks for.
const READ_BYTES: usize = 8 << 20;
/// What is readable comes at once; what does not come in this time was freed meanwhile.
const GONE_AFTER: Duration = Duration::from_secs(5);

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
}

/// Reads what waits behind the offsets that `reached` names, up to the limits; a partition of which it names none is
/// somebody else's. Each partition first gets an equal share
/// of them, beginning at `first`, so that a partition with a backlog cannot keep the others waiting.
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
    let mut left = waiting.len();
    for range in waiting {
        let share = Room {
            rows: room.rows.div_ceil(left.max(1)),
            bytes: room.bytes.div_ceil(left.max(1)),
        };
        left -= 1;
        let reader = readers.at(range.partition, range.from);
        let (messages, to) = read(reader, range, Some(share)).await?;
        cut.full |= to < range.to;
        cut.ranges.push(OffsetRange { to, ..range });
        for message in messages {
            room.rows = room.rows.saturating_sub(rows_of(&message));
            room.bytes = room.bytes.saturating_sub(message.len_bytes());
            cut.messages.push(message);
        }
    }
    cut.ranges.sort_by_key(|range| range.partition);
    cut.messages
        .sort_by_key(|message| (message.partition, message.offset));
    Ok(cut)
}

/// Reads exactly the messages of some ranges again; what is gone by now is left out.
pub(crate) async fn repeat(
    broker: &Broker,
    topic: Topic,
    ranges: &[OffsetRange],
) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    let latest = broker.latest(topic).await?;
    for range in ranges {
        let there = latest.get(range.partition as usize).cloned().unwrap_or(0..0);
        let range = OffsetRange {
            from: range.from.max(there.start),
            to: range.to.min(there.end),
            ..*range
        };
        if range.from < range.to {
            let mut reader = broker.reader(topic, range.partition, range.from);
            messages.extend(read(&mut reader, range, None).await?.0);
        }
    }
    Ok(messages)
}

/// Reads exactly a range; or, within a room, as much of it as fits (at least one message) and what has come behind it
/// meanwhile. Says up to where.
async fn read(
    reader: &mut Reader,
    range: OffsetRange,
    room: Option<Room>,
) -> Result<(Vec<Message>, u64), Error> {
    let is_exact = room.is_none();
    let mut room = room.unwrap_or(Room {
        rows: usize::MAX,
        bytes: usize::MAX,
    });
    let mut messages: Vec<Message> = Vec::new();
    let mut next = range.from;
    while next < range.to {
        let (messages_max, bytes_max) = (
            READ_MESSAGES.min(room.rows.max(1)),
            room.bytes.clamp(1, READ_BYTES),
        );
        let Ok(read) = tokio::time::timeout(GONE_AFTER, reader.next(messages_max, bytes_max)).await else {
            return Ok((messages, range.to));
        };
        for message in read? {
            let (rows, bytes) = (rows_of(&message), message.len_bytes());
            if is_exact && message.offset >= range.to {
                return Ok((messages, range.to));
            }
            if !messages.is_empty() && (rows > room.rows || bytes > room.bytes) {
                return Ok((messages, next));
            }
            next = message.offset + 1;
            room = Room {
                rows: room.rows.saturating_sub(rows),
                bytes: room.bytes.saturating_sub(bytes),
            };
            messages.push(message);
        }
    }
    Ok((messages, next.max(range.to)))
}

fn rows_of(message: &Message) -> usize {
    match message.topic {
        Topic::Requests => 1,
        _ => RowsMeta::decode(&message.meta).map_or(1, |meta| meta.rows as usize),
    }
}
