//! The processor: what became of every event, decided once.
//!
//! A [`Processor`] owns partitions of `requests`. For each of them one task ([`owner`]) reads requests in order and
//! hands them to the [`pipeline`]: each is verified, split into its events, and each event is attributed to the
//! connections it is about ([`examine`]: on several threads, a request at a time); what cannot be decided yet is
//! [set aside](set_aside); the others are routed to the endpoints that want them. Every event ends in exactly one
//! outcome, which its type sees to ([`tracked`]). The rows of a batch go to `outcomes`, its routed events to `events`,
//! and with them, in the same append, the [`state`] and the offset reached go to the partition's journal: that is the
//! commit. Whatever is done twice after a crash has the same ids, and of two rows the higher commit is true.
//!
//! Verifying may need keys from elsewhere: [`key_sets`] fetches and keeps them while the request waits aside.
//! A request that panics a step or cannot be decoded ends as `failed`, can be replayed, and holds up nobody.
//!
//! This crate speaks to no customer and to no database: it reads topics and writes topics.

mod batch;
mod config;
mod error;
mod event;
mod event_records;
mod examine;
mod kept;
mod key_sets;
mod metrics;
mod outcomes;
mod owner;
mod pipeline;
mod processor;
mod request;
mod routes;
mod set_aside;
mod state;
mod steps;
mod tracked;

#[cfg(test)]
mod tests;

pub use config::{Config, KeysConfig};
pub use error::Error;
pub use metrics::describe;
pub use processor::{Parts, Processor};
