//! The recordings as an end-to-end test uses them: each case with an integration and connections of its own, signed
//! anew, and what must come out. In: `providers/fixtures/*.toml`. Out: a manifest, samples, expectations.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tidegate_providers::fixture::{Case, Fixture};
use tidegate_providers::{Catalogue, Definition, Sample, SecretAt, SignError, Signer};
use tidegate_schemas::{Secret, UnixMillis};

/// An event that must come out.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its type.
    pub event_type: String,
    /// Its connection; empty for none.
    pub connection: String,
    /// Why it is refused, when it is.
    pub dropped: Option<String>,
    /// Its payload as the recording says, masked where it is; without one it is the body.
    pub payload: Option<Value>,
}

/// One recorded case, to be sent to an integration of its own.
pub struct Recorded {
    /// The provider.
    pub provider: String,
    /// The integration's key: provider and case.
    pub integration: String,
    /// The case.
    pub case: Case,
    /// How its events are proven.
    pub proof: String,
    /// Its events, in order of position.
    pub events: Vec<Expected>,
    connections: BTreeMap<String, (String, String)>,
    secret_at: SecretAt,
}

/// Every case of every provider that holds events.
pub fn all(catalogue: &Catalogue) -> Vec<Recorded> {
    let mut all = Vec::new();
    for provider in Fixture::providers() {
        let definition = catalogue.get(provider).expect("a fixture has a definition");
        let text = recordings(provider);
        let fixture = Fixture::of(provider).expect("a listed fixture is there");
        for (case, recorded) in fixture.cases.iter().zip(&text) {
            if case.holds_events() {
                all.push(Recorded::new((provider, &definition), case, recorded));
            }
        }
    }
    all
}

/// The cases of a fixture's file, whole.
pub fn recordings(provider: &str) -> Vec<toml::Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/fixtures");
    let text = std::fs::read_to_string(folder.join(format!("{provider}.toml"))).expect("a fixture is a file");
    let file: toml::Value = toml::from_str(&text).expect("a fixture is TOML");
    file["case"].as_array().expect("a fixture has cases").clone()
}

impl Recorded {
    fn new((provider, definition): (&str, &Definition), case: &Case, recording: &toml::Value) -> Self {
        let expect = &recording["expect"];
        let url = case.sample().url;
        let named = url.split_once("?connection=").map(|(_, id)| id);
        let mut connections = BTreeMap::new();
        let mut events = Vec::new();
        let recorded = expect["events"].as_array().expect("a case that holds events");
        for (identifiers, event) in case.identifiers().zip(recorded) {
            let connection = match identifiers.first() {
                None => String::new(),
                Some((property, value)) => connection(&mut connections, (property, value), named),
            };
            let text = |key: &str| event.get(key).and_then(toml::Value::as_str).map(str::to_owned);
            events.push(Expected {
                event_type: text("type").unwrap_or_default(),
                connection,
                dropped: text("dropped"),
                payload: text("payload").map(|json| serde_json::from_str(&json).expect("a payload is JSON")),
            });
        }
        Self {
            provider: provider.to_owned(),
            integration: format!("{provider}-{}", case.name.replace('_', "-")),
            case: case.clone(),
            proof: expect["proof"].as_str().unwrap_or_default().to_owned(),
            events,
            connections,
            secret_at: definition.secret_at(),
        }
    }

    /// The integration as a manifest writes it.
    pub fn manifest(&self) -> Value {
        let secrets: Vec<_> = self.case.secrets.iter().map(|secret| plain(secret)).collect();
        let at_connection = matches!(self.secret_at, SecretAt::Connection) && !self.connections.is_empty();
        let mut integration = Map::new();
        integration.insert("provider".to_owned(), json!(self.provider));
        if !self.case.cfg.is_empty() {
            let cfg = self
                .case
                .cfg
                .iter()
                .map(|(name, value)| (name.clone(), json!(plain(value))));
            integration.insert("cfg".to_owned(), Value::Object(cfg.collect()));
        }
        if !secrets.is_empty() && !at_connection {
            integration.insert("secrets".to_owned(), json!(secrets));
        }
        let connections = self.connections.iter().map(|(id, (property, value))| {
            let mut connection = Map::new();
            if property != "connection" {
                connection.insert("properties".to_owned(), json!({ property: plain(value) }));
            }
            if at_connection {
                connection.insert("secrets".to_owned(), json!(secrets));
            }
            (id.clone(), Value::Object(connection))
        });
        let connections: Map<_, _> = connections.collect();
        // One recording is sent more than once, under the same delivery id.
        integration.insert("flood".to_owned(), json!({ "dedupe": false }));
        integration.insert("connections".to_owned(), Value::Object(connections));
        Value::Object(integration)
    }

    /// The case as its provider would send it to `url` at `now`.
    ///
    /// # Errors
    /// When only the provider can sign it.
    pub fn signed(
        &self,
        definition: &Definition,
        (url, now): (&str, UnixMillis),
    ) -> Result<Sample, SignError> {
        let secret = self.case.secrets.last().cloned().unwrap_or_default();
        self.signed_with(definition, (url, now), &secret)
    }

    /// The same under a secret of the test's choice.
    ///
    /// # Errors
    /// When only the provider can sign it.
    pub fn signed_with(
        &self,
        definition: &Definition,
        (url, now): (&str, UnixMillis),
        secret: &str,
    ) -> Result<Sample, SignError> {
        self.signed_over(definition, (self.sample(url), now), secret)
    }

    /// The case as it was recorded, to `url`.
    pub fn sample(&self, url: &str) -> Sample {
        let mut sample = self.case.sample();
        sample.url = match sample.url.split_once('?') {
            Some((_, query)) => format!("{url}?{query}"),
            None => url.to_owned(),
        };
        sample
    }

    /// Any sample, signed as this case is.
    ///
    /// # Errors
    /// When only the provider can sign it.
    pub fn signed_over(
        &self,
        definition: &Definition,
        (sample, now): (Sample, UnixMillis),
        secret: &str,
    ) -> Result<Sample, SignError> {
        if !self.case.is_signed() {
            return Ok(sample);
        }
        let private_key = self.case.private_key();
        let signer = Signer {
            secret: &Secret::new(secret),
            private_key: private_key.as_deref(),
            cfg: &self.case.cfg,
            now,
            recorded: &self.case.secrets,
            forge: false,
        };
        definition.sign(sample, &signer)
    }
}

/// The id of the connection that has a property's value; made when it is new.
fn connection(
    connections: &mut BTreeMap<String, (String, String)>,
    (property, value): (&str, &str),
    named: Option<&str>,
) -> String {
    let found = (property.to_owned(), value.to_owned());
    if let Some((id, _)) = connections.iter().find(|(_, have)| **have == found) {
        return id.clone();
    }
    let id = match (named, property) {
        (Some(named), _) => named.to_owned(),
        (None, "connection") => value.to_owned(),
        (None, _) => format!("customer-{}", connections.len() + 1),
    };
    connections.insert(id.clone(), found);
    id
}

/// A text that a manifest takes as it stands.
fn plain(text: &str) -> String {
    text.replace("${", "$${")
}

/// The time that samples are signed with.
pub fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}

/// A manifest, which as JSON is YAML too: environments with integrations, and endpoints.
pub fn manifest(environments: &[(&str, Map<String, Value>, Value)]) -> String {
    let environments = environments.iter().map(|(name, integrations, endpoints)| {
        let environment = json!({ "integrations": integrations, "endpoints": endpoints });
        ((*name).to_owned(), environment)
    });
    json!({ "environments": environments.collect::<Map<_, _>>() }).to_string()
}

/// Sends a sample; the status and the id of the reply, and its body.
pub async fn send(http: &reqwest::Client, sample: &Sample) -> (u16, String, String) {
    let answer = tidegate::sample::send(http, sample)
        .await
        .expect("ingest answers");
    let status = answer.status().as_u16();
    let id = answer.headers().get("tidegate-request-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    (status, id, answer.text().await.unwrap_or_default())
}
