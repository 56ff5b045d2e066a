//! A recorded token signed anew: its times moved to now, what binds the body and the URL written again, all else as it
//! was. In: the sample with its stale token. Out: the sample with a fresh one.

use serde_json::{Map, Value};

use super::make::{key_bytes, private_signature};
use super::{Sample, SignError, Signing, unsupported};
use crate::encoding::Encoding;
use crate::pick::{Parts, Scope};
use crate::selector::Source;
use crate::setting::word;
use crate::signature::jwt::{JwtAlgorithm, JwtScheme};
use crate::template::Template;

type Object = Map<String, Value>;

/// The claims that hold a time in seconds.
const TIMES: [&str; 3] = ["iat", "nbf", "exp"];

impl Signing<'_> {
    /// Signs the sample's token anew.
    pub fn jwt(&self, scheme: &JwtScheme, sample: &mut Sample) -> Result<(), SignError> {
        let unreadable = unsupported("a token where the sample has none that can be read");
        let token = self.ask(sample, |scope| {
            scheme.token(scope).map(|token| token.into_owned())
        });
        let (header, mut claims) = token.as_deref().and_then(parts_of).ok_or(unreadable.clone())?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(word);
        let algorithm: JwtAlgorithm = algorithm.ok_or(unreadable)?;
        move_times(&mut claims, self.signer.now.seconds());
        self.ask(sample, |scope| bind(scheme, &mut claims, scope));
        let mut sent = format!("{}.", encoded(&header));
        let signed = match &scheme.payload {
            Some(payload) => {
                let written = self.ask(sample, |scope| {
                    payload.render(scope).map(|text| text.into_owned())
                });
                let as_it_is = header.get("b64") == Some(&Value::Bool(false));
                let written = written.unwrap_or_default();
                let encoded = || Encoding::Base64Url.encode(&written).into_bytes();
                [
                    sent.as_bytes(),
                    &if as_it_is { written.clone() } else { encoded() },
                ]
                .concat()
            }
            None => {
                sent += &encoded(&claims);
                sent.clone().into_bytes()
            }
        };
        let signature = self.token_signature(scheme, algorithm, (sample, &signed))?;
        let signature = Encoding::Base64Url.encode(&signature);
        let text = format!("{}{sent}.{signature}", scheme.prefix);
        self.put(sample, &scheme.token, &text).map(|_| ())
    }

    fn token_signature(
        &self,
        scheme: &JwtScheme,
        algorithm: JwtAlgorithm,
        (sample, signed): (&Sample, &[u8]),
    ) -> Result<Vec<u8>, SignError> {
        let pieces = [signed, self.ending()];
        if let Some(hash) = algorithm.hash() {
            let key = self.prove((sample, &Parts::default()), |scope, proving| {
                key_bytes(&scheme.key, (scope, proving))
            });
            let key = key.ok_or(SignError::SecretUnusable)?;
            return Ok(hash.mac(&key, &pieces).to_vec());
        }
        let algorithm = algorithm.of_public_key().ok_or(SignError::SecretUnusable)?;
        private_signature(self.private_key()?, algorithm, &pieces.concat()).ok_or(SignError::SecretUnusable)
    }
}

fn parts_of(token: &[u8]) -> Option<(Object, Object)> {
    let mut parts = token.split(|byte| *byte == b'.');
    let mut object =
        || -> Option<Object> { serde_json::from_slice(&Encoding::Base64Url.decode(parts.next()?)?).ok() };
    Some((object()?, object()?))
}

fn encoded(object: &Object) -> String {
    let text = Value::Object(object.clone()).to_string();
    Encoding::Base64Url.encode(text.as_bytes())
}

/// Moves all times by as much as the token's issue (without one, its end) lies from now.
fn move_times(claims: &mut Object, now: u64) {
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let issued = time("iat").or_else(|| Some(time("exp")?.saturating_sub(300)));
    let Some(issued) = issued else { return };
    for name in TIMES {
        if let Some(time) = claims.get_mut(name)
            && let Some(old) = time.as_i64()
        {
            *time = Value::from(old.saturating_add(now.saturating_sub(issued)));
        }
    }
}

/// Writes the claims again that bind the body or the URL, which may be another than the recorded.
fn bind(scheme: &JwtScheme, claims: &mut Object, scope: &Scope<'_>) {
    let of_url = |template: &Template| {
        let selectors = template.selectors();
        let reads = |source: &Source| matches!(source, Source::Url | Source::UrlPath);
        selectors.iter().any(|selector| reads(&selector.source))
    };
    for (name, templates) in scheme.claims.iter().chain(&scheme.claims_with_body) {
        let binding = templates
            .iter()
            .find(|template| template.binds_body() || of_url(template));
        if let Some(claim) = claims.get_mut(name)
            && let Some(text) = binding.and_then(|template| template.render_str(scope))
        {
            *claim = Value::from(text.into_owned());
        }
    }
}
