//! The limits of reading and proving requests, as configuration. In: the section `[providers]`. Out: numbers that a
//! definition carries with it. Every limit has a default; a refusal that is due to one names its key.

use serde::Deserialize;

/// How deep JSON may nest at most, whatever is configured: reading goes as deep on the stack.
pub(crate) const JSON_DEPTH_LIMIT: u32 = 1024;

/// `[providers]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How deep JSON may nest, at most 1024; a deeper body is `malformed`.
    pub json_depth_max: u32,
    /// How many fields a form may have; one with more is `malformed`.
    pub form_fields_max: usize,
    /// How many sets of a signature's list, and signatures of each set, are tried: each costs a hash of the body.
    pub signatures_max: usize,
    /// How many entries of a Standard Webhooks signature header are tried.
    pub standard_entries_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            json_depth_max: 128,
            form_fields_max: 10_000,
            signatures_max: 8,
            standard_entries_max: 16,
        }
    }
}
