//! Append, read in order, journals: the only way from one room of Tidegate to another.
//!
//! A [`Broker`] takes batches of [`Record`]s for any [topics](tidegate_schemas::Topic), all or nothing, and hands them
//! out as [`Message`]s: in order to a [`Reader`], one by one to whoever holds a [pointer](tidegate_schemas::Pointer).
//! What was appended to `requests` or `registry` is durable before the append returns; everything else becomes durable
//! in order with it. An owner's state lives in a [`journal`]: changes and the input offset reached in one message,
//! read back by its next owner.
//!
//! There are two engines behind the same methods: the [`embedded`] log, and [`kafka`].

mod assignments;
mod broker;
pub mod embedded;
mod error;
pub mod journal;
pub mod kafka;
mod message;
mod metrics;
mod reader;
mod tenure;

pub use assignments::{Assignment, Assignments, Note};
pub use broker::Broker;
pub use embedded::Keeper;
pub use error::{AppendError, Damage, Error};
pub use message::{Message, Record};
pub use metrics::describe;
pub use reader::Reader;
pub use tenure::Tenure;
