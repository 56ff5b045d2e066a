//! Kafka: the same promises as the embedded log, spread over machines.
//!
//! [`cluster`] is the engine, once it is [reached](reach). [`topics`] makes and checks what it needs. [`producer`] sends, and [`deliveries`] leads each
//! report to the append that waits. Whoever reads keeps its offset itself, in a journal, so a [`reader`] is in no
//! group: a [`pump`], one consumer polled by one thread, fills its [`feed`] within a budget of bytes; [`pointers`] reads
//! old messages the same way. A [`group`] only says who owns which partition. There are no transactions: outputs are
//! acknowledged, then the journal's one message, whose offset tells whether somebody else has opened it ([`crate::journal`]).
//! [`requests`] come by a way of their own: while the cluster is away they lie in a [`spill`].
//!
//! [`trouble`] says in our own words why the cluster is not reached.
//!
//! Nothing outside this folder names Kafka's client.

mod client;
mod cluster;
mod config;
mod deliveries;
mod ends;
mod feed;
mod group;
mod message;
mod pointers;
mod producer;
mod pump;
mod reach;
mod reached;
mod reader;
mod requests;
mod spill;
mod standing;
mod topics;
mod trouble;

pub(crate) use cluster::Cluster;
pub use config::{Config, Sasl, Spill, Tls};
pub(crate) use group::{Membership, Offsets};
pub use message::HEADER;
pub(crate) use reader::Reader;
pub use requests::SpillStanding;
pub use spill::{Spilled, spill_in};
pub use standing::Standing;
pub(crate) use standing::standings;
pub(crate) use topics::shortfalls;
pub(crate) use trouble::in_our_words;
