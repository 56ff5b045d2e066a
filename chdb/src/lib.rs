//! The embedded ClickHouse engine behind its own HTTP interface
