//! The language of definitions, feature by feature, on small definitions written in the test. In: a definition's text and a
//! request. Out: what the engine makes of it. Signatures by others' code are the fixtures' business; here the test signs.

mod answers;
mod blocks;
mod files;
mod language;
mod limits;
mod public_keys;
mod schemes;
mod splitting;
mod vectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_providers::{
    ActiveSecret, Answer, Awaiting, Config, Credentials, Definition, HandshakeRefusal, KeyDocument,
    KeyLookup, KeyRequest, KeySets, Masks, RawEvent, RawRequest, Reply, Unverified, Verified,
};
use tidegate_schemas::{Headers, Reason, Secret, UnixMillis};

/// When every request here is received unless it says otherwise.
pub(crate) const NOW: u64 = 1_795_350_000_000;

/// A definition and a request to it.
#[derive(Clone)]
pub(crate) struct Given {
    definition: Arc<Definition>,
    text: String,
    method: &'static str,
    url: String,
    headers: Headers,
    body: Vec<u8>,
    received_at: u64,
    secrets: Vec<(String, Option<&'static str>)>,
    cfg: BTreeMap<String, String>,
    allow_unverified: bool,
    fetched: Vec<(String, &'static str, u64)>,
}

/// A POST without headers, body and secrets to the definition `acme`, whose title need not be written.
pub(crate) fn given(definition: &str) -> Given {
    let text = format!("name = \"acme\"\ntitle = \"Acme\"\n{definition}");
    Given {
        definition: Arc::new(Definition::from_toml("acme", &text).unwrap_or_else(|error| panic!("{error}"))),
        text,
        method: "POST",
        url: "https://hooks.test/webhook/e/acme".to_owned(),
        headers: Headers::default(),
        body: Vec::new(),
        received_at: NOW,
        secrets: Vec::new(),
        cfg: BTreeMap::new(),
        allow_unverified: false,
        fetched: Vec::new(),
    }
}

impl Given {
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn url(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push(name, value.as_ref());
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn at(mut self, received_at: u64) -> Self {
        self.received_at = received_at;
        self
    }

    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secrets.push((secret.to_owned(), None));
        self
    }

    pub(crate) fn labelled(mut self, label: &'static str, secret: &str) -> Self {
        self.secrets.push((secret.to_owned(), Some(label)));
        self
    }

    pub(crate) fn cfg(mut self, name: &str, value: &str) -> Self {
        self.cfg.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn limits(mut self, limits: Config) -> Self {
        let definition = Definition::from_toml("acme", &self.text).expect("it compiled before");
        self.definition = Arc::new(definition.with_limits(limits));
        self
    }

    pub(crate) fn unverified_allowed(mut self) -> Self {
        self.allow_unverified = true;
        self
    }

    /// What was fetched from an address, and when.
    pub(crate) fn fetched(mut self, url: &str, document: &'static str, at: u64) -> Self {
        self.fetched.push((url.to_owned(), document, at));
        self
    }

    fn raw(&self) -> RawRequest<'_> {
        let target = self.url.strip_prefix("https://hooks.test").unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RawRequest {
            method: self.method,
            path,
            query,
            headers: &self.headers,
            body: &self.body,
            url: &self.url,
            received_at: UnixMillis(self.received_at),
            cfg: &self.cfg,
        }
    }

    fn with_credentials<T>(&self, ask: impl FnOnce(Credentials<'_>) -> T) -> T {
        let secrets: Vec<_> = self
            .secrets
            .iter()
            .map(|(secret, label)| (Secret::new(secret.as_str()), *label))
            .collect();
        let active: Vec<_> = secrets
            .iter()
            .map(|(secret, label)| ActiveSecret {
                secret,
                label: *label,
            })
            .collect();
        ask(Credentials {
            secrets: &active,
            allow_unverified: self.allow_unverified,
        })
    }

    pub(crate) fn verify(&self) -> Result<Verified, Unverified> {
        let request = self.definition.parse(self.raw());
        self.with_credentials(|credentials| self.definition.verify(&request, credentials, self))
    }

    /// The proof's label, or the refusal's reason; an undecided request is its key's address.
    pub(crate) fn verdict(&self) -> String {
        match self.verify() {
            Ok(verified) => verified.proof().label().to_owned(),
            Err(Unverified::Refused(refusal)) => refusal.reason.label().to_owned(),
            Err(Unverified::Undecided(key)) => format!("undecided: {}", key.url),
        }
    }

    /// Says what must come of it.
    #[track_caller]
    pub(crate) fn is(&self, expected: &str) {
        assert_eq!(self.verdict(), expected, "{}", self.url);
    }

    /// Splits the verified request and hands its events to a look.
    pub(crate) fn events<T>(&self, look: impl FnOnce(&[RawEvent<'_>]) -> T) -> T {
        match self.split(look) {
            Ok(looked) => looked,
            Err(reason) => panic!("malformed: {reason}"),
        }
    }

    pub(crate) fn split<T>(&self, look: impl FnOnce(&[RawEvent<'_>]) -> T) -> Result<T, Reason> {
        let verified = self.verify().unwrap_or_else(|error| panic!("{error}"));
        let request = self.definition.parse(self.raw());
        self.definition
            .split(&request, &verified)
            .map(|events| look(&events))
            .map_err(|refusal| refusal.reason)
    }

    /// Why it cannot be split, if it cannot.
    pub(crate) fn split_refusal(&self) -> Option<String> {
        let verified = self.verify().unwrap_or_else(|error| panic!("{error}"));
        let request = self.definition.parse(self.raw());
        let split = self.definition.split(&request, &verified);
        split.err().map(|refusal| refusal.to_string())
    }

    /// The answer to the handshake that it is, verified where that is needed.
    pub(crate) fn handshake(&self, awaiting: Awaiting) -> Option<Result<Answer, HandshakeRefusal>> {
        let request = self.definition.parse(self.raw());
        let handshake = self.definition.handshake(&request, awaiting)?;
        let verified = self.verify().ok().filter(|_| handshake.needs_verified());
        Some(self.with_credentials(|credentials| handshake.answer(verified.as_ref(), credentials)))
    }

    pub(crate) fn reply(&self) -> Option<Reply> {
        self.definition.reply(&self.definition.parse(self.raw()))
    }

    /// The compiled definition.
    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The masks, and the body as it may leave.
    pub(crate) fn masked(&self) -> (Masks, String) {
        let masks = self.definition.masks(&self.definition.parse(self.raw()));
        let mut body = self.body.clone();
        masks.apply(&mut body);
        (masks, String::from_utf8_lossy(&body).into_owned())
    }
}

impl KeySets for Given {
    fn lookup(&self, request: &KeyRequest) -> KeyLookup {
        let Some((_, document, at)) = self.fetched.iter().find(|(url, ..)| *url == request.url) else {
            return KeyLookup::NotFetched;
        };
        match request
            .kind
            .read(document.as_bytes())
            .expect("what should stand there")
        {
            KeyDocument::Keys(keys) => KeyLookup::of(&Arc::from(keys), request, UnixMillis(*at)),
            KeyDocument::Next(_) => KeyLookup::NotFetched,
        }
    }
}
