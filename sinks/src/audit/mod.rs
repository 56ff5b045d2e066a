//! Everything that happened, in ClickHouse: the only room that speaks to it.
//!
//! [`Audit`] reads `requests`, `outcomes` and `attempts` and writes a block of rows a second into each of the tables
//! `webhook_requests`, `webhook_events` and `delivery_attempts`. A block is journalled with its token and offset ranges
//! before its insert, so that a retry repeats exactly it; after a takeover the tables' keys make repeats one. On Kafka any
//! number of processes share the partitions, and each journals its blocks beside its groups' offsets. While
//! ClickHouse is away rows wait in their topics. Bodies are masked before they are written.
//!
//! [`migrate`] brings the tables and views there, [`Reader`] asks them, and [`Search`] makes the questions of the CLI
//! and the API. Decides nothing about events.

mod backoff;
mod block;
mod client;
mod config;
mod error;
mod holding;
mod insert;
mod intake;
mod ledger;
mod masking;
mod metrics;
mod migrate;
mod reader;
mod rollup;
mod row_binary;
mod rows;
mod search;
mod status;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

pub use config::Config;
pub use error::Error;
pub use metrics::describe;
pub use migrate::{Report, migrate};
pub use reader::{Answer, Parameter, Question, Reader};
pub use search::{Search, Subject};
pub use status::{Standing, Status};
pub use writer::Audit;
