//! The registry's limits. Plain values with defaults; read from nowhere.

use serde::Deserialize;

/// The registry's limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Milliseconds that a verdict waits for the registry's end to be read.
    pub end_wait_ms: u64,
    /// Milliseconds that a write waits for a process that writes the registry, and for its answer.
    pub write_wait_ms: u64,
    /// Bytes of changes in one write, encoded; all of it is one journal message.
    pub write_bytes_max: usize,
    /// Bytes of one entity, encoded.
    pub entity_bytes_max: usize,
    /// Bytes of a name, key, connection id or property name.
    pub name_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            end_wait_ms: 1000,
            write_wait_ms: 30_000,
            write_bytes_max: 4 * 1024 * 1024,
            entity_bytes_max: 256 * 1024,
            name_bytes_max: 255,
        }
    }
}
