//! Ingest's limits, each with its default. Read from the section `[ingest]` of the configuration by the binary.
//! Holds no addresses of other roles.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The section `[ingest]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address that providers' requests come to.
    pub listen: SocketAddr,
    /// How many threads serve it, each with a runtime and a socket of its own; 0: one per core.
    pub threads: usize,
    /// The largest body, in bytes; more is answered 413.
    pub body_bytes_max: usize,
    /// How many headers a request may have; more is answered 431. Above 99 every request costs more.
    pub header_count_max: usize,
    /// How large all headers together may be, in bytes; more is answered 431.
    pub header_bytes_max: usize,
    /// How long the headers may take to arrive, in milliseconds; also how long a connection may idle. 408.
    pub header_timeout_ms: u64,
    /// How long the body may take to arrive, in milliseconds; 408.
    pub body_timeout_ms: u64,
    /// How many bytes of bodies may be in flight, over all connections; more is answered 503 before the body is read.
    pub inflight_bytes_max: usize,
    /// How many connections may be open; further ones wait in the socket's backlog.
    pub connections_max: usize,
    /// How many connections wait to be accepted.
    pub backlog: i32,
    /// How many refused or answered requests of one integration are kept for the audit, a second; the rest is counted.
    pub refusals_per_second_max: u32,
    /// How much of a refused request's body is kept for the audit, in bytes.
    pub refusal_body_bytes_max: usize,
    /// How many integrations' rates are remembered; the longest unused are forgotten.
    pub rates_max: usize,
    /// What `Retry-After` says on a 503, in seconds.
    pub retry_after_seconds: u32,
    /// How long a drain waits for requests in flight, in milliseconds.
    pub drain_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            threads: 0,
            body_bytes_max: 25 << 20,
            header_count_max: 96,
            header_bytes_max: 64 << 10,
            header_timeout_ms: 30_000,
            body_timeout_ms: 60_000,
            inflight_bytes_max: 256 << 20,
            connections_max: 20_000,
            backlog: 4_096,
            refusals_per_second_max: 10,
            refusal_body_bytes_max: 4 << 10,
            rates_max: 100_000,
            retry_after_seconds: 5,
            drain_timeout_ms: 25_000,
        }
    }
}

impl Config {
    /// How long the headers may take.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// How long the body may take.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// How long a drain may take.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}
