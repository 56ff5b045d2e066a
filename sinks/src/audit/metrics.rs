//! The metrics of the audit, each declared here once. Labels are tables and topics only.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tidegate_schemas::Topic;

use super::table::Table;

/// A block arrived.
pub(crate) fn block(table: Table, rows: usize, took: Duration) {
    counter!("tidegate_audit_blocks_total", "table" => table.name()).increment(1);
    counter!("tidegate_audit_rows_total", "table" => table.name()).increment(rows as u64);
    histogram!("tidegate_audit_insert_seconds", "table" => table.name()).record(took.as_secs_f64());
}

/// An insert failed and is tried again.
pub(crate) fn retry(table: Table) {
    counter!("tidegate_audit_insert_retries_total", "table" => table.name()).increment(1);
}

/// ClickHouse refused a row for good.
pub(crate) fn refused(table: Table) {
    counter!("tidegate_audit_refused_rows_total", "table" => table.name()).increment(1);
}

/// A message or line could not be decoded.
pub(crate) fn undecodable(topic: Topic) {
    counter!("tidegate_audit_undecodable_messages_total", "topic" => topic.label()).increment(1);
}

/// Messages were freed before their rows were inserted.
pub(crate) fn lost(topic: Topic, messages: u64) {
    counter!("tidegate_audit_lost_messages_total", "topic" => topic.label()).increment(messages);
}

/// How many messages wait to become rows.
pub(crate) fn waiting(topic: Topic, messages: u64) {
    #[allow(clippy::cast_precision_loss)] // a gauge shows magnitudes
    gauge!("tidegate_audit_waiting_messages", "topic" => topic.label()).set(messages as f64);
}

/// Minutes were summed up.
pub(crate) fn minutes(rollup: &'static str, minutes: usize) {
    counter!("tidegate_audit_rollup_minutes_total", "rollup" => rollup).increment(minutes as u64);
}
