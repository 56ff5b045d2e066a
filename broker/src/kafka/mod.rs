//! Kafka: the same promises as the embedded log, spread over machines.
//!
//! [`cluster`] is the engine, once it is [reached](reach). [`topics`] makes and checks what it needs. [`producer`] sends, and [`deliveries`] leads each
//! report to the append that waits. Whoever reads keeps its offset itself, in a journal, so a [`reader`] is in no
//! group: a [`pump`], one consumer polled by one thread, fills its [`feed`] within a budget of bytes; [`pointers`] reads
//! old messages the same way. A [`group`] only says who owns which partition, to each [`member`]. There are no transactions: outputs are
//! acknowledged, then the journal's one message, whose offset tells whether somebody else has opened it ([`crate::journal`]).
//! [`browse`] reads a whole topic for who only looks.
//! [`requests`] come by a way of their own: while the cluster is away they lie in a [`spill`].
//!
//! [`trouble`] says in our own words why the cluster is not reached.
//!
//! # What bites others
//!
//! | Trap | Here | Held by |
//! |---|---|---|
//! | futures of the client sleep 100 ms when its queue is full | [`producer`] takes reports itself, a `usize` a record; a full queue is an answer | `silence_of_the_cluster_is_an_answer_…`, [`deliveries`]' tests, `tests/tidy/kafka.rs` |
//! | streams and split queues lose wake-ups | one thread polls the main queue of one consumer ([`pump`]); a watchdog begins anew where nothing comes | `a_reader_stands_still_only_where_…`, `a_reader_that_is_paused_over_and_over_…`, `tests/tidy/kafka.rs` |
//! | a revoke waits for ever, or for fetched messages | it waits for owners alone, and no longer than it may ([`group`]) | `a_revoke_waits_for_all_owners_…`, `a_partition_waits_for_its_former_owner_to_end` |
//! | the client commits what nobody has done yet | it stores and commits nothing by itself; owners say what they have reached ([`reached`]) | `offsets_are_kept_in_journals_and_by_nobody_else`, `the_ledger_keeps_…` |
//! | every rebalance stops everybody | cooperative-sticky, static members | `a_member_keeps_its_partitions_…`, the end-to-end test of a rolling restart |
//! | reading ahead takes all memory | a feed pauses its partition at its budget ([`feed`]); a pause throws away what was fetched, so journals have a larger one | `it_pauses_at_its_budget_…`, `a_reader_that_is_paused_over_and_over_…` |
//! | a late answer of a former owner counts | its offset is not the next one: the journal is lost, and nothing is trimmed | `a_former_owner_that_wakes_up_…` (contract), the end-to-end test with SIGSTOP |
//! | a reply waits for a batch's company | `linger_ms` is 5 to 10; batches grow by partition | `nothing_is_acknowledged_before_…` |
//! | retries change the order | the idempotent producer, which keeps five requests under way | `nothing_is_acknowledged_before_…`, the contract |
//! | a mock cluster keeps 5 MB a partition | tests have a real node | `tests/tidy/kafka.rs` |
//! | `cmake-build` needs curl's headers | librdkafka is built by configure, without curl: no OAUTHBEARER | the build itself, `half_a_security_is_refused_by_its_key` |
//!
//! Nothing outside this folder names Kafka's client.

mod browse;
mod client;
mod cluster;
mod config;
mod deliveries;
mod ends;
mod feed;
mod group;
mod member;
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

pub use browse::browse;
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
