//! Keys, key sets and certificates that somebody else's server sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_providers::{KeyKind, PublicKey};

fuzz_target!(|bytes: &[u8]| {
    let _key = PublicKey::parse(bytes);
    for kind in [KeyKind::Jwks, KeyKind::OpenId, KeyKind::Certificate, KeyKind::Text("key".into())] {
        let _read = kind.read(bytes);
    }
});
