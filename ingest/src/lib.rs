//! HTTP in. A provider's request comes to one of [`server`]'s sockets; its URL names an integration ([`route`]); it is
//! admitted within the limits ([`inflight`], [`rate`], [`body`]); a handshake is answered at once ([`answer`]); what
//! is plainly forged is answered 401 by the early check; everything else is appended to `requests` and acknowledged
//! when it is durable ([`accept`]). What was refused or answered here is appended for the audit too, without waiting.
//!
//! Decides nothing for good: the processor verifies every request again. Knows nothing of ClickHouse or endpoints.

mod accept;
mod answer;
mod arrival;
mod body;
mod config;
mod drain;
mod inflight;
mod judge;
mod metrics;
mod rate;
mod refused;
mod reply;
mod route;
mod server;
mod socket;

pub use config::Config;
pub use metrics::describe;
pub use server::{Context, Error, Ingest, StoreSecret};
