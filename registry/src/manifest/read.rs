//! The tree of a declarative file as the entities it wants.
//! In: nodes. Out: entities without ids or versions, with the lines they stand in. Compares nothing with what there is.

use std::collections::BTreeMap;

use tidegate_schemas::{EnvironmentId, IntegrationId, Secret, UnixMillis};
use uuid::Uuid;

use super::fields::{Fields, Reading, boolean, count, duration, time};
use super::flood::flood;
use super::yaml::{Kind, Node};
use crate::entity::{
    Connection, Endpoint, EndpointState, FloodSettings, Integration, Mode, RateLimit, StaticHeader,
    StoredSecret,
};

/// What a file wants there to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    pub(super) environments: Vec<WantedEnvironment>,
}

/// Stands where an id will be.
const NOWHERE: EnvironmentId = EnvironmentId(Uuid::nil());
const NO_TIME: UnixMillis = UnixMillis(0);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedEnvironment {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) id: Option<EnvironmentId>,
    pub(super) signing_keys: Option<Vec<StoredSecret>>,
    pub(super) integrations: Vec<WantedIntegration>,
    pub(super) endpoints: Vec<WantedEndpoint>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedIntegration {
    pub(super) line: usize,
    /// With a nil environment; its secrets are those below.
    pub(super) integration: Integration,
    pub(super) secrets: Option<Vec<StoredSecret>>,
    /// `None`: the file says nothing of connections.
    pub(super) connections: Option<Vec<WantedConnection>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedConnection {
    pub(super) line: usize,
    /// With a nil integration; metadata, tags, settings and secrets are those below.
    pub(super) connection: Connection,
    pub(super) metadata: Option<serde_json::Map<String, serde_json::Value>>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) flood: Option<FloodSettings>,
    pub(super) secrets: Option<Vec<StoredSecret>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedEndpoint {
    pub(super) line: usize,
    /// With a nil environment; its secrets and state are those below.
    pub(super) endpoint: Endpoint,
    pub(super) secrets: Option<Vec<StoredSecret>>,
    pub(super) state: Option<EndpointState>,
}

/// Reads a whole file.
pub(super) fn manifest(root: Node, reading: &mut Reading<'_>) -> Manifest {
    let mut fields = reading.fields(root, "the file");
    let environments = named(&mut fields, reading, "environments", environment);
    let line = fields.line;
    reading.finish(fields, "the file");
    if environments.is_empty() && reading.wrongs.is_empty() {
        reading.wrong(
            line,
            "the file names no environment: it begins with `environments:`",
        );
    }
    Manifest { environments }
}

/// The entries of a map of named entities.
fn named<T>(
    fields: &mut Fields,
    reading: &mut Reading<'_>,
    key: &'static str,
    read: impl Fn(String, Fields, &mut Reading<'_>) -> T,
) -> Vec<T> {
    let Some(node) = fields.take(key) else {
        return Vec::new();
    };
    let mut entities = Vec::new();
    for (name, node) in reading.map(node, &format!("`{key}`")) {
        let fields = reading.fields(node, &format!("`{name}` in `{key}`"));
        entities.push(read(name, fields, reading));
    }
    entities
}

fn environment(name: String, mut fields: Fields, reading: &mut Reading<'_>) -> WantedEnvironment {
    let id = |text: &str| text.parse::<EnvironmentId>().map_err(|error| error.to_string());
    let environment = WantedEnvironment {
        line: fields.line,
        id: fields.parsed(reading, ("id", id)),
        signing_keys: secrets(&mut fields, reading, ("signing_key", "signing_keys")),
        integrations: named(&mut fields, reading, "integrations", integration),
        endpoints: named(&mut fields, reading, "endpoints", endpoint),
        name,
    };
    reading.finish(fields, "an environment");
    environment
}

pub(super) fn integration(key: String, mut fields: Fields, reading: &mut Reading<'_>) -> WantedIntegration {
    let line = fields.line;
    let provider = match fields.take("provider") {
        Some(node) => reading.text(&node, "provider"),
        None => {
            reading.wrong(
                line,
                format!("integration `{key}` names no provider: add `provider: NAME`"),
            );
            None
        }
    };
    let mut integration = Integration::new(NOWHERE, &key, &provider.unwrap_or_default(), NO_TIME);
    flags(&mut integration, &mut fields, reading);
    integration.cfg = texts_by_name(&mut fields, reading, "cfg").unwrap_or_default();
    integration.public_url = fields.text(reading, "public_url");
    integration.rate_limit = fields
        .take("rate_limit")
        .and_then(|node| rate_limit(("rate_limit", node), reading));
    integration.flood = flood(&mut fields, reading, &FloodSettings::default()).unwrap_or_default();
    integration.spread = fields.parsed(reading, ("spread", count)).unwrap_or(1);
    integration.awaits_secret = fields
        .parsed(reading, ("awaits_secret", boolean))
        .unwrap_or_default();
    let secrets = secrets(&mut fields, reading, ("secret", "secrets"));
    let connections = fields.take("connections").map(|node| {
        let mut connections = Vec::new();
        for (id, node) in reading.map(node, "`connections`") {
            let fields = reading.fields(node, &format!("connection `{id}`"));
            connections.push(connection((id, &integration.flood), fields, reading));
        }
        connections
    });
    reading.finish(fields, "an integration");
    WantedIntegration {
        line,
        integration,
        secrets,
        connections,
    }
}

fn flags(integration: &mut Integration, fields: &mut Fields, reading: &mut Reading<'_>) {
    let flags = &mut integration.flags;
    let named = [
        ("enabled", &mut flags.enabled),
        ("forward", &mut flags.forward),
        ("early_check", &mut flags.early_check),
        ("allow_unverified", &mut flags.allow_unverified),
    ];
    for (key, flag) in named {
        if let Some(value) = fields.parsed(reading, (key, boolean)) {
            *flag = value;
        }
    }
    flags.unattributed = fields.parsed(reading, ("unattributed", mode)).unwrap_or_default();
}

/// A rate under the key `name`: so many a second, and at once as many unless it says otherwise.
pub(super) fn rate_limit((name, node): (&str, Node), reading: &mut Reading<'_>) -> Option<RateLimit> {
    let what = format!("`{name}`");
    let mut fields = reading.fields(node, &what);
    let line = fields.line;
    let per_second = fields.parsed(reading, ("per_second", count));
    let burst = fields.parsed(reading, ("burst", count));
    reading.finish(fields, &what);
    let Some(per_second) = per_second else {
        reading.wrong(line, format!("{what} needs `per_second: NUMBER`"));
        return None;
    };
    Some(RateLimit {
        per_second,
        burst: burst.unwrap_or(per_second),
    })
}

/// A connection of an integration that controls floods as `wider` says.
pub(super) fn connection(
    (id, wider): (String, &FloodSettings),
    mut fields: Fields,
    reading: &mut Reading<'_>,
) -> WantedConnection {
    let line = fields.line;
    let mut connection = Connection::new(IntegrationId(Uuid::nil()), id, NO_TIME);
    if let Some(node) = fields.take("properties") {
        for (name, node) in reading.map(node, "`properties`") {
            let line = node.line;
            let values = reading.texts(node, &name);
            if values.iter().any(String::is_empty) {
                reading.wrong(
                    line,
                    format!("property `{name}` has an empty value, which matches no event: leave it out"),
                );
            }
            connection.properties.insert(name, values);
        }
    }
    connection.normalise();
    connection.awaits_secret = fields
        .parsed(reading, ("awaits_secret", boolean))
        .unwrap_or_default();
    let metadata = fields.take("metadata").map(|node| {
        let entries = reading.map(node, "`metadata`");
        entries
            .into_iter()
            .map(|(key, node)| (key, reading.json(&node, "metadata")))
            .collect()
    });
    let tags = texts_by_name(&mut fields, reading, "tags");
    let flood = flood(&mut fields, reading, wider);
    let secrets = secrets(&mut fields, reading, ("secret", "secrets"));
    reading.finish(fields, "a connection");
    WantedConnection {
        line,
        connection,
        metadata,
        tags,
        flood,
        secrets,
    }
}

fn endpoint(name: String, mut fields: Fields, reading: &mut Reading<'_>) -> WantedEndpoint {
    let line = fields.line;
    let url = match fields.take("url") {
        Some(node) => reading.text(&node, "url"),
        None => {
            reading.wrong(
                line,
                format!("endpoint `{name}` has no url: add `url: https://…`"),
            );
            None
        }
    };
    let mut endpoint = Endpoint::new(NOWHERE, &name, &url.unwrap_or_default(), NO_TIME);
    if let Some(node) = fields.take("integrations") {
        endpoint.integrations = reading.texts(node, "integrations");
    }
    if let Some(node) = fields.take("types") {
        endpoint.types = reading.texts(node, "types");
    }
    endpoint.mode = fields.parsed(reading, ("mode", mode)).unwrap_or_default();
    endpoint.ordered = fields.parsed(reading, ("ordered", boolean)).unwrap_or_default();
    endpoint.timeout = fields.parsed(reading, ("timeout", duration));
    let headers = texts_by_name(&mut fields, reading, "headers").unwrap_or_default();
    endpoint.headers = headers
        .into_iter()
        .map(|(name, value)| StaticHeader {
            name: name.to_ascii_lowercase(),
            value: StoredSecret::new(Secret::new(value)),
        })
        .collect();
    let enabled = fields.parsed(reading, ("enabled", boolean));
    let state = enabled.map(|on| {
        if on {
            EndpointState::Enabled
        } else {
            EndpointState::DisabledByUser
        }
    });
    let secrets = secrets(&mut fields, reading, ("secret", "secrets"));
    reading.finish(fields, "an endpoint");
    WantedEndpoint {
        line,
        endpoint,
        secrets,
        state,
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "wrapped" => Ok(Mode::Wrapped),
        "raw" => Ok(Mode::Raw),
        _ => Err("write wrapped or raw".into()),
    }
}

fn texts_by_name(
    fields: &mut Fields,
    reading: &mut Reading<'_>,
    key: &'static str,
) -> Option<BTreeMap<String, String>> {
    let node = fields.take(key)?;
    let entries = reading.map(node, &format!("`{key}`"));
    let texts = entries.into_iter().filter_map(|(name, node)| {
        let text = reading.text(&node, &name)?;
        Some((name, text))
    });
    Some(texts.collect())
}

/// One secret under one key, or several under the other.
fn secrets(
    fields: &mut Fields,
    reading: &mut Reading<'_>,
    (one, several): (&'static str, &'static str),
) -> Option<Vec<StoredSecret>> {
    let single = fields.take(one);
    let list = fields.take(several);
    match (single, list) {
        (None, None) => None,
        (Some(node), Some(_)) => {
            reading.wrong(
                node.line,
                format!("both `{one}` and `{several}` are given: keep one of them"),
            );
            None
        }
        (Some(node), None) => Some(secret(node, reading, one).into_iter().collect()),
        (
            None,
            Some(Node {
                kind: Kind::List(nodes),
                ..
            }),
        ) => {
            let secrets = nodes
                .into_iter()
                .filter_map(|node| secret(node, reading, several));
            Some(secrets.collect())
        }
        (None, Some(node)) => {
            reading.wrong(
                node.line,
                format!("`{several}` must be a list, here is {}", node.describe()),
            );
            None
        }
    }
}

fn secret(node: Node, reading: &mut Reading<'_>, what: &'static str) -> Option<StoredSecret> {
    let line = node.line;
    let mut stored = StoredSecret::new(Secret::new(Vec::new()));
    let text = if let Kind::Map(_) = node.kind {
        let mut fields = reading.fields(node, &format!("`{what}`"));
        stored.label = fields.text(reading, "label");
        stored.not_before = fields.parsed(reading, ("not_before", time));
        stored.not_after = fields.parsed(reading, ("not_after", time));
        let value = fields.take("value");
        reading.finish(fields, &format!("`{what}`"));
        match value {
            Some(value) => reading.text(&value, "value")?,
            None => {
                reading.wrong(line, format!("`{what}` has no `value`"));
                return None;
            }
        }
    } else {
        reading.text(&node, what)?
    };
    if text.is_empty() {
        reading.wrong(line, format!("`{what}` is empty, which would prove nothing"));
        return None;
    }
    stored.secret = Secret::new(text);
    Some(stored)
}
