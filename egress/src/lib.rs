//! HTTP out: the one way in which Tidegate calls an address that somebody else chose.
//!
//! A URL becomes a [`Target`] by [`Rule::check_url`], which is what an API asks when an endpoint is created. A
//! [`Client`] sends requests to targets: it resolves the name itself, holds every address found against the
//! [`Rule`], and dials exactly an address that passed, so no second lookup can answer differently. Redirects are
//! never followed, no proxy is taken from the environment, and everything has a limit: connections, the time to
//! dial, the time for the whole exchange, the bytes of the answer. [`Client::fetch`] gets a small document, such
//! as a key set, under the same rule.
//!
//! Knows nothing of webhooks: what an [`Error`] means for a delivery or a signature is decided by the caller.

mod address;
mod client;
mod config;
mod dial;
mod error;
mod metrics;
mod resolve;
mod target;

pub use address::{Refused, Rule, Special};
pub use client::{Answer, Client, Limits};
pub use config::{Config, ConfigError};
pub use error::Error;
pub use metrics::describe;
pub use target::{Target, UrlError};
