//! What the benchmarks share: a signed webhook of a size ([`webhook`]), the CPU that a process has spent ([`cpu`]), load
//! from a process of its own ([`load`]), the server that does nothing, which every figure stands beside ([`idle`]),
//! requests and a processor that decides them ([`processing`]), and a real Kafka with processes on it ([`kafka`]).
//!
//! Measures nothing itself: each program in `bin/` does, prints, and asserts only that its work was done.

pub mod cpu;
pub mod idle;
pub mod kafka;
pub mod load;
pub mod processing;
pub mod webhook;

use std::time::Duration;

/// The allocator of the binary, so that what is measured here is what runs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory back as the server does, so that this too is what runs there.
///
/// # Errors
/// When the system gives no thread.
pub fn purge_as_the_server() -> std::io::Result<()> {
    let server = tidegate::config::Config::default().server;
    tidegate::memory::purge_every(Duration::from_secs(server.memory_purge_interval_s))
}

/// Whatever keeps a benchmark from its figure.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// CPU-µs (or wall µs) each.
#[must_use]
#[allow(clippy::cast_precision_loss)] // figures for people
pub fn micros_each(spent: Duration, times: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / times.max(1) as f64
}
