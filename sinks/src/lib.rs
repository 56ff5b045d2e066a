//! Forward and audit: what becomes of events outside of Tidegate, and the answer for it.
//!
//! [`forward`] sends every routed event to its endpoints until they have taken it. [`audit`] writes requests, outcomes
//! and attempts into ClickHouse and answers questions from there. The two share nothing but the topics.

pub mod audit;
pub mod forward;
