//! The embedded log: all topics in one chain of segments on the local disk.
//!
//! A batch becomes one *frame* ([`frame`], [`draft`]) with one CRC whatever topics it touches; [`log`] gives it its place in the
//! *segment* ([`segment`]) being filled, under one short lock ([`state`]). The [`flusher`] writes what came meanwhile as
//! one *sync group* ([`group`]) and wakes those who wait ([`durable`]). [`chores`] writes segments ahead of use and seals full ones
//! with an [`index`]. A [`reader`] takes the newest messages from memory and older ones from the disk; [`retention`]
//! frees whole segments, oldest first. After any kind of end [`recover`] finds out what the log holds, by one rule;
//! [`damage`] refuses to guess, [`inspect()`] shows, [`browse()`] reads beside the writer, [`repair()`] carries out what a person decides. All of it stands on a small file layer ([`disk`]) that tests can fail at will.

mod adopt;
mod browse;
mod chores;
mod config;
mod damage;
pub mod disk;
mod draft;
mod durable;
mod flusher;
mod frame;
mod group;
mod index;
mod inspect;
mod keepers;
mod live;
mod log;
mod open;
mod partition;
mod reader;
mod recover;
mod repair;
mod retention;
mod segment;
mod state;
mod untrimmed;

pub use browse::browse;
pub use config::{Config, Durability, PartitionCounts};
pub(crate) use frame::{RECORD_HEADER, own_message};
pub use inspect::{Inspection, PartitionReport, SegmentReport, inspect, inspect_on};
pub use keepers::Keeper;
pub use log::Host;
pub(crate) use log::{Condition, Log};
pub(crate) use open::OpenLog;
pub(crate) use reader::Next;
pub use repair::{Decision, repair, repair_on};
#[cfg(test)]
pub(crate) use untrimmed::untrimmed_on;
pub use untrimmed::{Untrimmed, untrimmed};
