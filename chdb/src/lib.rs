//! The embedded ClickHouse engine behind ClickHouse's own HTTP interface.
//!
//! [`serve`] loads `libchdb.so` (the real engine, as a library) into this process, opens a directory of tables and answers HTTP as a ClickHouse server
//! would, so that the same clients and the same code work with the embedded engine and with a server. [`supervise`] runs that in a child process, so
//! that a crash of the engine never takes its parent along.
//!
//! The way of a request: `http::call` (what the URL and headers ask) → `http::access` (who asks) → `http::intake` (the body: statement told from rows) →
//! `http::run` (one thread and one session per query) → `http::reply`. Two tricks carry it, both by file descriptors: rows of an insert are handed to the
//! engine as a file in memory, because it loses binary rows that stand in a statement's text; and a result is written by the engine into a pipe, because
//! that is the one way to stream every format whole.
//!
//! Not kept: sessions, temporary tables between requests, roles, external tables in forms. Whoever has the password may also read files of this machine
//! through `file(…)`, as with any engine that runs under one's own user: it is made for one's own loopback.

mod blocks;
mod child;
mod config;
mod engine;
mod error;
mod exception;
mod http;
mod insert;
mod library;
mod lock;
pub mod metrics;
mod server;
mod statement;
pub mod supervise;
mod tokens;
mod watcher;

pub use child::serve_parent;
pub use config::{Config, Limits, Password};
pub use error::Error;
pub use server::{Server, serve};
