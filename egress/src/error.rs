//! What can go wrong on the way out, as a closed set, so that a caller can say what each means for it.
//! Out: errors that may be cloned (several requests may wait for one connection).

use std::sync::Arc;
use std::time::Duration;

use crate::{Refused, UrlError};

/// A request that got no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The URL cannot be called.
    #[error(transparent)]
    UrlUnusable(#[from] UrlError),
    /// The name could not be resolved.
    #[error("the name {host} cannot be resolved: {reason}")]
    Dns {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Every address of the host is one that must not be dialled.
    #[error(transparent)]
    AddressRefused(Refused),
    /// No connection could be made.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The TLS handshake failed.
    #[error("the tls handshake failed: {reason}")]
    Tls {
        /// What the TLS library said.
        reason: String,
    },
    /// Not done in time.
    #[error("no {what} within {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection broke before the answer was whole, or the answer is not HTTP.
    #[error("the answer broke off: {reason}")]
    Broken {
        /// What the HTTP library said.
        reason: String,
    },
    /// A fetched document is larger than its limit.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A fetched document came with another status than 200.
    #[error("the answer has status {status} instead of 200")]
    Status {
        /// The status.
        status: u16,
    },
}
