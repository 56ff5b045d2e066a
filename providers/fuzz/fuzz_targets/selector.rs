//! Selectors and templates: the first line is a template, the rest a request.
#![no_main]

mod request;

use libfuzzer_sys::fuzz_target;
use tidegate_providers::{Credentials, Definition};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (template, rest) = text.split_once('\n').unwrap_or((text, ""));
    let quoted = serde_json::Value::from(template.replace('\u{7f}', ""));
    let file = format!(
        "name = \"acme\"\ntitle = \"Acme\"\n[[verify]]\nscheme = \"none\"\n[event]\ntype = {quoted}\nid = {quoted}\n"
    );
    let Ok(definition) = Definition::from_toml("acme", &file) else { return };
    let (headers, body) = request::cut(rest.as_bytes());
    request::ask(&definition, (&headers, body), Credentials::default(), |_| {});
});
