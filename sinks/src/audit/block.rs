//! One block: the rows of one insert, made from messages, and the token that names them. In: the messages of a cut.
//! Out: the rows in RowBinary. The same messages yield the same block, however often.

use bytes::Bytes;
use tidegate_broker::Message;
use tidegate_schemas::{
    AttemptRow, EventRow, MetaError, Metadata, RequestKind, RequestMeta, RowsMeta, Text, read_json,
};

use super::ledger::{Announced, OffsetRange};
use super::masking::Masker;
use super::metrics;
use super::row_binary::{RowWriter, Rows};
use super::rows::{Place, write_attempt, write_event, write_request};
use super::table::Table;

/// The rows of one insert.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) table: Table,
    pub(crate) announced: Announced,
    pub(crate) rows: Rows,
    /// Of `webhook_events`: each row as it came, to make another of it when ClickHouse refuses it.
    pub(crate) sources: Vec<Bytes>,
}

/// Names a block by its offset ranges and by when its first message was appended: the time tells it from a block of a
/// log that was begun anew.
pub(crate) fn announce(table: Table, ranges: Vec<OffsetRange>, messages: &[Message]) -> Announced {
    use std::fmt::Write as _;
    let first_at = messages.first().map_or(0, |message| message.timestamp.0);
    let mut token = format!("{}@{first_at}", table.topic().label());
    for range in &ranges {
        write!(token, " {}:{}-{}", range.partition, range.from, range.to).expect("a text takes more text");
    }
    Announced { token, ranges }
}

impl Block {
    /// Makes the rows of `messages`. What cannot be decoded is counted and passed over: the processor gives such a
    /// request its outcome.
    ///
    /// # Errors
    /// A message was written by a newer Tidegate.
    pub(crate) fn build(
        table: Table,
        announced: Announced,
        messages: &[Message],
        masker: &Masker,
    ) -> Result<Block, MetaError> {
        let mut writer = RowWriter::for_bytes(messages.iter().map(Message::len_bytes).sum());
        let mut sources = Vec::new();
        for message in messages {
            let written = match table {
                Table::Requests => request(message, masker, &mut writer),
                Table::Events => events(message, &mut writer, &mut sources),
                Table::Attempts => attempts(message, &mut writer),
            };
            match written {
                Err(error) if error.stops_reader() => return Err(error),
                Err(error) => undecodable(message, &error),
                Ok(()) => {}
            }
        }
        Ok(Block {
            table,
            announced,
            rows: writer.finish(),
            sources,
        })
    }
}

fn undecodable(message: &Message, error: &dyn std::error::Error) {
    metrics::undecodable(message.topic);
    let (topic, partition, offset) = (message.topic.label(), message.partition, message.offset);
    tracing::error!(topic, partition, offset, %error, "message cannot be written to clickhouse and is passed over");
}

fn request(message: &Message, masker: &Masker, writer: &mut RowWriter) -> Result<(), MetaError> {
    let meta = RequestMeta::decode(&message.meta)?;
    if meta.kind == RequestKind::Replay {
        return Ok(());
    }
    let Message {
        partition,
        offset,
        timestamp,
        ..
    } = *message;
    let place = Place {
        partition,
        offset,
        appended_at: timestamp,
    };
    write_request(writer, &meta, &masker.mask(&meta, &message.value), &place);
    Ok(())
}

fn events(message: &Message, writer: &mut RowWriter, sources: &mut Vec<Bytes>) -> Result<(), MetaError> {
    RowsMeta::decode(&message.meta)?;
    for line in lines(&message.value) {
        match read_json::<EventRow<Text<'_>>>(line) {
            Ok(row) => {
                write_event(writer, &row);
                sources.push(message.value.slice_ref(line));
            }
            Err(error) => undecodable(message, &error),
        }
    }
    Ok(())
}

fn attempts(message: &Message, writer: &mut RowWriter) -> Result<(), MetaError> {
    let meta = RowsMeta::decode(&message.meta)?;
    for line in lines(&message.value) {
        match read_json::<AttemptRow<Text<'_>>>(line) {
            Ok(row) => write_attempt(writer, &row, meta.commit),
            Err(error) => undecodable(message, &error),
        }
    }
    Ok(())
}

fn lines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}
