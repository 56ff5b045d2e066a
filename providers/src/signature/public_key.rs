//! Public keys and what they verify.

/// A public key, ready to verify with.
#[derive(Debug, Clone)]
pub struct PublicKey {
    pub(crate) bytes: Vec<u8>,
}
