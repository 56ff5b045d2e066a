//! What the engine's server may use and where it listens.
//!
//! In: plain values, deserialized by whoever reads the configuration file. Out: [`Config`] and its limits, each with its default.
//! It reads neither files nor the environment, and it does not check that paths exist: the step that uses a path says what is wrong with it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Where the engine keeps its tables, where it listens, and what it may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The engine's shared library, `libchdb.so`.
    pub library: PathBuf,
    /// The directory of tables. One process at a time; created when missing.
    pub data: PathBuf,
    /// The address of the HTTP interface. Port 0 lets the system choose; [`crate::Server::address`] tells.
    pub listen: SocketAddr,
    /// Allows an address other than loopback. A password is then required.
    pub remote: bool,
    /// The one user.
    pub user: String,
    /// The user's password; empty means that none is asked for.
    pub password: Password,
    /// How many bytes of memory the engine may hold, over all queries, merges and caches.
    pub memory_bytes_max: u64,
    /// Whether an insert is answered only after its parts are synced to disk.
    pub synced_inserts: bool,
    /// How long to wait for another process to let go of the directory, in milliseconds.
    pub lock_wait_ms: u64,
    /// How long running queries get to finish when the server stops, in milliseconds.
    pub stop_wait_ms: u64,
    /// What requests may use.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            library: PathBuf::from("libchdb.so"),
            data: PathBuf::from("clickhouse"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8123)),
            remote: false,
            user: "default".to_owned(),
            password: Password::default(),
            memory_bytes_max: 2 << 30,
            synced_inserts: true,
            lock_wait_ms: 10_000,
            stop_wait_ms: 10_000,
            limits: Limits::default(),
        }
    }
}

impl Config {
    pub(crate) fn lock_wait(&self) -> Duration {
        Duration::from_millis(self.lock_wait_ms)
    }

    pub(crate) fn stop_wait(&self) -> Duration {
        Duration::from_millis(self.stop_wait_ms)
    }
}

/// What requests may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once; further ones wait in the listener's queue.
    pub connections_max: usize,
    /// Queries that run at once; each has a thread and a session of its own.
    pub queries_max: usize,
    /// How long a query waits for its turn before it is refused with 503, in milliseconds.
    pub queue_wait_ms: u64,
    /// How long a client may take to send its headers, in milliseconds.
    pub header_wait_ms: u64,
    /// How long a client may be silent while it sends a body or takes a result, in milliseconds.
    pub idle_wait_ms: u64,
    /// The longest statement in bytes, an insert's rows not counted.
    pub statement_bytes_max: usize,
    /// The largest decompressed body in bytes.
    pub body_bytes_max: u64,
    /// How many bytes of all bodies together are kept in memory; what exceeds it goes to an unnamed file below the directory of tables.
    pub body_memory_bytes_max: u64,
    /// The largest block of a compressed body in bytes, before and after decompression.
    pub block_bytes_max: usize,
    /// How much of a result is held back, in bytes, so that an early error still gets its own status.
    pub held_result_bytes_max: usize,
    /// The largest result in bytes that `wait_end_of_query` holds back.
    pub whole_result_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 256,
            queries_max: 16,
            queue_wait_ms: 30_000,
            header_wait_ms: 30_000,
            idle_wait_ms: 300_000,
            statement_bytes_max: 4 << 20,
            body_bytes_max: 4 << 30,
            body_memory_bytes_max: 64 << 20,
            block_bytes_max: 64 << 20,
            held_result_bytes_max: 1 << 20,
            whole_result_bytes_max: 64 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn queue_wait(&self) -> Duration {
        Duration::from_millis(self.queue_wait_ms)
    }

    pub(crate) fn header_wait(&self) -> Duration {
        Duration::from_millis(self.header_wait_ms)
    }

    pub(crate) fn idle_wait(&self) -> Duration {
        Duration::from_millis(self.idle_wait_ms)
    }
}

/// A password: never shown by `Debug`, compared in constant time.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Takes `text` as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// Makes one of 192 random bits, as hex.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random).expect("the operating system gives randomness");
        Password(hex::encode(random))
    }

    /// The text, for the one who has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, given: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), given.as_bytes()).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}
