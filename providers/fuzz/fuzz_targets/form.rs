//! Form and multipart bodies: the content type is in the headers before the blank line.
#![no_main]

mod request;

use libfuzzer_sys::fuzz_target;
use tidegate_providers::{Credentials, Definition, payload};
use tidegate_schemas::PayloadKind;

const DEFINITION: &str = "name = \"acme\"\ntitle = \"Acme\"\n[body]\nkind = \"form\"\ndocument = [\"form:payload|json\"]\n\
    [[verify]]\nscheme = \"none\"\n[event]\ntype = \"{form:type}{form_sorted}\"\n[redact]\npaths = [\"form:token\", \"body:token\"]\n";

fuzz_target!(|input: &[u8]| {
    let definition = Definition::from_toml("acme", DEFINITION).expect("a definition");
    let (headers, body) = request::cut(input);
    request::ask(&definition, (&headers, body), Credentials::default(), |_| {});
    let json = payload::to_json(PayloadKind::Form, body, &headers);
    assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
});
