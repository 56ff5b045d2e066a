//! Hostile input never panics: every built-in definition is asked everything of requests made by chance, and of recorded
//! ones with bytes, headers and queries changed. Nothing that is made by chance verifies where something must be proved.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;
use tidegate_providers::{
    ActiveSecret, Awaiting, Catalogue, Credentials, Definition, KeyKind, NoKeySets, ParsedRequest, Place,
    PublicKey, RawRequest, Verified, payload,
};
use tidegate_schemas::{Headers, PayloadKind, Secret, UnixMillis};

/// A request that can be taken apart.
#[derive(Debug, Clone, Default)]
struct Loose {
    method: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| Catalogue::builtin().expect("the built-in definitions compile"))
}

/// Every recorded request, with its definition's name, as TOML tells it.
fn recorded() -> &'static [(String, Loose)] {
    static RECORDED: OnceLock<Vec<(String, Loose)>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let files = fs::read_dir(folder)
            .expect("the fixtures' folder")
            .map(|entry| entry.expect("an entry").path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files
            .flat_map(|path| requests(&fs::read_to_string(path).expect("a fixture file")))
            .collect()
    })
}

fn requests(fixture: &str) -> Vec<(String, Loose)> {
    let fixture: toml::Table = toml::from_str(fixture).expect("a fixture");
    let provider = fixture["provider"].as_str().expect("its provider");
    let cases = fixture["case"].as_array().expect("its cases");
    let loose = |case: &toml::Value| {
        let request = &case["request"];
        let headers = request["headers"].as_array().expect("headers").iter();
        let headers = headers.map(|pair| {
            (
                pair[0].as_str().expect("a name").into(),
                pair[1].as_str().expect("a value").into(),
            )
        });
        let url = request["url"].as_str().expect("a URL");
        Loose {
            method: request["method"].as_str().expect("a method").into(),
            query: url.split_once('?').map_or("", |(_, query)| query).into(),
            headers: headers.collect(),
            body: request
                .get("body")
                .and_then(toml::Value::as_str)
                .unwrap_or_default()
                .into(),
        }
    };
    cases
        .iter()
        .map(|case| (provider.to_owned(), loose(case)))
        .collect()
}

/// Asks everything there is to ask; yields the proof, if it verifies.
fn ask_everything(definition: &Definition, loose: &Loose) -> Option<Verified> {
    let mut headers = Headers::default();
    for (name, value) in &loose.headers {
        headers.push(name, value.as_str());
    }
    let cfg: BTreeMap<_, _> = definition
        .cfg()
        .iter()
        .map(|rule| (rule.name.clone(), "x".to_owned()))
        .collect();
    let url = format!("https://hooks.test/w/e/i?{}", loose.query);
    let raw = RawRequest {
        method: &loose.method,
        path: "/w/e/i",
        query: &loose.query,
        headers: &headers,
        body: &loose.body,
        url: &url,
        received_at: UnixMillis(1_795_255_200_000),
        cfg: &cfg,
    };
    let secrets = ["whsec_c2VjcmV0", "secret", "6869", "whpk_AAAA"].map(Secret::new);
    let active = secrets
        .each_ref()
        .map(|secret| ActiveSecret { secret, label: None });
    let credentials = Credentials {
        secrets: &active,
        allow_unverified: false,
    };
    let request = definition.parse(raw);
    ask_of_unverified(definition, &request, credentials);
    // With no secret but leave to go unverified, whatever comes is split.
    let open = Credentials {
        secrets: &[],
        allow_unverified: true,
    };
    if let Ok(verified) = definition.verify(&request, open, &NoKeySets) {
        ask_of_verified(definition, &request, &verified);
    }
    definition.verify(&request, credentials, &NoKeySets).ok()
}

fn ask_of_unverified(definition: &Definition, request: &ParsedRequest<'_>, credentials: Credentials<'_>) {
    for awaits in [false, true] {
        if let Some(handshake) = definition.handshake(
            request,
            Awaiting {
                integration: awaits,
                connection: awaits,
            },
        ) {
            let answer = handshake.answer(None, credentials);
            assert!(
                !handshake.needs_verified() || answer.is_err(),
                "an unverified handshake is answered"
            );
        }
    }
    let identifiers = definition.identify(request);
    assert!(
        identifiers.iter().all(|found| !found.value.is_empty()),
        "an empty identifier"
    );
    let _route = definition.route(request);
    let _reply = definition.reply(request);
    let mut body = request.raw.body.to_vec();
    definition.masks(request).apply(&mut body);
    assert_eq!(body.len(), request.raw.body.len(), "masking moves bytes");
}

fn ask_of_verified(definition: &Definition, request: &ParsedRequest<'_>, verified: &Verified) {
    let Ok(events) = definition.split(request, verified) else {
        return;
    };
    for (position, event) in (0..).zip(&events) {
        assert_eq!(event.position, position);
        if let Place::Span(range) = &event.payload.place {
            let bytes = request
                .raw
                .body
                .get(range.clone())
                .expect("a span within the body");
            let json = payload::to_json(event.payload.kind, bytes, request.raw.headers);
            assert!(
                serde_json::from_slice::<serde_json::Value>(&json).is_ok(),
                "a payload that is no JSON"
            );
        }
    }
}

/// Words that definitions look for, among others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"[ -~]{0,24}"#,
        r#"(t|v1|v0|ts)=[0-9a-f]{0,12}(,|;| )v1=[0-9a-zA-Z+/=]{0,64}"#,
        r#"v1a?,[A-Za-z0-9+/=]{0,88}( v1,[A-Za-z0-9+/=]{0,44})?"#,
        r#"(sha256=|v0=|Bearer |Basic )?[0-9a-f]{64}"#,
        r#"Bearer eyJ[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"#,
        r#"1795255[0-9]{3}([0-9]{3})?"#,
        r#"(application/(json|x-www-form-urlencoded)|multipart/form-data; boundary=x)"#,
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let word = || {
        prop_oneof![
            "[a-z_]{1,9}",
            Just("type".to_owned()),
            Just("value".to_owned()),
            Just("message".to_owned())
        ]
    };
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let members = proptest::collection::vec((word(), inner.clone()), 0..6);
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(serde_json::Value::Array),
            members.prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..120),
        json().prop_map(|json| json.to_string().into_bytes()),
        "payload=(%7B|%5B|%22|[a-z0-9&=%+]){0,24}".prop_map(String::into_bytes),
        "--x\r\n[ -~\r\n]{0,60}\r\n--x--".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn requests_made_by_chance(texts in proptest::collection::vec(text(), 8), body in body(), query in text(), at in any::<Index>()) {
        let (name, model) = at.get(recorded());
        let names = model.headers.iter().map(|(name, _)| name.clone());
        let headers = names.zip(texts.iter().cycle().cloned()).collect();
        let loose = Loose { method: model.method.clone(), query, headers, body };
        let definition = catalogue().get(name).expect("a fixture belongs to a definition");
        let verified = ask_everything(&definition, &loose);
        prop_assert!(verified.is_none() || !definition.needs_secret(), "made by chance, and verified");
    }

    #[test]
    fn recorded_requests_with_changes(at in any::<Index>(), byte in any::<Index>(), to in any::<u8>(), cut in any::<Index>(), header in any::<Index>(), text in text()) {
        let (name, model) = at.get(recorded());
        let definition = catalogue().get(name).expect("a fixture belongs to a definition");
        let mut changed = model.clone();
        if !changed.body.is_empty() {
            let place = byte.index(changed.body.len());
            changed.body[place] = to;
            changed.body.truncate(cut.index(changed.body.len()) + 1);
        }
        ask_everything(&definition, &changed);
        let mut other = model.clone();
        if !other.headers.is_empty() {
            let place = header.index(other.headers.len());
            other.headers[place].1 = text;
        }
        ask_everything(&definition, &other);
    }

    #[test]
    fn keys_and_key_sets(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in json()) {
        let _key = PublicKey::parse(&bytes);
        for kind in [KeyKind::Jwks, KeyKind::OpenId, KeyKind::Certificate, KeyKind::Text("k".into())] {
            let _read = (kind.read(&bytes), kind.read(json.to_string().as_bytes()));
        }
        let der = [&[0x30, 0x82, 0x01, 0x00, 0x30, 0x10][..], &bytes].concat();
        let _read = KeyKind::Certificate.read(&der);
        let _key = PublicKey::parse(hex::encode(&der).as_bytes());
    }

    #[test]
    fn definitions(text in r#"(\[\[?(verify|event|object|identify|handshake|body|cfg\.a)\]?\]\n)?[a-z_]{1,9} = ("[ -~&&[^"\\]]{0,30}"|\{ "body:a" = "\*" \}|[0-9]{1,4}|true)\n"#) {
        let file = format!("name = \"acme\"\ntitle = \"Acme\"\n{text}");
        if let Err(error) = Definition::from_toml("acme", &file) {
            prop_assert!(!error.problem.is_empty());
        }
    }

    #[test]
    fn selectors_and_templates(text in r#"(\{(body|header|form|join\(|event|query)(:[a-z.*<>\[\]"0-9]{0,12})?(\|[a-z_]{1,10}(\("[^"\\]{0,4}"\))?)?\??\}|[\[\]{}a-z.]){0,6}"#, body in body()) {
        let quoted = toml::Value::String(text).to_string();
        let file = format!("name = \"acme\"\ntitle = \"Acme\"\n[[verify]]\nscheme = \"none\"\n[event]\ntype = {quoted}\nid = {quoted}\n");
        if let Ok(definition) = Definition::from_toml("acme", &file) {
            let loose = Loose { method: "POST".into(), body, ..Loose::default() };
            ask_everything(&definition, &loose);
        }
    }

    #[test]
    fn payloads_are_always_json(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in text()) {
        let mut headers = Headers::default();
        headers.push("content-type", text.as_str());
        for kind in [PayloadKind::Form, PayloadKind::Headers, PayloadKind::Text, PayloadKind::Base64] {
            let json = payload::to_json(kind, &bytes, &headers);
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        }
    }
}
