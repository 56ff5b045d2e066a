//! Keys that stand elsewhere: what to fetch, what was fetched, and which key of it signed. In: the bytes of a JWKS, an
//! OpenID document, a certificate or a key's JSON, as the caller fetched them. Out: public keys. Fetches nothing itself.

use std::sync::Arc;

use tidegate_schemas::UnixMillis;

use crate::signature::pem;
use crate::signature::public_key::{Jwk, PublicKey};

/// How many certificates of a chain are kept: no authority needs more than a leaf and three between it and the root.
const CHAIN_MAX: usize = 8;

/// A key that must be fetched. The address has passed the definition's host rule already; the caller dials it under
/// the SSRF rule, bounded in time and size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRequest {
    /// What stands there.
    pub kind: KeyKind,
    /// The `https` address.
    pub url: String,
    /// The key's id, when the signature names one.
    pub key_id: Option<String>,
}

/// What stands at a key's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// A JSON Web Key Set.
    Jwks,
    /// An OpenID configuration, whose key set's address is to be fetched next ([`KeyDocument::Next`]).
    OpenId,
    /// An X.509 certificate (or chain, leaf first) in PEM or DER.
    Certificate,
    /// A JSON object that holds a secret's text under this name.
    Text(String),
}

/// What a caller's store of fetched keys answers.
#[derive(Clone)]
pub enum KeyLookup {
    /// The keys that may have signed: those of the id, or all when no id was asked for.
    Found(Arc<[FetchedKey]>),
    /// Nothing was fetched from there yet, or it is too old.
    NotFetched,
    /// The set was fetched at this time and holds no such id.
    KeyIdUnknown {
        /// When.
        fetched_at: UnixMillis,
    },
}

/// A caller's store of fetched keys.
pub trait KeySets {
    /// Looks a key up; never waits.
    fn lookup(&self, request: &KeyRequest) -> KeyLookup;
}

/// A store that holds nothing: for definitions that need no network.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeySets;

impl KeySets for NoKeySets {
    fn lookup(&self, _: &KeyRequest) -> KeyLookup {
        KeyLookup::NotFetched
    }
}

/// One fetched key.
#[derive(Clone)]
pub struct FetchedKey {
    /// Its id in the set.
    pub key_id: Option<String>,
    /// The key.
    pub key: KeyMaterial,
    /// From when to when it may be used, where a certificate says so.
    pub valid: Option<(UnixMillis, UnixMillis)>,
    /// The certificate and those that were served behind it, in DER; none for a bare key.
    pub chain: Arc<[Vec<u8>]>,
}

/// What a fetched key is.
#[derive(Clone)]
pub enum KeyMaterial {
    /// A public key.
    Public(PublicKey),
    /// A secret's text.
    Text(tidegate_schemas::Secret),
}

/// What a fetched document turned out to be.
#[derive(Clone)]
pub enum KeyDocument {
    /// Keys; those of kinds that nothing verifies with are left out.
    Keys(Vec<FetchedKey>),
    /// An OpenID configuration: its key set is at this `https` address.
    Next(String),
}

/// A fetched document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} fetched is unusable: {problem}")]
pub struct KeyError {
    what: &'static str,
    problem: String,
}

impl KeyKind {
    /// Reads what was fetched.
    ///
    /// # Errors
    /// It is not what should stand there.
    pub fn read(&self, bytes: &[u8]) -> Result<KeyDocument, KeyError> {
        match self {
            KeyKind::Jwks => jwks(bytes).map(KeyDocument::Keys),
            KeyKind::OpenId => open_id(bytes).map(KeyDocument::Next),
            KeyKind::Certificate => certificate(bytes).map(|key| KeyDocument::Keys(vec![key])),
            KeyKind::Text(name) => text(bytes, name).map(|key| KeyDocument::Keys(vec![key])),
        }
    }
}

impl KeyLookup {
    /// What a set that was fetched at `fetched_at` answers to a request.
    #[must_use]
    pub fn of(keys: &Arc<[FetchedKey]>, request: &KeyRequest, fetched_at: UnixMillis) -> Self {
        let Some(wanted) = &request.key_id else {
            return KeyLookup::Found(Arc::clone(keys));
        };
        let named: Vec<_> = keys
            .iter()
            .filter(|key| key.key_id.as_ref() == Some(wanted))
            .cloned()
            .collect();
        if named.is_empty() {
            KeyLookup::KeyIdUnknown { fetched_at }
        } else {
            KeyLookup::Found(named.into())
        }
    }
}

fn jwks(bytes: &[u8]) -> Result<Vec<FetchedKey>, KeyError> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = parse("key set", bytes)?;
    let keys = set.keys.into_iter().filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        if jwk.use_.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let key = KeyMaterial::Public(PublicKey::from_jwk(&jwk)?);
        Some(FetchedKey {
            key_id: jwk.kid,
            key,
            valid: None,
            chain: Arc::default(),
        })
    });
    Ok(keys.collect())
}

fn open_id(bytes: &[u8]) -> Result<String, KeyError> {
    #[derive(serde::Deserialize)]
    struct Configuration {
        jwks_uri: String,
    }
    let what = "OpenID configuration";
    let Configuration { jwks_uri } = parse(what, bytes)?;
    if jwks_uri.starts_with("https://") {
        Ok(jwks_uri)
    } else {
        Err(KeyError {
            what,
            problem: "its jwks_uri is no https address".into(),
        })
    }
}

fn certificate(bytes: &[u8]) -> Result<FetchedKey, KeyError> {
    let read = PublicKey::from_pem(bytes).or_else(|| PublicKey::from_certificate(bytes));
    let problem = || "it is no X.509 certificate with an RSA, P-256, P-384 or Ed25519 key".to_owned();
    let (key, valid) = read.ok_or_else(|| KeyError {
        what: "certificate",
        problem: problem(),
    })?;
    let mut chain: Vec<_> = pem::blocks(bytes)
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| block.der)
        .take(CHAIN_MAX)
        .collect();
    if chain.is_empty() {
        chain.push(bytes.to_vec());
    }
    Ok(FetchedKey {
        key_id: None,
        key: KeyMaterial::Public(key),
        valid,
        chain: chain.into(),
    })
}

fn text(bytes: &[u8], name: &str) -> Result<FetchedKey, KeyError> {
    let what = "key";
    let object: serde_json::Map<String, serde_json::Value> = parse(what, bytes)?;
    let text = object
        .get(name)
        .and_then(serde_json::Value::as_str)
        .filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| KeyError {
        what,
        problem: format!("it holds no text `{name}`"),
    })?;
    let key = KeyMaterial::Text(tidegate_schemas::Secret::new(text));
    Ok(FetchedKey {
        key_id: None,
        key,
        valid: None,
        chain: Arc::default(),
    })
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, KeyError> {
    serde_json::from_slice(bytes).map_err(|error| KeyError {
        what,
        problem: error.to_string(),
    })
}
