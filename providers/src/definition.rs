//! A compiled definition: what a provider's file says, as the engine reads it. Everything that is done with a request is a
//! method here; the work is in the file named after it. Holds no request and no secret.

use std::borrow::Cow;

use tidegate_schemas::Reason;

use crate::body::{BodyRules, ParsedRequest};
use crate::condition::Condition;
use crate::config::Config;
use crate::each::Each;
use crate::event::{Identifier, RawEvent};
use crate::facts::{CfgRule, Facts};
use crate::handshake::{Handshake, HandshakeRule};
use crate::json::canonical_hash;
use crate::key_set::KeySets;
use crate::mask::Masks;
use crate::path::Path;
use crate::pick::Scope;
use crate::reply::{Awaiting, Reply, ReplyRule, SecretAt};
use crate::request::{Credentials, RawRequest};
use crate::selector::Selector;
use crate::signature::{Block, Scheme};
use crate::template::Value;
use crate::time::TimeFormat;
use crate::verdict::{Refusal, Unverified, Verified};

/// One provider's definition, compiled.
#[derive(Debug)]
pub struct Definition {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) low_confidence: bool,
    pub(crate) early_check_required: bool,
    pub(crate) refused_status: u16,
    pub(crate) secret_at: SecretAt,
    pub(crate) facts: Facts,
    pub(crate) cfg: Vec<CfgRule>,
    pub(crate) body: BodyRules,
    pub(crate) verify: Vec<Block>,
    pub(crate) handshakes: Vec<HandshakeRule>,
    pub(crate) route: Option<Value>,
    pub(crate) event: EventRules,
    pub(crate) identify: Vec<IdentifyRule>,
    pub(crate) objects: Vec<ObjectRule>,
    pub(crate) redact: Vec<Selector>,
    pub(crate) replies: Vec<ReplyRule>,
    pub(crate) limits: Config,
}

/// `[event]`.
#[derive(Debug, Default)]
pub(crate) struct EventRules {
    pub methods: Vec<String>,
    pub each: Each,
    pub payload: Option<Selector>,
    pub event_type: Value,
    pub id: Value,
    /// With the formats it may be written in: the first that can read it.
    pub time: Option<(Value, Vec<TimeFormat>)>,
    pub dedupe_by_hash: bool,
    pub drop: Option<Condition>,
}

/// `[[identify]]`.
#[derive(Debug)]
pub(crate) struct IdentifyRule {
    pub value: Value,
    pub property: String,
    pub is_list: bool,
    pub required: bool,
}

/// `[[object]]`.
#[derive(Debug)]
pub(crate) struct ObjectRule {
    pub key: Value,
    pub version: Option<(Value, VersionKind)>,
    pub content: Option<Selector>,
    /// Paths in the content that change detection leaves out.
    pub ignore: Vec<Path>,
    pub deleted: Option<Condition>,
}

/// How versions are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionKind {
    Integer,
    Decimal,
    Time(TimeFormat),
    Opaque,
}

impl Definition {
    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The provider's name as people write it.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What is known about the provider's webhooks.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The constants that an integration gives.
    #[must_use]
    pub fn cfg(&self) -> &[CfgRule] {
        &self.cfg
    }

    /// Whether the scheme is known from weak sources only.
    #[must_use]
    pub fn low_confidence(&self) -> bool {
        self.low_confidence
    }

    /// Whether its integrations need a secret: with one of its schemes, a request is proved by it.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        !self
            .verify
            .iter()
            .any(|block| matches!(block.scheme, Scheme::None))
            && self.verify.iter().any(Block::needs_secret)
    }

    /// Whether verifying may need a key from elsewhere.
    #[must_use]
    pub fn needs_network(&self) -> bool {
        self.verify.iter().any(Block::needs_network)
    }

    /// Whether the early check cannot be switched off.
    #[must_use]
    pub fn early_check_required(&self) -> bool {
        self.early_check_required
    }

    /// Whether ingest can check signatures by itself, by default: with neither the network nor a connection's secret.
    #[must_use]
    pub fn can_check_early(&self) -> bool {
        !self.needs_network() && self.secret_at == SecretAt::Integration
    }

    /// What a bad signature is answered.
    #[must_use]
    pub fn refused_status(&self) -> u16 {
        self.refused_status
    }

    /// How far a signed time may be from the time of receipt, in seconds, for each scheme in order; none: any age, or as
    /// the integration's constants say.
    pub fn tolerances(&self) -> impl Iterator<Item = Option<u64>> {
        self.verify.iter().map(Block::tolerance_seconds)
    }

    /// Where its secrets usually sit. With [`SecretAt::Connection`]: [`Definition::identify`] first, then verify with
    /// that connection's secrets (the integration's when it has none).
    #[must_use]
    pub fn secret_at(&self) -> SecretAt {
        self.secret_at
    }

    /// Where a secret that its handshake delivers is kept, if one delivers any.
    #[must_use]
    pub fn stores_secret(&self) -> Option<SecretAt> {
        self.handshakes
            .iter()
            .find_map(|rule| rule.store.as_ref().map(|(_, at)| *at))
    }

    /// Whether requests of this method carry events.
    #[must_use]
    pub fn takes_method(&self, method: &str) -> bool {
        self.event.methods.iter().any(|takes| takes == method)
    }

    /// Whether integrations may be spread over partitions.
    #[must_use]
    pub fn has_route(&self) -> bool {
        self.route.is_some()
    }

    /// Whether repeats are told by the event's hash, because they are byte-identical and carry no id.
    #[must_use]
    pub fn dedupes_by_hash(&self) -> bool {
        self.event.dedupe_by_hash
    }

    /// Whether repeated deliveries can be told: by an id, or because they are byte-identical.
    #[must_use]
    pub fn tells_repeats(&self) -> bool {
        self.event.dedupe_by_hash || !self.event.id.selectors().is_empty()
    }

    /// Whether events name the object they are about.
    #[must_use]
    pub fn names_objects(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Whether some objects' versions or the events' times can be ranked, so that `stale` can be told.
    #[must_use]
    pub fn ranks_versions(&self) -> bool {
        let ranked = |object: &ObjectRule| {
            object
                .version
                .as_ref()
                .is_some_and(|(_, kind)| *kind != VersionKind::Opaque)
        };
        self.event.time.is_some() || self.objects.iter().any(ranked)
    }

    /// Whether events carry an object's whole state, so that unchanged content can be told.
    #[must_use]
    pub fn carries_content(&self) -> bool {
        self.objects.iter().any(|object| object.content.is_some())
    }

    /// The hash of what an object's content means, without what the object rule that decided
    /// ([`crate::Object::rule`]) ignores; `None` when it is no JSON.
    #[must_use]
    pub fn content_hash(&self, rule: usize, content: &[u8], seed: u64) -> Option<u64> {
        let ignored = self.objects.get(rule).map_or(&[][..], |object| &object.ignore);
        canonical_hash(content, ignored, seed)
    }

    /// The connection properties by which its events are attributed, in order; a list property ends in `[]`.
    pub fn properties(&self) -> impl Iterator<Item = String> {
        self.identify
            .iter()
            .map(|rule| format!("{}{}", rule.property, if rule.is_list { "[]" } else { "" }))
    }

    /// The same with other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: Config) -> Self {
        Self { limits, ..self }
    }

    /// Makes a request ready to be asked; parses nothing yet.
    #[must_use]
    pub fn parse<'a>(&'a self, raw: RawRequest<'a>) -> ParsedRequest<'a> {
        ParsedRequest::new(raw, self)
    }

    /// The value that spreads an integration over partitions.
    #[must_use]
    pub fn route<'r>(&'r self, request: &'r ParsedRequest<'_>) -> Option<Cow<'r, str>> {
        self.route.as_ref()?.pick_str(&Scope::of(request))
    }

    /// The connection candidates of a request that is not verified yet, to find the connection whose secret proves it:
    /// those of its first element. After the split every event must belong to the connection that was found.
    #[must_use]
    pub fn identify<'r>(&'r self, request: &'r ParsedRequest<'_>) -> Vec<Identifier<'r>> {
        let element = request
            .elements()
            .ok()
            .and_then(|elements| elements.first().copied());
        self.identifiers(&Scope {
            element,
            ..Scope::of(request)
        })
    }

    pub(crate) fn identifiers<'r>(&'r self, scope: &Scope<'r>) -> Vec<Identifier<'r>> {
        let found = self.identify.iter().filter_map(|rule| {
            let value = rule.value.pick_str(scope)?;
            Some(Identifier {
                property: &rule.property,
                value,
            })
        });
        found.collect()
    }

    /// Refuses a request that lacks an identifier that the definition requires (ingest answers 400).
    ///
    /// # Errors
    /// `identifier_missing`, naming it.
    pub fn check_identified(&self, request: &ParsedRequest<'_>) -> Result<(), Refusal> {
        let scope = Scope::of(request);
        match self
            .identify
            .iter()
            .find(|rule| rule.required && rule.value.pick(&scope).is_none())
        {
            None => Ok(()),
            Some(rule) => {
                let detail = format!(
                    "nothing in the request names the connection's `{}`",
                    rule.property
                );
                Err(Refusal::new(Reason::IdentifierMissing, detail))
            }
        }
    }

    /// The handshake that this request is, if it is one.
    #[must_use]
    pub fn handshake<'r>(
        &'r self,
        request: &'r ParsedRequest<'_>,
        awaiting: Awaiting,
    ) -> Option<Handshake<'r>> {
        crate::handshake::find(self, request, awaiting)
    }

    /// Proves the request genuine.
    ///
    /// # Errors
    /// Refused with the reason, or undecided until a key is fetched.
    pub fn verify(
        &self,
        request: &ParsedRequest<'_>,
        credentials: Credentials<'_>,
        keys: &dyn KeySets,
    ) -> Result<Verified, Unverified> {
        crate::verify::verify(request, credentials, keys)
    }

    /// The events of a verified request.
    ///
    /// # Errors
    /// The request cannot be read as the definition says: `malformed`, with the reason.
    pub fn split<'r>(
        &'r self,
        request: &'r ParsedRequest<'_>,
        verified: &Verified,
    ) -> Result<Vec<RawEvent<'r>>, Refusal> {
        crate::split::split(self, request, verified)
    }

    /// The events of a request that was recorded, to see what they would meet. It is not verified again, so nothing of it
    /// may be handed on.
    ///
    /// # Errors
    /// As [`Definition::split`].
    pub fn split_recorded<'r>(
        &'r self,
        request: &'r ParsedRequest<'_>,
    ) -> Result<Vec<RawEvent<'r>>, Refusal> {
        let unverified = Verified::new(tidegate_schemas::Proof::None).with_claims(true);
        crate::split::split(self, request, &unverified)
    }

    /// What must not leave of this request.
    #[must_use]
    pub fn masks(&self, request: &ParsedRequest<'_>) -> Masks {
        Masks::find(self, request)
    }

    /// Where a request brings a token that is a constant of the integration.
    pub(crate) fn compared_tokens(&self) -> impl Iterator<Item = &Selector> {
        let comparisons = self.handshakes.iter().flat_map(HandshakeRule::comparisons);
        comparisons.map(|(_, token)| token)
    }

    /// What an accepted request is answered; `None`: the standard reply.
    #[must_use]
    pub fn reply(&self, request: &ParsedRequest<'_>) -> Option<Reply> {
        let scope = Scope::of(request);
        let mut counting = self
            .replies
            .iter()
            .filter(|rule| rule.when.as_ref().is_none_or(|when| when.holds(&scope)));
        counting.next().map(|rule| rule.render(&scope))
    }
}
