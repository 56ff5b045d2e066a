//! Sample webhooks: a recorded request of a provider, signed anew for a URL and a secret, and sent. In: names. Out: the
//! answer. The recordings and the signing are the providers' package's.

use std::time::SystemTime;

use anyhow::{Context as _, bail};
use tidegate_providers::fixture::{Case, Fixture};
use tidegate_providers::{Catalogue, Sample, Signer};
use tidegate_schemas::{Secret, UnixMillis};

/// Which sample, and what for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The provider.
    pub provider: String,
    /// The recorded case; `None`: the first that holds an event.
    pub case: Option<String>,
    /// The URL as registered at the provider, to which it is sent.
    pub url: String,
    /// The integration's secret; `None`: the recording's own.
    pub secret: Option<String>,
    /// Whether to forge it: something else is signed than is sent.
    pub forge: bool,
}

/// A recorded request, signed for now.
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// The request.
    pub sample: Sample,
}

/// Finds and signs a sample.
///
/// # Errors
/// When there is no such provider or case, only the provider can sign it, or nothing in it can be forged.
pub fn prepare(catalogue: &Catalogue, wanted: &Wanted) -> anyhow::Result<Prepared> {
    let provider = &wanted.provider;
    let Some(fixture) = Fixture::of(provider) else {
        bail!(
            "there is no recording of provider `{provider}`: {}",
            all_providers()
        );
    };
    let found = match &wanted.case {
        Some(name) => fixture.case(name),
        None => fixture.cases.iter().find(|case| case.holds_events()),
    };
    let Some(case) = found.cloned() else {
        let names = fixture
            .cases
            .iter()
            .map(|case| case.name.as_str())
            .collect::<Vec<_>>();
        bail!(
            "provider `{provider}` has no such case; it has {}",
            names.join(", ")
        );
    };
    let definition = catalogue
        .get(provider)
        .with_context(|| format!("there is no definition of `{provider}`"))?;
    let secret = wanted
        .secret
        .clone()
        .or_else(|| case.secrets.first().cloned())
        .unwrap_or_default();
    let private_key = case.private_key();
    let secret = Secret::new(secret);
    let signer = Signer {
        secret: &secret,
        private_key: private_key.as_deref(),
        cfg: &case.cfg,
        now: UnixMillis::from(SystemTime::now()),
        recorded: &case.secrets,
        forge: wanted.forge,
    };
    let mut recorded = case.sample();
    recorded.url = with_query_of(&wanted.url, &recorded.url);
    let sample = match case.is_signed() {
        true => definition.sign(recorded, &signer)?,
        false if wanted.forge => bail!(
            "the recording `{}` of `{provider}` carries no proof, so that nothing in it can be forged",
            case.name
        ),
        false => recorded,
    };
    Ok(Prepared { case, sample })
}

/// The URL asked for, with the query of the recording (a handshake's challenge stands there).
fn with_query_of(url: &str, recorded: &str) -> String {
    match recorded.split_once('?') {
        Some((_, query)) if url.contains('?') => format!("{url}&{query}"),
        Some((_, query)) => format!("{url}?{query}"),
        None => url.to_owned(),
    }
}

fn all_providers() -> String {
    format!(
        "there are {}",
        Fixture::providers().collect::<Vec<_>>().join(", ")
    )
}

/// Sends a sample as it is.
///
/// # Errors
/// When nobody answers.
pub async fn send(http: &reqwest::Client, sample: &Sample) -> anyhow::Result<reqwest::Response> {
    let method = reqwest::Method::from_bytes(sample.method.as_bytes())?;
    let mut request = http.request(method, &sample.url).body(sample.body.clone());
    for (name, value) in &sample.headers.0 {
        if name != "content-length" && name != "host" {
            request = request.header(name, value.as_bytes());
        }
    }
    request
        .send()
        .await
        .with_context(|| format!("no answer from {}", sample.url))
}
