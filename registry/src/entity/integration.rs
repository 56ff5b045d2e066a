//! An integration: a provider's app as one user configured it.
//! Plain fields in and out; the writer checks them and chooses the partitions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_schemas::{EnvironmentId, IntegrationId, Secret, UnixMillis};

use super::{FloodSettings, Mode, StoredSecret, active_at};

/// A provider's app as one user configured it; its key is unique in the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    /// Unique everywhere and for ever.
    pub id: IntegrationId,
    /// The environment it belongs to.
    pub environment: EnvironmentId,
    /// Stands in its webhook URL; unique in the environment, never changed.
    pub key: String,
    /// The name of the provider's definition.
    pub provider: String,
    /// Raised by one with every write; 0 before the first.
    pub version: u64,
    /// When it was first written.
    pub created_at: UnixMillis,
    /// When it was last written.
    pub updated_at: UnixMillis,
    /// Its flags.
    #[serde(default)]
    pub flags: IntegrationFlags,
    /// The secrets that verify its webhooks; several may be active at once.
    #[serde(default)]
    pub secrets: Vec<StoredSecret>,
    /// Whether a handshake may store a secret here; taken back once one has.
    #[serde(default)]
    pub awaits_secret: bool,
    /// The constants that its definition's `[cfg]` declares, but for those that requests are compared with.
    #[serde(default)]
    pub cfg: BTreeMap<String, String>,
    /// The constants that requests are compared with: tokens, sealed as secrets are ([`Integration::hide_cfg`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_cfg: BTreeMap<String, StoredSecret>,
    #[serde(skip)]
    opened: Opened,
    /// The URL registered at the provider, where it is not our own (a proxy in front); some schemes sign it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// At most this many requests, or unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How its floods are controlled.
    #[serde(default, skip_serializing_if = "FloodSettings::is_empty")]
    pub flood: FloodSettings,
    /// The partitions of `requests` that are its own; chosen by the writer at creation.
    #[serde(default)]
    pub partitions: Vec<u32>,
    /// How many partitions it asked for at creation.
    #[serde(default = "one")]
    pub spread: u32,
    /// Raised when `spread` changes.
    #[serde(default)]
    pub spread_generation: u32,
}

/// What an integration does and allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntegrationFlags {
    /// Off: its URL answers as if it did not exist.
    pub enabled: bool,
    /// Off: its events are decided and recorded but forwarded to nobody.
    pub forward: bool,
    /// Off: ingest accepts everything and leaves the verdict to the processor.
    pub early_check: bool,
    /// On: events are let through without a secret, marked unverified for ever.
    pub allow_unverified: bool,
    /// How an event without a connection is forwarded.
    pub unattributed: Mode,
}

impl Default for IntegrationFlags {
    fn default() -> Self {
        Self {
            enabled: true,
            forward: true,
            early_check: true,
            allow_unverified: false,
            unattributed: Mode::Wrapped,
        }
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Sustained requests, or events, a second; at least 1.
    pub per_second: u32,
    /// So many at once; at least 1.
    pub burst: u32,
}

impl RateLimit {
    /// Whether it lets nothing through.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.per_second == 0 || self.burst == 0
    }
}

impl Integration {
    /// A new integration with the default flags; the writer chooses its partitions.
    #[must_use]
    pub fn new(environment: EnvironmentId, key: &str, provider: &str, now: UnixMillis) -> Self {
        Self {
            id: IntegrationId::new(now),
            environment,
            key: key.to_owned(),
            provider: provider.to_owned(),
            version: 0,
            created_at: now,
            updated_at: now,
            flags: IntegrationFlags::default(),
            secrets: Vec::new(),
            awaits_secret: false,
            cfg: BTreeMap::new(),
            secret_cfg: BTreeMap::new(),
            opened: Opened::default(),
            public_url: None,
            rate_limit: None,
            flood: FloodSettings::default(),
            partitions: Vec::new(),
            spread: 1,
            spread_generation: 0,
        }
    }

    /// Every constant, as the definition reads them.
    #[must_use]
    pub fn constants(&self) -> &BTreeMap<String, String> {
        if self.secret_cfg.is_empty() {
            &self.cfg
        } else {
            &self.opened.0
        }
    }

    /// Takes the constant `name` from the plain ones: it is a token. `current` is the integration as it is, whose own
    /// is kept when it is the same.
    pub fn hide_cfg(&mut self, name: &str, current: Option<&Integration>) {
        let Some(text) = self.cfg.remove(name).filter(|text| !text.is_empty()) else {
            return;
        };
        let kept = current
            .and_then(|current| current.secret_cfg.get(name))
            .filter(|kept| kept.secret().expose() == text.as_bytes());
        let secret = kept
            .cloned()
            .unwrap_or_else(|| StoredSecret::new(Secret::new(text)));
        self.secret_cfg.insert(name.to_owned(), secret);
    }

    /// The keyring has opened the secrets.
    pub(crate) fn join_constants(&mut self) {
        if self.secret_cfg.is_empty() {
            return;
        }
        let text = |secret: &StoredSecret| String::from_utf8_lossy(secret.secret().expose()).into_owned();
        let secret = self.secret_cfg.iter();
        self.opened.0 = self.cfg.clone();
        self.opened
            .0
            .extend(secret.map(|(name, secret)| (name.clone(), text(secret))));
    }

    /// The secrets that counted at `time`: a request is verified against those of the time it was received.
    pub fn secrets_at(&self, time: UnixMillis) -> impl Iterator<Item = &StoredSecret> {
        active_at(&self.secrets, time)
    }
}

/// All constants, tokens among them: told from nothing else and never printed.
#[derive(Clone, Default)]
struct Opened(BTreeMap<String, String>);

impl PartialEq for Opened {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

fn one() -> u32 {
    1
}
