//! The scheme `jwt` of a `[[verify]]` block: the token, its algorithms and key, and what its claims must say. In: the block's
//! table. Out: the scheme and what it proves: the body where a claim or the signature binds it.

use tidegate_schemas::Proof;

use super::keys::Read;
use super::verify::Reader;
use crate::selector::Allow;
use crate::signature::Scheme;
use crate::signature::jwt::{JwtAlgorithm, JwtScheme};
use crate::signature::key::{Key, KeyDecode};
use crate::template::Template;

impl<'t> Reader<'_, 't, '_> {
    pub fn jwt(&self) -> Read<(Scheme, Proof)> {
        // The document may be the token's claims: it cannot be looked for in them.
        let terms = self.place.allowing(Allow {
            body: false,
            ..self.place.allow
        });
        let mut tokens = self.places("token", terms)?;
        let (Some(token), 0) = (tokens.pop(), tokens.len()) else {
            return self.keys.problem("token", "a JWT stands in one place");
        };
        let key = self.key(KeyDecode::Utf8)?;
        self.check_public(&key)?;
        let algorithms = self.algorithms(&key)?;
        let payload = self.keys.template("payload", self.place)?;
        if payload.is_some() {
            self.check_detached()?;
        }
        let claims = self.claims("claims")?;
        let claims_with_body = self.claims("claims_with_body")?;
        let templates = || {
            claims
                .iter()
                .chain(&claims_with_body)
                .flat_map(|(_, templates)| templates)
        };
        let bound = token.binds_body() || templates().any(Template::binds_body);
        let proof = match &payload {
            Some(payload) if payload.binds_body() => Proof::Body,
            Some(_) => Proof::Fields,
            None if bound => Proof::Body,
            None => Proof::Origin,
        };
        let required = match self.keys.raw("require_claims") {
            Some(_) => self.keys.texts("require_claims")?,
            None if payload.is_some() => Vec::new(),
            None => vec!["exp"],
        };
        let scheme = JwtScheme {
            token,
            prefix: self.keys.text("prefix")?.unwrap_or_default().to_owned(),
            algorithms,
            key,
            leeway_millis: self.keys.number("leeway")?.unwrap_or(60).saturating_mul(1000),
            require_claims: required.into_iter().map(str::to_owned).collect(),
            claims,
            claims_with_body,
            timestamp: self.timestamp()?,
            payload,
        };
        Ok((Scheme::Jwt(scheme), proof))
    }

    /// The algorithms that count: all of one kind, so that a public key is never taken for a shared secret.
    fn algorithms(&self, key: &Key) -> Read<Vec<JwtAlgorithm>> {
        let names = self.keys.texts("algorithms")?.into_iter();
        let algorithms = names.map(|name| self.keys.word_of::<JwtAlgorithm>("algorithms", name));
        let algorithms = algorithms.collect::<Read<Vec<_>>>()?;
        let shared = algorithms
            .iter()
            .filter(|algorithm| algorithm.hash().is_some())
            .count();
        if algorithms.is_empty() || (shared > 0 && (shared < algorithms.len() || !key.is_from_secret())) {
            let problem = "list algorithms of one kind: HS ones with a secret, or others with a public key; write two blocks";
            return self.keys.problem("algorithms", problem);
        }
        Ok(algorithms)
    }

    /// A token without claims demands none.
    fn check_detached(&self) -> Read<()> {
        let demanded = ["claims", "claims_with_body", "require_claims"];
        match demanded.into_iter().find(|key| self.keys.raw(key).is_some()) {
            None => Ok(()),
            Some(key) => self
                .keys
                .problem(key, "a token with a `payload` of its own carries no claims"),
        }
    }

    fn claims(&self, key: &'t str) -> Read<Vec<(String, Vec<Template>)>> {
        let Some(keys) = self.keys.table(key)? else {
            return Ok(Vec::new());
        };
        let claims = keys.names().into_iter().map(|name| {
            let texts = keys.texts(name)?.into_iter();
            let templates = texts
                .map(|text| keys.template_of(name, text, self.place))
                .collect::<Read<_>>()?;
            Ok((name.to_owned(), templates))
        });
        claims.collect()
    }
}
