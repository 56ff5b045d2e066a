//! Why the engine's server cannot start or go on.
//!
//! In: the failures of the other files. Out: [`Error`], with what to do about it. Errors of a query are [`crate::exception::Exception`], not this.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the engine's server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library's file is not there.
    #[error(
        "the ClickHouse engine is not at {path}: fetch it with `make deps`, or name its file in `clickhouse.library`"
    )]
    LibraryMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not a library that can be used.
    #[error("the ClickHouse engine at {path} cannot be loaded ({reason}): fetch it again with `make deps`")]
    LibraryUnusable {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// Another process has the directory.
    #[error("{directory} is in use by process {holder}: stop that process, or name another directory")]
    DirectoryInUse {
        /// The directory of tables.
        directory: PathBuf,
        /// The process that holds it, as far as its lock file tells.
        holder: String,
    },
    /// A file of ours cannot be read or written.
    #[error("{path}: cannot {action}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The engine refused to open the directory.
    #[error(
        "the ClickHouse engine cannot open {directory} ({reason}): its own message stands above on standard error"
    )]
    EngineRefused {
        /// The directory of tables.
        directory: PathBuf,
        /// What the engine says, if anything.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: choose another with `clickhouse.listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The address is open to others although that was not asked for.
    #[error(
        "{address} is not a loopback address: set `clickhouse.remote = true` and a password to let other machines in"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The child process cannot be started, or does not answer.
    #[error("the ClickHouse engine's process {what}")]
    Child {
        /// What is wrong with it.
        what: String,
    },
}
