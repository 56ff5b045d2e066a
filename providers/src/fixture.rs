//! The recorded requests of `fixtures/*.toml`, built in: what `tidegate send`, the demo and tests of the house send.
//! In: a provider's name. Out: its cases. What must become of each (`[case.expect]`) is the driver's business, in
//! `tests/fixtures/`; the form is described in `fixtures/README.md`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tidegate_schemas::Headers;

use crate::signature::sign::Sample;

/// The built-in fixtures: name and text.
static BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/fixtures.rs"));

/// One provider's recorded requests.
#[derive(Debug, Clone, Deserialize)]
pub struct Fixture {
    /// The provider.
    pub provider: String,
    /// Its cases, in order.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// One recorded request, and with what it was signed.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Unique in the file.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// The secrets that were active, the right one among them.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// The integration's constants.
    #[serde(default)]
    pub cfg: BTreeMap<String, String>,
    /// The private half where the secret is a public key: base64 of PKCS#8.
    #[serde(default)]
    pub signing_key: Option<String>,
    request: Request,
    expect: Expect,
}

#[derive(Debug, Clone, Deserialize)]
struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Expect {
    #[serde(default)]
    proof: Option<String>,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    handshake: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    events: Vec<ExpectedEvent>,
}

#[derive(Debug, Clone, Deserialize)]
struct ExpectedEvent {
    #[serde(default)]
    identifiers: Vec<(String, String)>,
}

impl Fixture {
    /// The fixture of a built-in provider.
    #[must_use]
    pub fn of(provider: &str) -> Option<Self> {
        let (_, text) = BUILTIN.iter().find(|(name, _)| *name == provider)?;
        Some(toml::from_str(text).expect("a test reads every built-in fixture"))
    }

    /// The names of all built-in providers that have one.
    pub fn providers() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// A case by its name.
    #[must_use]
    pub fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }
}

impl Case {
    /// The request as recorded, its signature as old as the recording.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let request = &self.request;
        let mut headers = Headers::default();
        for (name, value) in &request.headers {
            headers.push(name, value.as_str());
        }
        let body = match (&request.body, &request.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        Sample {
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            body,
        }
    }

    /// The private half, decoded.
    #[must_use]
    pub fn private_key(&self) -> Option<Vec<u8>> {
        self.signing_key
            .as_ref()
            .and_then(|base64| STANDARD.decode(base64).ok())
    }

    /// Whether it carries a signature or token that proves it, so that signing it anew makes sense.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.expect.proof.as_deref().is_some_and(|proof| proof != "none")
    }

    /// Whether it is accepted and decided: no handshake, no refusal.
    #[must_use]
    pub fn holds_events(&self) -> bool {
        self.expect.handshake.is_none() && self.expect.refused.is_none() && !self.expect.events.is_empty()
    }

    /// The connection properties by which its events are found, per event in the order tried.
    pub fn identifiers(&self) -> impl Iterator<Item = &[(String, String)]> {
        self.expect
            .events
            .iter()
            .map(|event| event.identifiers.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_fixture_is_read() {
        let mut cases = 0;
        for provider in Fixture::providers() {
            let fixture = Fixture::of(provider).expect("it is built in");
            assert_eq!(fixture.provider, provider);
            cases += fixture.cases.len();
        }
        assert!(cases > 50, "only {cases} cases");
    }
}
