//! ClickHouse's HTTP interface.
//!
//! In: HTTP requests. Out: what a ClickHouse server would answer. The way of a request:
//! [`call`] (URL and headers) → [`access`] (user and password) → [`intake`] (body, decompressed, statement told from rows) → [`run`] (the query) →
//! [`reply`] (headers, result, errors). It keeps no sessions: a request that names one is refused, rather than half obeyed.

pub(crate) mod access;
pub(crate) mod call;
pub(crate) mod coding;
pub(crate) mod form;
pub(crate) mod intake;
pub(crate) mod job;
pub(crate) mod reply;
pub(crate) mod run;
pub(crate) mod spool;
pub(crate) mod stream;
