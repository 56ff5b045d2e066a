//! The policy that is tried: a `flood:` map, in a file or on the command line, for every event; or a whole file of
//! `tidegate apply`, in which each integration and connection has its own. In: a text and the defaults. Out: what holds
//! for an event.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tidegate_registry::manifest::{FloodFacts, Manifest, check_flood, read_flood};
use tidegate_registry::{FloodPolicy, FloodSettings};
use tidegate_schemas::IntegrationId;

use super::Event;

/// What a policy was asked for: the integration, the connection, the event's type.
type Asked = (IntegrationId, Option<Arc<str>>, Arc<str>);

/// A policy that is tried.
#[derive(Debug)]
pub struct Policy {
    /// What it is called in the report.
    pub name: String,
    default: FloodPolicy,
    written: Written,
    known: HashMap<Asked, Arc<FloodPolicy>>,
}

#[derive(Debug)]
enum Written {
    /// One for all.
    Alone(FloodSettings),
    /// By integration.
    File(BTreeMap<String, OfIntegration>),
}

#[derive(Debug, Default)]
struct OfIntegration {
    settings: FloodSettings,
    cfg: BTreeMap<String, String>,
    /// By the connection's id and by each value that its events may name it by.
    connections: HashMap<String, FloodSettings>,
}

impl Policy {
    /// What holds where nobody has set anything.
    #[must_use]
    pub fn of_defaults(default: FloodPolicy) -> Self {
        Self::new(
            "the configuration's defaults",
            Written::Alone(FloodSettings::default()),
            default,
        )
    }

    /// Reads what stands behind `--policy`: a file's name, or the policy itself.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read as a policy.
    pub fn read(given: &str, default: FloodPolicy) -> anyhow::Result<Self> {
        if Path::new(given).is_file() {
            let text = std::fs::read_to_string(given).with_context(|| format!("cannot read {given}"))?;
            return Self::parse(given, &text, default);
        }
        if !given.contains(':') {
            bail!(
                "there is no file `{given}`, and it is no policy: write one such as 'debounce: {{quiet: 2s}}', as below \
                 `flood:` in the file of `tidegate apply`"
            );
        }
        let mut policy = Self::parse("--policy", given, default)?;
        given.trim().clone_into(&mut policy.name);
        Ok(policy)
    }

    fn parse(name: &str, text: &str, default: FloodPolicy) -> anyhow::Result<Self> {
        let whole = text
            .lines()
            .any(|line| line.trim_end() == "environments:" || line.starts_with("environments: "));
        if !whole {
            let settings = read_flood(name, text)?;
            return Ok(Self::new(name, Written::Alone(settings), default));
        }
        // Secrets do not matter here, so the variables that hold them need not be set.
        let lookup = |variable: &str| Some(std::env::var(variable).unwrap_or_else(|_| "unset".to_owned()));
        let manifest = Manifest::parse(name, text, lookup)?;
        let mut integrations: BTreeMap<String, OfIntegration> = BTreeMap::new();
        for flood in manifest.floods() {
            let own = flood
                .connections
                .iter()
                .filter_map(|(connection, own)| Some((connection, (*own)?)));
            let connections = own.flat_map(|(connection, own)| {
                let values = connection.properties.values().flatten().cloned();
                std::iter::once(connection.id.clone())
                    .chain(values)
                    .map(|value| (value, own.clone()))
            });
            let integration = OfIntegration {
                settings: flood.settings.clone(),
                cfg: flood.cfg.clone(),
                connections: connections.collect(),
            };
            integrations.insert(flood.integration.to_owned(), integration);
        }
        Ok(Self::new(name, Written::File(integrations), default))
    }

    fn new(name: &str, written: Written, default: FloodPolicy) -> Self {
        Self {
            name: name.to_owned(),
            default,
            written,
            known: HashMap::new(),
        }
    }

    /// Each integration's constants, by key, as far as the policy's file holds them.
    #[must_use]
    pub fn cfg(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        match &self.written {
            Written::Alone(_) => BTreeMap::new(),
            Written::File(integrations) => integrations
                .iter()
                .map(|(key, integration)| (key.clone(), integration.cfg.clone()))
                .collect(),
        }
    }

    /// Checks that events of these integrations can support it: key, provider, and what its definition finds.
    ///
    /// # Errors
    /// A setting cannot be, with the reason; or the policy's file does not name an integration.
    pub fn check<'i>(
        &self,
        integrations: impl IntoIterator<Item = (&'i str, &'i str, FloodFacts)>,
    ) -> anyhow::Result<()> {
        for (key, provider, facts) in integrations {
            let mut problems = Vec::new();
            match &self.written {
                Written::Alone(settings) => problems.extend(check_flood(settings, (provider, facts))),
                Written::File(known) => {
                    let Some(integration) = known.get(key) else {
                        let names: Vec<&str> = known.keys().map(String::as_str).collect();
                        bail!(
                            "{} names no integration `{key}`, of which there are events; it names {}",
                            self.name,
                            names.join(", ")
                        );
                    };
                    for settings in
                        std::iter::once(&integration.settings).chain(integration.connections.values())
                    {
                        problems.extend(check_flood(settings, (provider, facts)));
                    }
                }
            }
            if let Some(problem) = problems.first() {
                bail!("{}: {problem}", self.name);
            }
        }
        Ok(())
    }

    /// What holds for an event.
    pub fn of(&mut self, event: &Event) -> Arc<FloodPolicy> {
        let own = self.own(event);
        let connection = own.and(event.connection.clone());
        let place = (event.integration, connection, event.event_type.clone());
        if let Some(policy) = self.known.get(&place) {
            return policy.clone();
        }
        let own = self.own(event);
        let mut policy = self.default.clone();
        let wider = match &self.written {
            Written::Alone(settings) => Some(settings),
            Written::File(integrations) => integrations
                .get(&*event.integration_key)
                .map(|known| &known.settings),
        };
        for settings in wider.into_iter().chain(own) {
            policy = policy.with(settings, &event.event_type);
        }
        let policy = Arc::new(policy);
        self.known.insert(place, policy.clone());
        policy
    }

    /// What the event's connection has of its own.
    fn own(&self, event: &Event) -> Option<&FloodSettings> {
        let Written::File(integrations) = &self.written else {
            return None;
        };
        let integration = integrations.get(&*event.integration_key)?;
        integration.connections.get(event.connection.as_deref()?)
    }
}
