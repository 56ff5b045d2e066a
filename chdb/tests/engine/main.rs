//! The real engine, in a child process, spoken to as clients speak to it.
//!
//! In: the library at `TIDEGATE_LIBCHDB`, else `build/chdb/libchdb.so`; what is missing fails the test with the command that brings it.
//! Nothing here is simulated, and nothing is measured in time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod inserts;
mod js_client;
mod queries;
mod rust_client;
mod started;
mod streams;
mod supervision;
