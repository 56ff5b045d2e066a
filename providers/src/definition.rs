//! A compiled definition: everything the engine does with a request is a method here.

use std::borrow::Cow;

use tidegate_schemas::Reason;

use crate::event::{Identifier, RawEvent};
use crate::key_set::KeySets;
use crate::mask::Masks;
use crate::reply::{Answer, Awaiting, HandshakeRefusal, Reply, SecretAt};
use crate::request::{Credentials, RawRequest};
use crate::verdict::{Refusal, Unverified, Verified};

/// A request whose body is parsed once, when it is first asked for.
#[derive(Debug)]
pub struct ParsedRequest<'a> {
    /// As received.
    pub raw: RawRequest<'a>,
}

/// One provider's definition, compiled.
#[derive(Debug)]
pub struct Definition {
    name: String,
}

/// A handshake that a request is.
#[derive(Debug)]
pub struct Handshake<'r> {
    definition: &'r Definition,
}

impl Definition {
    /// The provider's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its integrations need a secret (a scheme reads one).
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        true
    }

    /// Whether verifying needs a key from elsewhere.
    #[must_use]
    pub fn needs_network(&self) -> bool {
        false
    }

    /// Whether the early check cannot be switched off.
    #[must_use]
    pub fn early_check_required(&self) -> bool {
        false
    }

    /// What a bad signature is answered.
    #[must_use]
    pub fn refused_status(&self) -> u16 {
        401
    }

    /// Where its secrets usually sit. With [`SecretAt::Connection`]: [`Definition::identify`] first, then verify with
    /// that connection's secrets (the integration's when it has none).
    #[must_use]
    pub fn secret_at(&self) -> SecretAt {
        SecretAt::Integration
    }

    /// Whether requests of this method carry events.
    #[must_use]
    pub fn takes_method(&self, method: &str) -> bool {
        matches!(method, "POST" | "PUT")
    }

    /// The value that spreads an integration over partitions.
    #[must_use]
    pub fn route<'r>(&self, _: &'r ParsedRequest<'_>) -> Option<Cow<'r, str>> {
        None
    }

    /// Makes a request ready to be asked; parses nothing yet.
    #[must_use]
    pub fn parse<'a>(&self, raw: RawRequest<'a>) -> ParsedRequest<'a> {
        ParsedRequest { raw }
    }

    /// The connection candidates of a request that is not verified yet, to find the connection whose secret proves it.
    #[must_use]
    pub fn identify<'r>(&'r self, _: &'r ParsedRequest<'_>) -> Vec<Identifier<'r>> {
        Vec::new()
    }

    /// Refuses a request that lacks an identifier that the definition requires (ingest answers 400).
    ///
    /// # Errors
    /// `identifier_missing`, naming it.
    pub fn check_identified(&self, _: &ParsedRequest<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// The handshake that this request is, if it is one.
    #[must_use]
    pub fn handshake<'r>(&'r self, _: &'r ParsedRequest<'_>, _: Awaiting) -> Option<Handshake<'r>> {
        None
    }

    /// Proves the request genuine.
    ///
    /// # Errors
    /// Refused with the reason, or undecided until a key is fetched.
    pub fn verify(
        &self,
        _: &ParsedRequest<'_>,
        _: Credentials<'_>,
        _: &dyn KeySets,
    ) -> Result<Verified, Unverified> {
        Err(Refusal::new(Reason::DefinitionMissing, "the engine is being built").into())
    }

    /// The events of a verified request.
    ///
    /// # Errors
    /// The request cannot be read as the definition says: `malformed`, with the reason.
    pub fn split<'r>(&'r self, _: &'r ParsedRequest<'_>, _: &Verified) -> Result<Vec<RawEvent<'r>>, Refusal> {
        Err(Refusal::new(
            Reason::DefinitionMissing,
            "the engine is being built",
        ))
    }

    /// What must not leave of this request.
    #[must_use]
    pub fn masks(&self, _: &ParsedRequest<'_>) -> Masks {
        Masks::default()
    }

    /// What an accepted request is answered; `None`: the standard reply.
    #[must_use]
    pub fn reply(&self, _: &ParsedRequest<'_>) -> Option<Reply> {
        None
    }
}

impl Handshake<'_> {
    /// Whether only a verified request is answered.
    #[must_use]
    pub fn needs_verified(&self) -> bool {
        self.definition.needs_secret()
    }

    /// What to answer and what else to do. `verified` must be there when [`Handshake::needs_verified`] says so.
    ///
    /// # Errors
    /// Its own condition failed, or it is not verified: what to answer, and why.
    pub fn answer(
        &self,
        _verified: Option<&Verified>,
        _credentials: Credentials<'_>,
    ) -> Result<Answer, HandshakeRefusal> {
        Err(HandshakeRefusal {
            reply: Reply {
                status: self.definition.refused_status(),
                headers: Vec::new(),
                body: Vec::new(),
            },
            refusal: Refusal::new(Reason::DefinitionMissing, "the engine is being built"),
        })
    }
}
