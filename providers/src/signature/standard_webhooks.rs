//! `scheme = "standard-webhooks"`: the three headers of that specification. `v1` entries are HMAC-SHA256 by secrets, `v1a`
//! entries Ed25519 by `whpk_` public keys; both over `id.timestamp.body`. In: a scope, secrets. Out: a proof.

use tidegate_schemas::Reason;

use super::hash::Hash;
use super::key::KeyDecode;
use super::public_key::{KeyAlgorithm, PublicKey};
use super::timestamp::{Timestamp, around};
use super::{Proving, same, secret_missing};
use crate::encoding::decode_base64;
use crate::pick::Scope;
use crate::verdict::Refusal;

/// A block of this scheme.
#[derive(Debug)]
pub(crate) struct StandardWebhooks {
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub decode: KeyDecode,
    pub age: Timestamp,
}

impl StandardWebhooks {
    /// Whether a signature is there.
    pub fn is_presented(&self, scope: &Scope<'_>) -> bool {
        scope
            .request
            .raw
            .headers
            .get(&self.signature)
            .is_some_and(|text| !text.is_empty())
    }

    /// Proves the request.
    pub fn verify(&self, scope: &Scope<'_>, proving: Proving<'_>) -> Result<(), Refusal> {
        let headers = &scope.request.raw.headers;
        let header = |name: &str| headers.get(name).filter(|text| !text.is_empty());
        let missing = |name: &str| {
            Refusal::new(
                Reason::SignatureMissing,
                format!("the header `{name}` is missing"),
            )
        };
        let signatures = header(&self.signature).ok_or_else(|| missing(&self.signature))?;
        let id = header(&self.id).ok_or_else(|| missing(&self.id))?;
        let timestamp = header(&self.timestamp).unwrap_or_default();
        let pieces = [
            id.as_bytes(),
            b".",
            timestamp.as_bytes(),
            b".",
            scope.request.raw.body,
        ];
        let most = scope.request.definition.limits.standard_entries_max;
        let given = Given::read(signatures, most)?;
        around(Some(&self.age), scope, || self.prove(&given, &pieces, proving))
    }

    fn prove(&self, given: &Given, pieces: &[&[u8]], proving: Proving<'_>) -> Result<(), Refusal> {
        let (mut tried, mut unusable) = (false, false);
        for active in proving.secrets.iter().filter(|active| !active.secret.is_empty()) {
            let text = active.secret.expose();
            let proved = if text.starts_with(b"whpk_") {
                PublicKey::parse(text).map(|key| {
                    let message = pieces.concat();
                    given
                        .ed25519
                        .iter()
                        .any(|signature| key.verifies(KeyAlgorithm::Ed25519, &message, signature))
                })
            } else {
                self.decode.decode(text.into()).map(|key| {
                    let code = Hash::Sha256.mac(&key, pieces);
                    given
                        .codes
                        .iter()
                        .fold(false, |found, given| found | same(&code, given))
                })
            };
            match proved {
                Some(true) => return Ok(()),
                Some(false) => tried = true,
                None => unusable = true,
            }
        }
        Err(match (tried, unusable) {
            (true, _) if given.is_cut => Refusal::new(
                Reason::SignatureWrong,
                "no active secret makes any of the first signatures; there are more than are tried \
                 (providers.standard_entries_max)",
            ),
            (true, _) => Refusal::new(Reason::SignatureWrong, "no active secret makes this signature"),
            (false, true) => Refusal::new(Reason::SecretUnusable, "the secret is not `whsec_` and base64"),
            (false, false) => secret_missing(),
        })
    }
}

/// The signatures that were given.
struct Given {
    codes: Vec<Vec<u8>>,
    ed25519: Vec<Vec<u8>>,
    /// Whether there were more than are tried.
    is_cut: bool,
}

impl Given {
    fn read(signatures: &str, most: usize) -> Result<Self, Refusal> {
        let (mut codes, mut ed25519) = (Vec::new(), Vec::new());
        let mut entries = signatures.split_ascii_whitespace();
        for entry in entries.by_ref().take(most) {
            match entry.split_once(',') {
                Some(("v1", code)) => codes.extend(decode_base64(code.as_bytes())),
                Some(("v1a", signature)) => ed25519.extend(decode_base64(signature.as_bytes())),
                _ => {}
            }
        }
        if codes.is_empty() && ed25519.is_empty() {
            let detail = "the signature header holds no `v1,` or `v1a,` entry in base64";
            return Err(Refusal::new(Reason::SignatureMalformed, detail));
        }
        Ok(Self {
            codes,
            ed25519,
            is_cut: entries.next().is_some(),
        })
    }
}
