//! How a request proves itself: one file per scheme, and what they share (keys, signature lists, timestamps). In: a scope
//! of raw bytes, secrets, fetched keys. Out: nothing, when it is proved; else a refusal or a key to fetch. Whatever is
//! compared is compared decoded and in constant time.

pub(crate) mod asymmetric;
pub(crate) mod chain;
mod curves;
pub(crate) mod der;
pub(crate) mod digest;
pub(crate) mod hash;
pub(crate) mod hmac;
pub(crate) mod jwt;
pub(crate) mod key;
pub(crate) mod pem;
pub(crate) mod presented;
pub mod public_key;
pub mod sign;
pub(crate) mod signed;
pub(crate) mod standard_webhooks;
pub(crate) mod timestamp;
pub(crate) mod token;

use subtle::ConstantTimeEq as _;
use tidegate_schemas::{Proof, Reason, UnixMillis};

use crate::condition::Condition;
use crate::glob::Glob;
use crate::key_set::KeySets;
use crate::map::Text;
use crate::pick::Scope;
use crate::request::ActiveSecret;
use crate::selector::Selector;
use crate::verdict::{Refusal, Unverified};

/// One `[[verify]]` block.
#[derive(Debug)]
pub(crate) struct Block {
    pub when: Option<Condition>,
    pub require: Option<Condition>,
    /// The secrets that this block alone uses.
    pub secrets: Option<Glob>,
    /// Whether each element proves itself.
    pub per_event: bool,
    pub scheme: Scheme,
    pub proof: Proof,
}

/// The schemes. A new one is a file here and a line in this enum.
#[derive(Debug)]
pub(crate) enum Scheme {
    None,
    Hmac(hmac::HmacScheme),
    Digest(digest::DigestScheme),
    StandardWebhooks(standard_webhooks::StandardWebhooks),
    Token(token::TokenScheme),
    Basic,
    Jwt(jwt::JwtScheme),
    PublicKey(asymmetric::PublicKeyScheme),
}

/// What a block is proved with.
#[derive(Clone, Copy)]
pub(crate) struct Proving<'v> {
    pub secrets: &'v [ActiveSecret<'v>],
    pub keys: &'v dyn KeySets,
    pub received_at: UnixMillis,
}

impl Block {
    /// Whether the block applies and its signature is there.
    pub fn is_presented(&self, scope: &Scope<'_>) -> bool {
        if self.when.as_ref().is_some_and(|when| !when.holds(scope)) {
            return false;
        }
        match &self.scheme {
            Scheme::None => true,
            Scheme::StandardWebhooks(scheme) => scheme.is_presented(scope),
            Scheme::Basic => token::basic_credentials(scope).is_some(),
            _ => self
                .presented_at()
                .iter()
                .any(|selector| selector.pick(scope).is_some()),
        }
    }

    /// Where the signature or token is looked for.
    pub fn presented_at(&self) -> &[Selector] {
        match &self.scheme {
            Scheme::Hmac(scheme) => &scheme.presented.at,
            Scheme::Digest(scheme) => &scheme.presented.at,
            Scheme::PublicKey(scheme) => &scheme.presented.at,
            Scheme::Token(scheme) => &scheme.at,
            Scheme::Jwt(scheme) => std::slice::from_ref(&scheme.token),
            Scheme::None | Scheme::Basic | Scheme::StandardWebhooks(_) => &[],
        }
    }

    /// Proves the request, or the element in scope.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Unverified> {
        match &self.scheme {
            Scheme::None => Ok(()),
            Scheme::Hmac(scheme) => scheme.verify(scope, proving),
            Scheme::Digest(scheme) => scheme.verify(scope, proving).map_err(Unverified::from),
            Scheme::StandardWebhooks(scheme) => scheme.verify(scope, proving).map_err(Unverified::from),
            Scheme::Token(scheme) => scheme.verify(scope, proving).map_err(Unverified::from),
            Scheme::Basic => token::verify_basic(scope, proving).map_err(Unverified::from),
            Scheme::Jwt(scheme) => scheme.verify(scope, proving),
            Scheme::PublicKey(scheme) => scheme.verify(scope, proving),
        }?;
        let scope = Scope {
            claims: matches!(self.scheme, Scheme::Jwt(_)),
            ..*scope
        };
        match self.require.as_ref().and_then(|require| require.failing(&scope)) {
            None => Ok(()),
            Some(line) => Err(refused(
                Reason::OriginWrong,
                format!(
                    "`{}` is not what the definition and the integration's cfg require",
                    line.selector.text
                ),
            )),
        }
    }

    /// Whether it reads the integration's or connection's secret.
    pub fn needs_secret(&self) -> bool {
        match &self.scheme {
            Scheme::None => false,
            Scheme::Hmac(scheme) => scheme.key.is_from_secret(),
            Scheme::PublicKey(scheme) => scheme.key.is_from_secret(),
            Scheme::Jwt(scheme) => scheme.key.is_from_secret(),
            _ => true,
        }
    }

    /// Whether it needs a key from elsewhere.
    pub fn needs_network(&self) -> bool {
        match &self.scheme {
            Scheme::Hmac(scheme) => scheme.key.is_fetched(),
            Scheme::PublicKey(scheme) => scheme.key.is_fetched(),
            Scheme::Jwt(scheme) => scheme.key.is_fetched(),
            _ => false,
        }
    }

    /// How old a signed time may be.
    pub fn tolerance_seconds(&self) -> Option<u64> {
        let timestamp = match &self.scheme {
            Scheme::Hmac(scheme) => scheme.timestamp.as_ref(),
            Scheme::Digest(scheme) => scheme.timestamp.as_ref(),
            Scheme::PublicKey(scheme) => scheme.timestamp.as_ref(),
            Scheme::StandardWebhooks(scheme) => Some(&scheme.age),
            Scheme::Jwt(scheme) => return Some(scheme.leeway_millis / 1000),
            Scheme::None | Scheme::Token(_) | Scheme::Basic => None,
        };
        match timestamp?.tolerance.as_ref()? {
            crate::setting::Setting::Fixed(seconds) => Some(*seconds),
            crate::setting::Setting::Cfg { default, .. } => Some(*default),
        }
    }

    /// The JWT this block reads.
    pub fn jwt_token<'r>(&'r self, scope: &Scope<'r>) -> Option<Text<'r>> {
        match &self.scheme {
            Scheme::Jwt(scheme) => scheme.token(scope),
            _ => None,
        }
    }

    /// Where the JWT stands that this block reads.
    pub fn jwt_place(&self) -> Option<&Selector> {
        match &self.scheme {
            Scheme::Jwt(scheme) => Some(&scheme.token),
            _ => None,
        }
    }
}

/// A refusal as the error it ends in.
pub(crate) fn refused(reason: Reason, detail: impl Into<std::borrow::Cow<'static, str>>) -> Unverified {
    Refusal::new(reason, detail).into()
}

/// Whether two byte texts are the same, without telling by the time it takes where they differ.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// The refusal of an integration that has no secret for a block.
pub(crate) fn secret_missing() -> Refusal {
    Refusal::new(
        Reason::SecretMissing,
        "no secret that this scheme can use was active when the request was received",
    )
}
