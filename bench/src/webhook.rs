//! A signed webhook of a size: a recorded case, its JSON body filled up with members that look like a provider's, signed
//! anew by the providers' package. In: a choice (`data/webhook.toml`, or the command line). Out: the request, and what an
//! integration needs to take it. Sends nothing.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Deserialize;
use tidegate_providers::fixture::{Case, Fixture};
use tidegate_providers::{Catalogue, Sample, Signer};
use tidegate_schemas::{Secret, UnixMillis};

use crate::Failure;

/// The secret that it is signed with.
pub const SECRET: &str = "a secret of the benchmarks, thirty-two bytes and more";

/// Which webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The provider.
    pub provider: String,
    /// Its recorded case.
    pub case: String,
    /// How large the body is to be, in bytes; a larger recording stays as it is.
    pub body_bytes: usize,
}

impl Choice {
    /// What `data/webhook.toml` says, or `PROVIDER CASE` from the command line.
    ///
    /// # Errors
    /// When the file is not as described above.
    pub fn read(mut named: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut choice: Self = toml::from_str(include_str!("../data/webhook.toml"))?;
        if let (Some(provider), Some(case)) = (named.next(), named.next()) {
            (choice.provider, choice.case) = (provider, case);
        }
        Ok(choice)
    }

    /// The case.
    ///
    /// # Errors
    /// When there is no such recording.
    pub fn case(&self) -> Result<Case, Failure> {
        let fixture = Fixture::of(&self.provider).ok_or("there is no such provider")?;
        Ok(fixture
            .case(&self.case)
            .ok_or("the provider has no such case")?
            .clone())
    }

    /// The request, filled up and signed for a URL.
    ///
    /// # Errors
    /// When there is no such recording, or it cannot be signed.
    pub fn signed(&self, url: &str) -> Result<Sample, Failure> {
        let case = self.case()?;
        let catalogue = Catalogue::builtin()?;
        let definition = catalogue
            .get(&self.provider)
            .ok_or("there is no such definition")?;
        let mut sample = case.sample();
        url.clone_into(&mut sample.url);
        fill(&mut sample.body, self.body_bytes);
        let secret = Secret::new(SECRET.as_bytes());
        let signer = Signer {
            secret: &secret,
            private_key: None,
            cfg: &case.cfg,
            now: UnixMillis::from(SystemTime::now()),
            recorded: &case.secrets,
            forge: false,
        };
        Ok(definition.sign(sample, &signer)?)
    }

    /// The properties by which its first event's connection is found.
    ///
    /// # Errors
    /// When there is no such recording.
    pub fn properties(&self) -> Result<BTreeMap<String, String>, Failure> {
        let case = self.case()?;
        let first = case.identifiers().next().unwrap_or_default();
        let named = |(property, value): &(String, String)| {
            (property.trim_end_matches("[]").to_owned(), value.clone())
        };
        Ok(first.iter().map(named).collect())
    }
}

/// Adds members to a JSON object until it has this size.
fn fill(body: &mut Vec<u8>, bytes: usize) {
    const OPEN: &[u8] = b",\"entries\":[";
    const CLOSE: &[u8] = b"null]}";
    if body.len() + OPEN.len() + CLOSE.len() > bytes || body.pop_if(|last| *last == b'}').is_none() {
        return;
    }
    body.extend_from_slice(OPEN);
    for number in 0.. {
        let id = 7_368_787 * (number + 1);
        let entry =
            format!(r#"{{"id":"{id:08x}","path":"quay/berth-{number}.toml","added":true,"size":{id}}},"#);
        if body.len() + entry.len() + CLOSE.len() > bytes {
            break;
        }
        body.extend_from_slice(entry.as_bytes());
    }
    let rest = bytes.saturating_sub(body.len() + CLOSE.len());
    body.resize(body.len() + rest, b' ');
    body.extend_from_slice(CLOSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_body_has_its_size_and_stays_json() {
        for bytes in [2, 20, 100, 999, 1536, 5000] {
            let mut body = br#"{"a":1}"#.to_vec();
            fill(&mut body, bytes);
            assert!(body.len() == bytes || body == br#"{"a":1}"#, "{bytes}");
            assert!(
                serde_json::from_slice::<serde_json::Value>(&body).is_ok(),
                "{bytes}"
            );
        }
    }

    #[test]
    fn the_webhook_that_is_sent_by_default_exists() {
        let choice = Choice::read(std::iter::empty()).expect("the file is read");
        let sample = choice
            .signed("http://127.0.0.1/webhook/e/i")
            .expect("it is signed");
        assert_eq!(sample.body.len(), choice.body_bytes);
        assert!(!choice.properties().expect("a recording").is_empty());
    }
}
