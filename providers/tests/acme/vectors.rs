//! What no built-in definition uses yet: seldom used algorithms, detached tokens, the hash of a query string, secrets in
//! compatibility form, chains of certificates. In: `keys/vectors.json`, made by others' code (`dev/fixtures/vectors.mjs`;
//! each vector says by whose).

use std::sync::LazyLock;

use serde_json::Value;

use crate::{Given, NOW, given};

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("keys/vectors.json")).expect("vectors are JSON"));

fn text<'v>(vector: &'v Value, name: &str) -> &'v str {
    vector[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {vector}"))
}

fn each(vectors: &Value) -> impl Iterator<Item = &Value> {
    let vectors = vectors.as_array().expect("a list of vectors");
    assert!(!vectors.is_empty());
    vectors.iter()
}

fn body() -> &'static str {
    text(&VECTORS, "body")
}

#[test]
fn every_algorithm_of_public_keys_verifies() {
    for vector in each(&VECTORS["public_key"]) {
        let definition = format!(
            "[[verify]]\nscheme = \"public-key\"\nalgorithm = \"{}\"\nencoding = \"base64\"\nsignature = \"header:x-sig\"",
            text(vector, "algorithm")
        );
        let signed = given(&definition)
            .header("x-sig", text(vector, "signature"))
            .body(body());
        signed.clone().secret(text(vector, "key")).is("body");
        signed
            .clone()
            .secret(text(vector, "key"))
            .body("{}")
            .is("signature_wrong");
        for other in each(&VECTORS["public_key"]).filter(|other| *other != vector) {
            signed.clone().secret(text(other, "key")).is("signature_wrong");
        }
        let mut broken = signed.clone().secret(text(vector, "key"));
        broken.headers.0.clear();
        broken.header("x-sig", "AAAA").is("signature_wrong");
    }
}

#[test]
fn every_algorithm_of_tokens_verifies() {
    let url = "https://login.acme.test/keys";
    for vector in each(&VECTORS["jwt"]) {
        let algorithm = text(vector, "algorithm");
        let scheme = format!(
            "[[verify]]\nscheme = \"jwt\"\ntoken = \"header:x-token\"\nalgorithms = [\"{algorithm}\"]\n"
        );
        let bearing = |definition: &str| given(definition).header("x-token", text(vector, "token"));
        bearing(&scheme).secret(text(vector, "key")).is("origin");
        let set: &'static str = Box::leak(text(vector, "key_set").to_owned().into_boxed_str());
        let fetched = format!("{scheme}key = {{ jwks = \"{url}\" }}\n");
        bearing(&fetched).fetched(url, set, NOW).is("origin");
        let other = scheme.replace(algorithm, "RS256");
        bearing(&other).secret(text(vector, "key")).is("jwt_algorithm");
    }
}

#[test]
fn a_detached_token_signs_the_body_that_it_does_not_carry() {
    let definition = "[[verify]]\nscheme = \"jwt\"\ntoken = \"header:x-jws\"\nalgorithms = [\"RS256\"]\npayload = \"{body}\"\n";
    let key = text(&VECTORS["detached"], "key");
    for vector in each(&VECTORS["detached"]["tokens"]) {
        let token = text(vector, "token");
        let signed = |definition: &str| given(definition).secret(key).header("x-jws", token);
        signed(definition).body(body()).is("body");
        signed(definition).body("{}").is("signature_wrong");
        signed(definition).is("signature_wrong");
        let carried = definition.replace("payload = \"{body}\"\n", "require_claims = []\n");
        let verdict = signed(&carried).body(body()).verdict();
        assert!(
            ["jwt_algorithm", "signature_wrong"].contains(&verdict.as_str()),
            "{verdict}"
        );
        let filled = token.replacen("..", ".e30.", 1);
        given(definition)
            .secret(key)
            .header("x-jws", filled)
            .body(body())
            .is("jwt_malformed");
    }
}

#[test]
fn method_path_and_query_have_one_hash() {
    for vector in each(&VECTORS["query_string_hash"]) {
        let definition = "[cfg.base]\nabout = \"base\"\n[[verify]]\nscheme = \"none\"\n[event]\ntype = \"{query_string_hash:base}\"";
        let method = if text(vector, "method") == "get" {
            "get"
        } else {
            "POST"
        };
        let asked = given(definition).method(method).url(text(vector, "url"));
        let asked = asked.cfg("base", text(vector, "base")).body("x");
        asked.events(|events| assert_eq!(events[0].event_type, text(vector, "hash"), "{vector}"));
    }
}

#[test]
fn a_secret_may_count_in_its_compatibility_form() {
    let vector = &VECTORS["nfkd"];
    let definition = |key: &str| {
        let text = format!("[[verify]]\nscheme = \"hmac\"\nsignature = \"header:x-sig\"\nkey = \"{key}\"");
        given(&text)
            .header("x-sig", self::text(vector, "signature"))
            .body(body())
    };
    definition("nfkd").secret(text(vector, "secret")).is("body");
    definition("utf8")
        .secret(text(vector, "secret"))
        .is("signature_wrong");
}

const CERTIFICATE_URL: &str = "https://api.acme.test/v1/certs/CERT-1";

/// A body signed by the leaf, under a rule of chains, with what is served.
fn chained(rule: &str, served: &[&str]) -> Given {
    let vector = &VECTORS["chain"];
    let definition = format!(
        "[[verify]]\nscheme = \"public-key\"\nalgorithm = \"rsa-sha256\"\nencoding = \"base64\"\nsignature = \"header:x-sig\"\n\
         [verify.key]\ncertificate = \"{{header:x-cert-url}}\"\nhosts = [\"api.acme.test\"]\n{rule}"
    );
    let served: String = served.iter().map(|name| text(vector, name)).collect();
    let request = given(&definition).header("x-sig", text(vector, "signature"));
    let request = request.header("x-cert-url", CERTIFICATE_URL).body(body());
    request.fetched(CERTIFICATE_URL, Box::leak(served.into_boxed_str()), NOW)
}

#[test]
fn a_chain_must_end_in_a_root_that_the_definition_trusts() {
    let vector = &VECTORS["chain"];
    let trusting =
        |root: &str, name: &str| format!("chain = '''{}'''\nname = \"{name}\"", text(vector, root));
    let name = text(vector, "name");
    let whole = ["leaf", "middle"];
    chained("", &["leaf"]).is("body");
    chained(&trusting("root", name), &whole).is("body");
    chained(&trusting("root", name), &["leaf", "middle", "root"]).is("body");
    chained(&trusting("root", name), &["leaf"]).is("key_untrusted");
    chained(&trusting("other", name), &whole).is("key_untrusted");
    chained(&trusting("root", "elsewhere.acme.test"), &whole).is("key_untrusted");
    chained(&format!("chain = \"public\"\nname = \"{name}\""), &whole).is("key_untrusted");
    chained(&trusting("root", name), &["middle", "leaf"]).is("key_untrusted");
    chained(&trusting("root", name), &whole)
        .at(1_500_000_000_000)
        .is("key_unknown");
    chained(&trusting("root", name), &whole)
        .body("{}")
        .is("signature_wrong");
}
