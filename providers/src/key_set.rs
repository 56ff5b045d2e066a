//! Keys that stand elsewhere: what to fetch, what was fetched, and which key of it signed. In: the bytes of a JWKS, an
//! OpenID document, a certificate or a key's JSON, as the caller fetched them. Out: public keys. Fetches nothing itself.

use std::sync::Arc;

use tidegate_schemas::UnixMillis;

use crate::signature::public_key::PublicKey;

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
    /// An OpenID configuration, whose `jwks_uri` is to be fetched next.
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
}

/// What a fetched key is.
#[derive(Clone)]
pub enum KeyMaterial {
    /// A public key.
    Public(PublicKey),
    /// A secret's text.
    Text(tidegate_schemas::Secret),
}
