//! How an integration's or a connection's floods are controlled: what its user set, and what then holds for an event.
//! In: settings, each of them left out or given. Out: a whole policy, or which setting cannot be. Judges no event.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RateLimit;
use super::endpoint::matches;

/// The longest that a window may hold an event back.
pub const MAX_WAIT_MAX: Duration = Duration::from_secs(3600);
/// The largest list that `keep: all` hands over, in bytes.
pub const LIST_BYTES_MAX: u64 = 16 << 20;
/// How many patterns of event types a map or list may hold.
const PATTERNS_MAX: usize = 100;

/// What was set; what was not is left to the wider setting: type before connection before integration before default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloodSettings {
    /// Whether an event is dropped whose delivery id was seen; on by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<bool>,
    /// Whether an event is dropped that is older than the last one of its object; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<bool>,
    /// Whether events of one object are held back for a short time, and one stands for all; off by default.
    #[serde(skip_serializing_if = "DebounceSettings::is_empty")]
    pub debounce: DebounceSettings,
    /// Whether an event is dropped whose object has not changed; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_changes: Option<bool>,
    /// How many events of one connection are decided at once and each second: what exceeds it is set aside and decided at
    /// this rate; unlimited by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// The same for all connections of the integration together; only at an integration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration_rate: Option<RateLimit>,
    /// The same for some event types, with `*` for any text; of several that fit, the longest decides last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, FloodSettings>,
}

/// What was set of debouncing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DebounceSettings {
    /// On or off; left out it is on as soon as another setting stands beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long nothing may come before the window ends, in milliseconds; 1 to `max_wait_ms`, by default 2,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_ms: Option<u64>,
    /// How long the window lasts at most, in milliseconds; at most an hour, by default 30,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait_ms: Option<u64>,
    /// When an event is handed on: at the window's end, at its beginning, or both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
    /// Which event stands for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// How many events end the window at once; at least 1, by default unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u32>,
    /// How many bytes of payloads end a window of `keep: all` at once; 1 to 16 MiB, by default 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Event types that end the window and pass at once, with `*` for any text. Deletions always do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass: Option<Vec<String>>,
}

/// When a window hands an event on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// At its end: the one that was kept.
    #[default]
    Trailing,
    /// At its beginning: the first; what follows is absorbed.
    Leading,
    /// The first at once, and of those that follow the one that was kept.
    Both,
}

/// Which event of a window stands for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The latest: by ranked version, then by the provider's time, then by arrival.
    #[default]
    Latest,
    /// The first that came.
    First,
    /// All of them, as a list under the last one's id.
    All,
}

/// What holds for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodPolicy {
    /// Repeated deliveries are dropped.
    pub dedupe: bool,
    /// Older versions are dropped.
    pub order: bool,
    /// Events are held back.
    pub debounce: Option<Debounce>,
    /// Unchanged content is dropped.
    pub detect_changes: bool,
    /// How fast events of the connection are decided.
    pub rate: Option<RateLimit>,
    /// How fast events of the whole integration are decided.
    pub integration_rate: Option<RateLimit>,
}

/// How events are held back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Debounce {
    /// How long nothing may come before the window ends.
    pub quiet: Duration,
    /// How long the window lasts at most.
    pub max_wait: Duration,
    /// When it hands an event on.
    pub edge: Edge,
    /// Which one.
    pub keep: Keep,
    /// How many events end it; `None`: it has no such end.
    pub max_events: Option<u32>,
    /// How many bytes of payloads end a window that keeps all.
    pub max_bytes: u64,
    /// Event types that pass at once.
    pub bypass: Vec<String>,
}

impl Default for Debounce {
    fn default() -> Self {
        Self {
            quiet: Duration::from_secs(2),
            max_wait: Duration::from_secs(30),
            edge: Edge::Trailing,
            keep: Keep::Latest,
            max_events: None,
            max_bytes: 1 << 20,
            bypass: Vec::new(),
        }
    }
}

impl Default for FloodPolicy {
    fn default() -> Self {
        Self {
            dedupe: true,
            order: false,
            debounce: None,
            detect_changes: false,
            rate: None,
            integration_rate: None,
        }
    }
}

impl Debounce {
    /// Whether an event of this type passes at once.
    #[must_use]
    pub fn bypasses(&self, event_type: &str) -> bool {
        self.bypass.iter().any(|pattern| matches(pattern, event_type))
    }
}

impl FloodPolicy {
    /// This policy as `settings` turn it for events of `event_type`.
    #[must_use]
    pub fn with(mut self, settings: &FloodSettings, event_type: &str) -> Self {
        self.turn(settings);
        let mut fitting: Vec<(&String, &FloodSettings)> = settings
            .types
            .iter()
            .filter(|(pattern, _)| matches(pattern, event_type))
            .collect();
        fitting.sort_by_key(|(pattern, _)| pattern.len());
        for (_, settings) in fitting {
            self.turn(settings);
        }
        self
    }

    fn turn(&mut self, settings: &FloodSettings) {
        self.dedupe = settings.dedupe.unwrap_or(self.dedupe);
        self.order = settings.order.unwrap_or(self.order);
        self.detect_changes = settings.detect_changes.unwrap_or(self.detect_changes);
        self.rate = settings.rate.or(self.rate);
        self.integration_rate = settings.integration_rate.or(self.integration_rate);
        if settings.debounce.is_empty() {
            return;
        }
        if settings.debounce.enabled == Some(false) {
            self.debounce = None;
        } else {
            self.debounce = Some(settings.debounce.over(self.debounce.take().unwrap_or_default()));
        }
    }
}

impl DebounceSettings {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn over(&self, base: Debounce) -> Debounce {
        let millis = |given: Option<u64>, base: Duration| given.map_or(base, Duration::from_millis);
        let max_wait = millis(self.max_wait_ms, base.max_wait).min(MAX_WAIT_MAX);
        Debounce {
            quiet: millis(self.quiet_ms, base.quiet).min(max_wait),
            max_wait,
            edge: self.edge.unwrap_or(base.edge),
            keep: self.keep.unwrap_or(base.keep),
            max_events: self.max_events.or(base.max_events),
            max_bytes: self.max_bytes.unwrap_or(base.max_bytes),
            bypass: self.bypass.clone().unwrap_or(base.bypass),
        }
    }

    /// Checks the settings; `max_wait_ms` holds where they leave it out.
    fn check(&self, max_wait_ms: Option<u64>) -> Result<(), (&'static str, String)> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (default, max_wait_max) = (Debounce::default(), millis(MAX_WAIT_MAX));
        let max_wait = self.max_wait_ms.or(max_wait_ms);
        let max_wait = max_wait.unwrap_or(millis(default.max_wait));
        let quiet = self.quiet_ms;
        let wrong = |field, problem: &str| Err((field, problem.to_owned()));
        if max_wait == 0 || max_wait > max_wait_max {
            return wrong(
                "debounce.max_wait",
                "must lie between 1 ms and an hour (`1ms` to `60m`)",
            );
        }
        if quiet.is_some_and(|quiet| quiet == 0 || quiet > max_wait) {
            let problem = format!("must lie between 1 ms and `max_wait`, which is {max_wait} ms");
            return Err(("debounce.quiet", problem));
        }
        if self.max_events == Some(0) {
            return wrong(
                "debounce.max_events",
                "is 0: give at least 1, or leave it out for no limit",
            );
        }
        if self
            .max_bytes
            .is_some_and(|bytes| bytes == 0 || bytes > LIST_BYTES_MAX)
        {
            return wrong("debounce.max_bytes", "must lie between 1 and 16777216 (16 MiB)");
        }
        if self
            .bypass
            .as_ref()
            .is_some_and(|patterns| patterns.len() > PATTERNS_MAX)
        {
            return wrong(
                "debounce.bypass",
                "names more than 100 patterns: use `*` to say them shorter",
            );
        }
        Ok(())
    }
}

impl FloodSettings {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Which of the settings cannot be, whatever the provider, and why; `wider` are those that they are laid over, of
    /// which the longest `max_wait` counts: which of them holds is known of an event only.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self, wider: &Self) -> Result<(), (String, String)> {
        let within =
            |place: String| move |(field, problem): (&str, String)| (format!("{place}{field}"), problem);
        let inherited = wider
            .all()
            .filter_map(|(_, settings)| settings.debounce.max_wait_ms)
            .max();
        let max_wait = self.debounce.max_wait_ms.or(inherited);
        self.debounce
            .check(inherited)
            .map_err(within("flood.".to_owned()))?;
        let zero = "is zero: give at least 1, or leave it out for no limit";
        for (field, rate) in [("rate", self.rate), ("integration_rate", self.integration_rate)] {
            if rate.is_some_and(RateLimit::is_zero) {
                return Err((format!("flood.{field}"), zero.into()));
            }
        }
        if self.types.len() > PATTERNS_MAX {
            return Err(("flood.types".into(), "names more than 100 patterns".into()));
        }
        for (pattern, settings) in &self.types {
            if !settings.types.is_empty() {
                let problem = "holds event types inside an event type: write each pattern once";
                return Err((format!("flood.types.{pattern}"), problem.into()));
            }
            if settings.rate.is_some() || settings.integration_rate.is_some() {
                let problem = "holds a rate: rates are of connections and integrations, not of event types";
                return Err((format!("flood.types.{pattern}"), problem.into()));
            }
            settings
                .debounce
                .check(max_wait)
                .map_err(within(format!("flood.types.{pattern}.")))?;
        }
        Ok(())
    }

    /// The settings themselves and those for single event types, each with its place in words.
    pub fn all(&self) -> impl Iterator<Item = (String, &FloodSettings)> {
        let of_types = self.types.iter();
        let of_types = of_types.map(|(pattern, settings)| (format!("flood.types.{pattern}."), settings));
        std::iter::once(("flood.".to_owned(), self)).chain(of_types)
    }
}

#[cfg(test)]
mod tests;
