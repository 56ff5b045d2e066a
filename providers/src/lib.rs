//! Providers are data: this crate reads their definitions and does what they say, purely.
//!
//! A [`Catalogue`] holds one compiled [`Definition`] per provider. Ingest and the processor give it a request as it was
//! received ([`RawRequest`]) and get a [`ParsedRequest`], whose body is parsed at most once. Of that they ask in order:
//! is it a [`Handshake`], and what is it answered; is it genuine ([`Definition::verify`] yields [`Verified`], a refusal
//! with its reason, or the [`KeyRequest`] of a key that must be fetched first); what events does it hold
//! ([`Definition::split`] demands the `Verified` and yields [`RawEvent`]s); what must not leave ([`Definition::masks`]);
//! what does the provider want to hear ([`Definition::reply`]).
//!
//! Where a connection's own secret proves a request, [`Definition::identify`] names the candidates first; after the
//! split every event must belong to that same connection. Time, secrets, constants and fetched keys are arguments.
//! Nothing here awaits, reads a clock, an environment variable or (but for a user's folder of definitions) a file.
//! The language of the definitions is in `GRAMMAR.md`.

mod address;
mod body;
mod catalogue;
mod compile;
mod condition;
mod config;
mod definition;
pub mod docs;
mod each;
mod encoding;
mod event;
mod facts;
pub mod fixture;
mod form;
mod glob;
mod handshake;
mod json;
mod key_set;
mod map;
mod mask;
mod path;
pub mod payload;
mod pick;
mod query_hash;
mod reply;
mod request;
mod selector;
mod setting;
mod signature;
mod split;
mod template;
mod time;
mod verdict;
mod verify;

pub use body::{EVENTS_PER_REQUEST_MAX, ParsedRequest};
pub use catalogue::{Catalogue, DefinitionError, check_file, source_of};
pub use config::Config;
pub use definition::Definition;
pub use event::{Dropped, Identifier, Object, Payload, Place, RawEvent, Version};
pub use facts::{CfgRule, Facts};
pub use handshake::Handshake;
pub use json::JsonPaths;
pub use key_set::{
    FetchedKey, KeyDocument, KeyError, KeyKind, KeyLookup, KeyMaterial, KeyRequest, KeySets, NoKeySets,
};
pub use mask::{Mask, Masks};
pub use reply::{Answer, Awaiting, Call, HandshakeRefusal, Reply, SecretAt, Store};
pub use request::{ActiveSecret, Credentials, RawRequest};
pub use signature::public_key::PublicKey;
pub use signature::sign::{Sample, SignError, Signer};
pub use verdict::{Refusal, Unverified, Verified};
