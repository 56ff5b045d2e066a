//! The settings of the client: limits and the rule's exceptions. Plain values; reads no file and no environment.

use ipnet::IpNet;
use serde::Deserialize;

/// The settings of HTTP out.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks that may be called although they are private, loopback or otherwise special (CIDR).
    pub allow: Vec<IpNet>,
    /// Refuse `http` URLs.
    pub https_only: bool,
    /// Further root certificates (PEM), beside the public ones that are built in.
    pub roots_pem: String,
    /// The time for resolving, connecting and the TLS handshake together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long an unused connection is kept, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Unused connections kept per host.
    pub idle_connections_per_host_max: usize,
    /// Connections open at once, used and unused.
    pub connections_max: usize,
    /// Name lookups in flight at once; one name is looked up once at a time.
    pub lookups_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            https_only: false,
            roots_pem: String::new(),
            connect_timeout_ms: 5_000,
            idle_timeout_ms: 30_000,
            idle_connections_per_host_max: 64,
            connections_max: 4_096,
            lookups_max: 64,
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The further root certificates cannot be read.
    #[error("egress.roots_pem cannot be used: {reason}: give certificates in PEM form")]
    Roots {
        /// What is wrong.
        reason: String,
    },
    /// The TLS library refuses its own set-up.
    #[error("tls cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
