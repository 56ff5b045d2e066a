//! Audit rows as they travel in `outcomes` and `attempts`: JSON lines with the names of the ClickHouse columns.
//! Rows of `webhook_requests` do not travel: audit makes them from `requests` itself.

mod attempt;
mod event;

use serde::{Deserialize, Serialize};

pub use attempt::AttemptRow;
pub use event::EventRow;

use crate::meta::metadata;

/// The metadata of a message in `outcomes` and `attempts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsMeta {
    /// The metadata's version.
    pub v: u32,
    /// How many rows the value holds, a line each.
    pub rows: u32,
    /// The offset that the batch's journal message is to have; the version of its rows.
    pub commit: u64,
}

metadata!(RowsMeta = "rows");
