//! ECDSA that ring does not do: SHA-1 on P-256, and P-521. In: a point, a message, a signature. Out: whether it is the key's.
//! SHA-1 is here for providers that still sign with it; nothing chooses it by itself.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

/// ECDSA on P-256 over a SHA-1 digest, the signature in DER.
pub(super) fn p256_sha1(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point);
    let signature = p256::ecdsa::Signature::from_der(signature);
    let (Ok(key), Ok(signature)) = (key, signature) else {
        return false;
    };
    key.verify_prehash(&Sha1::digest(message), &signature).is_ok()
}

/// ECDSA on P-521 over a SHA-512 digest, the signature in DER.
pub(super) fn p521(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    p521::ecdsa::Signature::from_der(signature).is_ok_and(|signature| p521_is(point, message, &signature))
}

/// The same with the two halves side by side, as JWTs have it.
pub(super) fn p521_fixed(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    p521::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| p521_is(point, message, &signature))
}

fn p521_is(point: &[u8], message: &[u8], signature: &p521::ecdsa::Signature) -> bool {
    p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
        .is_ok_and(|key| key.verify_prehash(&Sha512::digest(message), signature).is_ok())
}
