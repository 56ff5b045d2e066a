//! Signature parsing of every built-in definition: nothing that is made up verifies.
#![no_main]

mod request;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tidegate_providers::{ActiveSecret, Catalogue, Credentials};
use tidegate_schemas::Secret;

fuzz_target!(|input: &[u8]| {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    let catalogue = CATALOGUE.get_or_init(|| Catalogue::builtin().expect("the built-in definitions compile"));
    let Some((number, rest)) = input.split_first() else { return };
    let names = catalogue.names().count();
    let Some(definition) = catalogue.definitions().nth(usize::from(*number) % names) else { return };
    let secrets = ["whsec_bm9ib2R5IGtub3dzIHRoaXM=", "nobody knows this"].map(Secret::new);
    let active = secrets.each_ref().map(|secret| ActiveSecret { secret, label: None });
    let credentials = Credentials { secrets: &active, allow_unverified: false };
    let (headers, body) = request::cut(rest);
    let verified = request::ask(definition, (&headers, body), credentials, |_| {});
    assert!(verified.is_none() || !definition.needs_secret());
});
