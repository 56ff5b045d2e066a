//! A message as it lies on Kafka: the value is the body itself, the metadata one header with compact JSON, so that
//! anyone can read a topic with standard tools. In: a record, or what librdkafka hands out. Out: the other of the two.

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use tidegate_schemas::{Topic, UnixMillis};

use super::client::OVERHEAD_BYTES;
use crate::error::AppendError;
use crate::message::{Message, Record};

/// The header that holds the metadata.
pub const HEADER: &str = "tidegate";

/// A record as the client takes it; `ticket` comes back with its delivery report.
pub fn encode<'a>(record: &'a Record, name: &'a str, ticket: usize) -> BaseRecord<'a, [u8], [u8], usize> {
    let header = Header {
        key: HEADER,
        value: Some(&record.meta[..]),
    };
    let encoded = BaseRecord::with_opaque_to(name, ticket)
        .partition(i32::try_from(record.partition).unwrap_or(i32::MAX))
        .payload(&record.value[..])
        .headers(OwnedHeaders::new_with_capacity(1).insert(header));
    if record.key.is_empty() {
        encoded
    } else {
        encoded.key(&record.key[..])
    }
}

/// What was read, copied once out of the client's memory.
pub fn decode(topic: Topic, read: &BorrowedMessage<'_>) -> Option<Message> {
    let headers = read.headers();
    let header = headers.and_then(|headers| headers.iter().find(|header| header.key == HEADER));
    let (key, meta, value) = (
        read.key().unwrap_or_default(),
        header.and_then(|header| header.value).unwrap_or_default(),
        read.payload().unwrap_or_default(),
    );
    let mut copied = Vec::with_capacity(key.len() + meta.len() + value.len());
    for part in [key, meta, value] {
        copied.extend_from_slice(part);
    }
    let mut rest = Bytes::from(copied);
    let key = rest.split_to(key.len());
    let meta = rest.split_to(meta.len());
    let millis = read
        .timestamp()
        .to_millis()
        .and_then(|millis| u64::try_from(millis).ok());
    Some(Message {
        topic,
        partition: u32::try_from(read.partition()).ok()?,
        offset: u64::try_from(read.offset()).ok()?,
        timestamp: UnixMillis(millis.unwrap_or_default()),
        key,
        meta,
        value: rest,
    })
}

/// Whether a record fits its topic.
///
/// # Errors
/// [`AppendError::TooLarge`], [`AppendError::NoPartition`].
pub fn check(record: &Record, (bytes_max, partitions): (usize, u32)) -> Result<usize, AppendError> {
    let topic = record.topic.label();
    let bytes = record.key.len() + record.meta.len() + record.value.len();
    let limit = bytes_max.saturating_sub(OVERHEAD_BYTES);
    if bytes > limit {
        return Err(AppendError::TooLarge {
            topic,
            bytes: bytes as u64,
            limit: limit as u64,
        });
    }
    if record.partition >= partitions {
        return Err(AppendError::NoPartition {
            topic,
            partition: record.partition,
            partitions,
        });
    }
    Ok(bytes)
}
