//! Handshakes: requests by which a provider asks whether the address is ours. In: a request, verified where the definition
//! demands it. Out: the answer, a secret that was delivered, an address to confirm by; nothing is handed on.

use std::borrow::Cow;

use tidegate_schemas::{Reason, Secret};

use crate::address::AddressRule;
use crate::body::ParsedRequest;
use crate::condition::Condition;
use crate::definition::Definition;
use crate::map::Map;
use crate::pick::Scope;
use crate::reply::{Answer, Awaiting, Call, HandshakeRefusal, Reply, ReplyRule, SecretAt, Store};
use crate::request::Credentials;
use crate::selector::{Selector, Source};
use crate::signature::key::KeyDecode;
use crate::template::{Template, Value};
use crate::verdict::{Refusal, Verified};

/// `[[handshake]]`; its reply's `when` is the handshake's.
#[derive(Debug)]
pub(crate) struct HandshakeRule {
    pub methods: Vec<String>,
    pub verify: bool,
    pub require: Option<Condition>,
    pub refused: u16,
    pub store: Option<(Value, SecretAt)>,
    pub call: Option<(Template, AddressRule)>,
    pub decode: KeyDecode,
    pub reply: ReplyRule,
}

/// A handshake that a request is.
pub struct Handshake<'r> {
    rule: &'r HandshakeRule,
    request: &'r ParsedRequest<'r>,
}

/// The first handshake that the request is. One that delivers a secret is one only while a secret is awaited.
pub(crate) fn find<'r>(
    definition: &'r Definition,
    request: &'r ParsedRequest<'r>,
    awaiting: Awaiting,
) -> Option<Handshake<'r>> {
    let scope = Scope::of(request);
    let is = |rule: &&HandshakeRule| {
        let method =
            rule.methods.is_empty() || rule.methods.iter().any(|method| method == request.raw.method);
        let awaited = rule.store.as_ref().is_none_or(|(_, at)| match at {
            SecretAt::Integration => awaiting.integration,
            SecretAt::Connection => awaiting.connection,
        });
        method && awaited && rule.reply.when.as_ref().is_none_or(|when| when.holds(&scope))
    };
    let rule = definition.handshakes.iter().find(is)?;
    Some(Handshake { rule, request })
}

impl Handshake<'_> {
    /// Whether only a verified request is answered.
    #[must_use]
    pub fn needs_verified(&self) -> bool {
        self.rule.verify
    }

    /// What to answer and what else to do. `verified` must be there when [`Handshake::needs_verified`] says so; answers
    /// that are computed with a secret use the first one of `credentials`.
    ///
    /// # Errors
    /// Its own condition failed, it is not verified, or a secret to answer with is missing: what to answer, and why.
    pub fn answer(
        &self,
        verified: Option<&Verified>,
        credentials: Credentials<'_>,
    ) -> Result<Answer, HandshakeRefusal> {
        let rule = self.rule;
        let bad_signature = self.request.definition.refused_status;
        if rule.verify && verified.is_none() {
            return Err(refusal(
                bad_signature,
                Reason::SignatureMissing,
                "this handshake is answered verified only",
            ));
        }
        let scope = Scope::of(self.request);
        if rule
            .require
            .as_ref()
            .is_some_and(|require| !require.holds(&scope))
        {
            return Err(refusal(
                rule.refused,
                Reason::HandshakeRefused,
                "the handshake's own token is not ours",
            ));
        }
        let mut secrets = credentials
            .secrets
            .iter()
            .filter(|active| !active.secret.is_empty());
        let key = secrets.find_map(|active| rule.decode.decode(Cow::Borrowed(active.secret.expose())));
        if key.is_none() && rule.answers_with_secret() {
            return Err(refusal(
                bad_signature,
                Reason::SecretMissing,
                "the answer is computed with a secret",
            ));
        }
        let call = rule
            .call
            .as_ref()
            .map(|call| self.call(call, &scope))
            .transpose()?;
        let store = rule.store.as_ref().map(|(value, at)| match value.pick(&scope) {
            Some(secret) => Ok(Store {
                secret: Secret::new(secret.into_owned()),
                at: *at,
            }),
            None => Err(refusal(
                rule.refused,
                Reason::HandshakeRefused,
                "the handshake delivers no secret",
            )),
        });
        let scope = Scope {
            secret: key.as_deref(),
            ..scope
        };
        Ok(Answer {
            reply: rule.reply.render(&scope),
            store: store.transpose()?,
            call,
        })
    }

    fn call(
        &self,
        (url, addresses): &(Template, AddressRule),
        scope: &Scope<'_>,
    ) -> Result<Call, HandshakeRefusal> {
        let url = url.render_str(scope).filter(|url| addresses.allows(url));
        url.map(|url| Call {
            url: url.into_owned(),
        })
        .ok_or_else(|| {
            let detail = "the address to confirm by is outside the definition's rule of hosts";
            refusal(self.rule.refused, Reason::KeyAddressRefused, detail)
        })
    }
}

impl HandshakeRule {
    /// The constants that it compares with what the request brings, each with where that stands.
    pub fn comparisons(&self) -> impl Iterator<Item = (&str, &Selector)> {
        let conditions = self.require.iter().chain(&self.reply.when);
        conditions
            .flat_map(Condition::compared)
            .filter_map(|(one, other)| match (&one.source, &other.source) {
                (Source::Cfg(name), brought) if brought.has_place() => Some((name.as_str(), other)),
                (brought, Source::Cfg(name)) if brought.has_place() => Some((name.as_str(), one)),
                _ => None,
            })
    }

    fn answers_with_secret(&self) -> bool {
        let templates = self.reply.templates();
        let mut selectors = templates.iter().flat_map(|template| template.selectors());
        selectors.any(|selector| selector.maps.iter().any(|map| matches!(map, Map::Hmac(..))))
    }
}

fn refusal(status: u16, reason: Reason, detail: &'static str) -> HandshakeRefusal {
    HandshakeRefusal {
        reply: Reply::empty(status),
        refusal: Refusal::new(reason, detail),
    }
}
