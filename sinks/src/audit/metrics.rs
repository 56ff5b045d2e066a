//! The metrics of the audit, each declared here once. Labels are tables and topics only.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tidegate_schemas::Topic;

use super::table::Table;

const BLOCKS: &str = "tidegate_sinks_audit_blocks_total";
const ROWS: &str = "tidegate_sinks_audit_rows_total";
const INSERT_SECONDS: &str = "tidegate_sinks_audit_insert_seconds";
const RETRIES: &str = "tidegate_sinks_audit_insert_retries_total";
const REFUSED: &str = "tidegate_sinks_audit_refused_rows_total";
const UNDECODABLE: &str = "tidegate_sinks_audit_undecodable_messages_total";
const LOST: &str = "tidegate_sinks_audit_lost_messages_total";
const WAITING: &str = "tidegate_sinks_audit_waiting_messages";
const MINUTES: &str = "tidegate_sinks_audit_rollup_minutes_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(BLOCKS, "blocks of rows that arrived in ClickHouse");
    describe_counter!(ROWS, "rows that arrived in ClickHouse");
    describe_histogram!(INSERT_SECONDS, "time that inserts took");
    describe_counter!(RETRIES, "inserts that failed and were tried again");
    describe_counter!(REFUSED, "rows that ClickHouse refused for good");
    describe_counter!(UNDECODABLE, "messages and lines that could not be decoded");
    describe_counter!(LOST, "messages that were freed before their rows were inserted");
    describe_gauge!(WAITING, "messages that wait to become rows");
    describe_counter!(MINUTES, "minutes that were summed up");
}

/// A block arrived.
pub(crate) fn block(table: Table, rows: usize, took: Duration) {
    counter!(BLOCKS, "table" => table.name()).increment(1);
    counter!(ROWS, "table" => table.name()).increment(rows as u64);
    histogram!(INSERT_SECONDS, "table" => table.name()).record(took.as_secs_f64());
}

/// An insert failed and is tried again.
pub(crate) fn retry(table: Table) {
    counter!(RETRIES, "table" => table.name()).increment(1);
}

/// ClickHouse refused a row for good.
pub(crate) fn refused(table: Table) {
    counter!(REFUSED, "table" => table.name()).increment(1);
}

/// A message or line could not be decoded.
pub(crate) fn undecodable(topic: Topic) {
    counter!(UNDECODABLE, "topic" => topic.label()).increment(1);
}

/// Messages were freed before their rows were inserted.
pub(crate) fn lost(topic: Topic, messages: u64) {
    counter!(LOST, "topic" => topic.label()).increment(messages);
}

/// How many messages wait to become rows.
pub(crate) fn waiting(topic: Topic, messages: u64) {
    #[allow(clippy::cast_precision_loss)] // a gauge shows magnitudes
    gauge!(WAITING, "topic" => topic.label()).set(messages as f64);
}

/// Minutes were summed up.
pub(crate) fn minutes(rollup: &'static str, minutes: usize) {
    counter!(MINUTES, "rollup" => rollup).increment(minutes as u64);
}
