//! Brings one block into ClickHouse, however long that takes: waits while ClickHouse is away, and searches the block by
//! halves for a row that ClickHouse refuses. In: a block. Out: it has arrived, but for the rows named.
//!
//! A try repeats the same rows under the same token, so an insert that arrived without our learning of it is not
//! inserted again. Halves have tokens of their own, the same at every search.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use clickhouse::Client;
use clickhouse::error::{Error as ClickHouseError, Result};
use tidegate_schemas::{EventRow, Outcome, Reason};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, chance};
use super::block::Block;
use super::config::Config;
use super::error::Fault;
use super::metrics;
use super::row_binary::{RowWriter, Rows};
use super::rows::write_event;
use super::status::Status;
use super::table::Table;

/// How many bytes are compressed and sent at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How many single rows are refused with nothing accepted before the error is held to be ClickHouse's own.
const DOUBTFUL_ROWS_MAX: usize = 16;

/// Inserts blocks.
pub(crate) struct Inserter {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) status: Status,
    pub(crate) shutdown: CancellationToken,
}

/// The process is to end before the block arrived.
#[derive(Debug)]
pub(crate) struct Stopped;

/// A row that ClickHouse does not take.
#[derive(Debug, PartialEq, Eq)]
struct RefusedRow {
    index: usize,
    error: String,
}

/// Some rows under their token.
struct Run<'a> {
    table: Table,
    rows: &'a Rows,
    range: Range<usize>,
    token: String,
}

impl Inserter {
    /// Inserts a block. Rows that ClickHouse refuses are left out: an event's becomes `failed: row_refused`, the others
    /// are counted and logged.
    pub(crate) async fn insert(&self, block: &Block) -> std::result::Result<(), Stopped> {
        let begun = Instant::now();
        let refused = self.search(block).await?;
        for row in &refused {
            self.refuse(block, row).await?;
        }
        metrics::block(block.table, block.rows.len() - refused.len(), begun.elapsed());
        Ok(())
    }

    /// Inserts all rows but those that are refused, and names these.
    async fn search(&self, block: &Block) -> std::result::Result<Vec<RefusedRow>, Stopped> {
        loop {
            if let Some(refused) = self.search_once(block).await? {
                return Ok(refused);
            }
        }
    }

    /// `None`: rows are refused whatever they hold, so it is not for what they hold.
    async fn search_once(&self, block: &Block) -> std::result::Result<Option<Vec<RefusedRow>>, Stopped> {
        let all = 0..block.rows.len();
        let mut waiting = if all.is_empty() {
            Vec::new()
        } else {
            vec![all.clone()]
        };
        let (mut refused, mut is_accepted) = (Vec::new(), false);
        while let Some(range) = waiting.pop() {
            let token = match range == all {
                true => block.announced.token.clone(),
                false => format!("{} rows {}-{}", block.announced.token, range.start, range.end),
            };
            let run = Run {
                table: block.table,
                rows: &block.rows,
                range: range.clone(),
                token,
            };
            let (fault, error) = match self.try_long(&run).await? {
                Ok(()) => {
                    is_accepted = true;
                    continue;
                }
                Err(refusal) => refusal,
            };
            if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                waiting.extend([middle..range.end, range.start..middle]);
                continue;
            }
            refused.push(RefusedRow {
                index: range.start,
                error,
            });
            if fault == Fault::Unknown && !is_accepted && refused.len() >= DOUBTFUL_ROWS_MAX {
                return Ok(None);
            }
        }
        Ok(Some(refused))
    }

    /// Tries until the rows are accepted or refused for what they hold.
    async fn try_long(
        &self,
        run: &Run<'_>,
    ) -> std::result::Result<std::result::Result<(), (Fault, String)>, Stopped> {
        let mut backoff = Backoff::new(&self.config);
        let mut unknown_errors = 0;
        loop {
            let error = match self.send(run).await {
                Ok(()) => {
                    self.status.reached();
                    return Ok(Ok(()));
                }
                Err(error) => error,
            };
            let fault = Fault::of(&error);
            unknown_errors += u32::from(fault == Fault::Unknown);
            if fault == Fault::Rows || unknown_errors > self.config.unknown_errors_max {
                return Ok(Err((fault, error.to_string())));
            }
            metrics::retry(run.table);
            self.status.failed(&error.to_string());
            tokio::select! {
                () = tokio::time::sleep(backoff.next(chance())) => {}
                () = self.shutdown.cancelled() => return Err(Stopped),
            }
        }
    }

    async fn send(&self, run: &Run<'_>) -> Result<()> {
        let (table, columns) = (run.table.name(), run.table.columns());
        let timeout = self.config.insert_timeout();
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} ({columns}) FORMAT RowBinary"))
            .with_setting("insert_deduplication_token", &run.token)
            .with_setting("async_insert", "0")
            .with_setting("max_partitions_per_insert_block", "0")
            .with_timeouts(Some(timeout), Some(timeout));
        let sending = async {
            for chunk in chunks(run.rows.slice(run.range.clone())) {
                insert.send(chunk).await?;
            }
            insert.end().await
        };
        tokio::time::timeout(timeout, sending)
            .await
            .unwrap_or(Err(ClickHouseError::TimedOut))
    }

    async fn refuse(&self, block: &Block, row: &RefusedRow) -> std::result::Result<(), Stopped> {
        metrics::refused(block.table);
        let (table, error) = (block.table.name(), row.error.as_str());
        tracing::error!(
            table,
            block = block.announced.token,
            row = row.index,
            error,
            "clickhouse refused a row"
        );
        let Some(event) = block
            .sources
            .get(row.index)
            .and_then(|line| serde_json::from_slice::<EventRow>(line).ok())
        else {
            return Ok(());
        };
        let mut writer = RowWriter::default();
        write_event(&mut writer, &failed(event, error));
        let token = format!("{} row {} refused", block.announced.token, row.index);
        let run = Run {
            table: Table::Events,
            rows: &writer.finish(),
            range: 0..1,
            token,
        };
        if let Err((_, error)) = self.try_long(&run).await? {
            tracing::error!(table, error, "clickhouse refused the row that says so");
        }
        Ok(())
    }
}

/// The verdict on an event whose own row was refused: its ids and place, and nothing that came from outside.
fn failed(row: EventRow, error: &str) -> EventRow {
    EventRow {
        outcome: Outcome::Failed,
        reason: Reason::RowRefused,
        detail: error.chars().take(500).collect(),
        connection: String::new(),
        event_type: String::new(),
        delivery_key: String::new(),
        object_key: String::new(),
        object_version: String::new(),
        event_time: None,
        endpoints: Vec::new(),
        payload: String::new(),
        ..row
    }
}

fn chunks(bytes: Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        (!chunk.is_empty()).then_some(chunk)
    })
}
