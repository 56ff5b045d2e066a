//! Starts the real servers for tests. In: a folder of the test's own. Out: addresses, until the test lets go.
//! Nothing here stands in for a server: what cannot be started makes the test fail.

pub mod certificates;
pub mod clickhouse;
pub mod kafka;
pub mod receiver;
pub mod server;
