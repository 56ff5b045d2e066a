//! The signature schemes: one file each. In: raw bytes, keys, the definition's settings. Out: a proof, or a refusal.
//! Everything that is compared is compared decoded and in constant time.

pub mod public_key;
