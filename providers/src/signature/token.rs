//! `scheme = "token"` and `"basic"`: a shared text that travels with the request. In: a scope, secrets. Out: a proof that
//! the sender knows it; the body proves nothing. Compared in constant time.

use tidegate_schemas::Reason;

use super::key::Key;
use super::{Proving, same, secret_missing};
use crate::encoding::decode_base64;
use crate::pick::Scope;
use crate::selector::Selector;
use crate::template::Template;
use crate::verdict::{Refusal, Unverified};

/// A block of the scheme `token`.
#[derive(Debug)]
pub(crate) struct TokenScheme {
    pub at: Vec<Selector>,
    pub prefix: Option<Template>,
    pub key: Key,
}

impl TokenScheme {
    /// Proves what is in scope.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Refusal> {
        let tokens: Vec<_> = self
            .at
            .iter()
            .flat_map(|selector| selector.pick_all(scope))
            .collect();
        if tokens.is_empty() {
            let place = self.at.first().map_or("", |selector| selector.text.as_str());
            return Err(Refusal::new(
                Reason::SignatureMissing,
                format!("no token in `{place}`"),
            ));
        }
        let prefix = self
            .prefix
            .as_ref()
            .and_then(|prefix| prefix.render(scope))
            .unwrap_or_default();
        let tokens: Vec<&[u8]> = tokens
            .iter()
            .filter_map(|token| token.strip_prefix(prefix.as_ref()))
            .collect();
        let proved = self.key.any((scope, proving), |expected| {
            Ok(tokens
                .iter()
                .fold(false, |found, token| found | same(token, expected)))
        });
        match proved {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::new(
                Reason::TokenWrong,
                "the token is not an active secret's",
            )),
            Err(Unverified::Refused(refusal)) => Err(refusal),
            // A token is never compared with a fetched key: the compiler of definitions refuses that.
            Err(Unverified::Undecided(_)) => Err(secret_missing()),
        }
    }
}

/// The decoded `user:password` of the authorization header.
pub(crate) fn basic_credentials(scope: &Scope<'_>) -> Option<Vec<u8>> {
    let header = scope.request.raw.headers.get("authorization")?;
    let (scheme, credentials) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| decode_base64(credentials.as_bytes()))
        .flatten()
}

/// Proves a request by HTTP basic credentials.
pub(crate) fn verify_basic(scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Refusal> {
    let Some(credentials) = basic_credentials(scope) else {
        return Err(Refusal::new(
            Reason::SignatureMissing,
            "no basic credentials in `authorization`",
        ));
    };
    let mut secrets = proving
        .secrets
        .iter()
        .filter(|active| !active.secret.is_empty())
        .peekable();
    if secrets.peek().is_none() {
        return Err(secret_missing());
    }
    if secrets.fold(false, |found, active| {
        found | same(&credentials, active.secret.expose())
    }) {
        Ok(())
    } else {
        Err(Refusal::new(
            Reason::TokenWrong,
            "the credentials are not an active secret's `user:password`",
        ))
    }
}
