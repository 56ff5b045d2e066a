//! The processor: what became of every event, decided once.
//!
//! A [`Processor`] owns partitions of `requests`. For each of them one task ([`owner`]) reads requests in order and
//! hands them to the [`pipeline`]: each is verified, split into its events, and each event is attributed to the
//! connections it is about ([`examine`]: on several threads, a request at a time); what cannot be decided yet, or not at
//! its connection's [rate](fairness), is [set aside](set_aside); [flood control](flood) tells what matters of the others, and that is
//! [handed on](handing_on), at once or when [its window ends](window_end), to the endpoints that want it. Every event ends
//! in exactly one outcome, which its type sees to ([`tracked`]). The rows of a batch go to `outcomes`, its routed events to
//! `events`, and with them, in the same append, the [`state`] and the offset reached go to the partition's journal: that
//! is the commit. Whatever is done twice after a crash has the same ids, and of two rows the higher commit is true.
//!
//! Verifying may need keys from elsewhere: [`key_sets`] fetches and keeps them while the request waits aside.
//! A request that panics a step or cannot be decoded ends as `failed`, can be replayed, and holds up nobody.
//!
//! [`Rehearsal`] runs flood control alone, on a virtual clock, and [`RehearsedTurns`] what is set aside for its rate.
//!
//! This crate speaks to no customer and to no database: it reads topics and writes topics.

mod batch;
mod config;
mod error;
mod event;
mod event_records;
mod examine;
mod fairness;
mod flood;
mod handing_on;
mod held;
mod kept;
mod key_queue;
mod key_sets;
mod list;
mod metrics;
mod outcomes;
mod owner;
mod pipeline;
mod policies;
mod processor;
mod rates;
mod rehearsal;
mod request;
mod routes;
mod set_aside;
mod state;
mod steps;
mod tracked;
mod turns;
mod window_end;

#[cfg(test)]
mod tests;

pub use config::{Config, FloodConfig, KeysConfig};
pub use error::Error;
pub use metrics::describe;
pub use processor::{Parts, Processor};
pub use rehearsal::{Became, Behind, HandedOn, Rehearsal, Rehearsed, RehearsedEvent};
pub use steps::order::Rank;
pub use turns::RehearsedTurns;
