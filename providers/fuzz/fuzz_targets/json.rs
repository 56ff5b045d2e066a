//! JSON bodies: what is taken as JSON is JSON, and every span lies within the body.
#![no_main]

mod request;

use libfuzzer_sys::fuzz_target;
use tidegate_providers::{Credentials, Definition, Place};
use tidegate_schemas::{Headers, PayloadKind};

const DEFINITION: &str = "name = \"acme\"\ntitle = \"Acme\"\n[[verify]]\nscheme = \"none\"\n[event]\neach = [\"body:a[].b[]\", \"body:[]\", \"body\"]\n\
    type = \"{event:t.*}\"\ntime = \"{event:at}\"\ntime_format = [\"s\", \"iso\"]\n[[object]]\nkey = \"{event:<k>}\"\ncontent = \"event:c\"\n";

fuzz_target!(|body: &[u8]| {
    let definition = Definition::from_toml("acme", DEFINITION).expect("a definition");
    request::ask(&definition, (&Headers::default(), body), Credentials::default(), |events| {
        for event in events {
            let Place::Span(range) = &event.payload.place else { continue };
            let bytes = body.get(range.clone()).expect("a span within the body");
            if event.payload.kind == PayloadKind::Json {
                assert!(serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok());
            }
        }
    });
});
