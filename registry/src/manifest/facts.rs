//! What a provider's definition demands of an integration and its connections, as plain facts.
//! In: facts, told by whoever knows the definitions, and entities. Out: what does not fit, by field.

use std::collections::BTreeMap;

use super::suggest::suggestion;
use crate::entity::{Connection, FloodSettings, Integration};

/// What a definition demands and offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderFacts {
    /// Whether its webhooks are verified with a secret.
    pub needs_secret: bool,
    /// Where its secrets usually sit.
    pub secret_at: SecretAt,
    /// Whether a handshake of its delivers the secret, and where that is then kept.
    pub stores_secret: Option<SecretAt>,
    /// The connection properties that its events are matched by.
    pub properties: Vec<String>,
    /// The constants that it declares.
    pub cfg: Vec<CfgFact>,
    /// Whether one value of the whole request says whose it is, so that an integration may spread.
    pub has_route: bool,
    /// Whether the early check cannot be switched off.
    pub early_check_required: bool,
    /// What flood control can be told by.
    pub flood: FloodFacts,
}

/// What a definition finds in an event that flood control can be told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FloodFacts {
    /// A delivery id, or that repeats are byte-identical.
    pub delivery_id: bool,
    /// An object's key.
    pub object_key: bool,
    /// A version or time that can be ranked.
    pub rank: bool,
    /// An object's whole state.
    pub content: bool,
}

/// Where a secret sits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SecretAt {
    /// At the integration.
    #[default]
    Integration,
    /// At each connection.
    Connection,
}

/// A constant that a definition declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CfgFact {
    /// Its name.
    pub name: String,
    /// Whether an integration must give it.
    pub required: bool,
    /// Whether requests are compared with it, so that whoever knows it can forge them.
    pub secret: bool,
}

/// What of an integration does not fit its provider: fields and what is wrong with them. `providers` are the facts of
/// all there are.
#[must_use]
pub fn check_integration(
    integration: &Integration,
    providers: &BTreeMap<String, ProviderFacts>,
) -> Vec<(&'static str, String)> {
    let provider = &integration.provider;
    let Some(facts) = providers.get(provider) else {
        let hint = suggestion(provider, providers.keys().map(String::as_str));
        let problem =
            format!("there is no provider `{provider}`{hint} (`tidegate providers list` shows all)");
        return vec![("provider", problem)];
    };
    let mut problems = Vec::new();
    let secret_missing = facts.needs_secret
        && facts.secret_at == SecretAt::Integration
        && integration.secrets.is_empty()
        && !integration.awaits_secret
        && !integration.flags.allow_unverified;
    if secret_missing {
        problems.push(("secret", missing_secret(integration, facts)));
    }
    if integration.awaits_secret && facts.stores_secret != Some(SecretAt::Integration) {
        let problem =
            format!("provider `{provider}` delivers no secret to an integration: leave `awaits_secret` out");
        problems.push(("awaits_secret", problem));
    }
    for fact in facts.cfg.iter().filter(|fact| is_missing(fact, integration)) {
        let problem = format!(
            "provider `{provider}` needs `cfg.{name}`: add it",
            name = fact.name
        );
        problems.push(("cfg", problem));
    }
    for name in integration
        .cfg
        .keys()
        .filter(|name| !facts.cfg.iter().any(|fact| fact.name == **name))
    {
        let hint = suggestion(name, facts.cfg.iter().map(|fact| fact.name.as_str()));
        problems.push((
            "cfg",
            format!("provider `{provider}` knows no `cfg.{name}`{hint}"),
        ));
    }
    if integration.spread > 1 && !facts.has_route {
        let problem = format!(
            "provider `{provider}` names no connection by one value of the whole request, so its order would be lost: \
             leave `spread` out"
        );
        problems.push(("spread", problem));
    }
    if facts.early_check_required && !integration.flags.early_check {
        let problem = format!("provider `{provider}` demands the early check: leave `early_check` out");
        problems.push(("early_check", problem));
    }
    let refused = check_flood(&integration.flood, (provider, facts.flood));
    problems.extend(refused.into_iter().map(|problem| ("flood", problem)));
    problems
}

/// Which settings of flood control the provider's definition cannot support, and why.
#[must_use]
pub fn check_flood(settings: &FloodSettings, (provider, facts): (&str, FloodFacts)) -> Vec<String> {
    let mut problems = Vec::new();
    for (place, settings) in settings.all() {
        let debounced = !settings.debounce.is_empty() && settings.debounce.enabled != Some(false);
        let needs = [
            (
                "dedupe",
                settings.dedupe == Some(true),
                facts.delivery_id,
                "carry no delivery id",
            ),
            (
                "order",
                settings.order == Some(true),
                facts.rank,
                "carry no version or time that can be ranked",
            ),
            ("debounce", debounced, facts.object_key, "name no object"),
            (
                "detect_changes",
                settings.detect_changes == Some(true),
                facts.content,
                "only notify: they do not carry an object's whole state",
            ),
        ];
        let refused = needs
            .iter()
            .filter(|(_, wanted, supported, _)| *wanted && !supported);
        problems.extend(refused.map(|(setting, _, _, why)| {
            format!("`{place}{setting}` cannot be: events of provider `{provider}` {why}; leave it out")
        }));
    }
    problems
}

/// What of a connection does not fit its provider.
pub(super) fn check_connection(
    connection: &Connection,
    (provider, facts): (&str, &ProviderFacts),
) -> Vec<String> {
    let mut problems = Vec::new();
    if !facts.properties.is_empty() {
        for name in connection
            .properties
            .keys()
            .filter(|name| !facts.properties.contains(name))
        {
            let hint = suggestion(name, facts.properties.iter().map(String::as_str));
            problems.push(format!(
                "no event of provider `{provider}` is matched by the property `{name}`{hint}"
            ));
        }
    }
    problems.extend(check_flood(&connection.details.flood, (provider, facts.flood)));
    if connection.awaits_secret && facts.stores_secret != Some(SecretAt::Connection) {
        let problem =
            format!("provider `{provider}` delivers no secret to a connection: leave `awaits_secret` out");
        problems.push(problem);
    }
    problems
}

fn is_missing(fact: &CfgFact, integration: &Integration) -> bool {
    let given = integration.cfg.contains_key(&fact.name) || integration.secret_cfg.contains_key(&fact.name);
    fact.required && !given
}

fn missing_secret(integration: &Integration, facts: &ProviderFacts) -> String {
    let mut problem = format!(
        "integration `{}` has no secret, so nothing could be verified: add `secret: ${{NAME}}`",
        integration.key
    );
    if facts.stores_secret == Some(SecretAt::Integration) {
        problem.push_str(", or `awaits_secret: true` if the provider delivers it");
    }
    problem.push_str(", or `allow_unverified: true` to let everything through, marked unverified for ever");
    problem
}
