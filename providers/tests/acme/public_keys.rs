//! Schemes with public keys and tokens: keys pasted, fetched, unknown, outdated; claims bound and not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate_providers::NoKeySets;

use crate::schemes::mac;
use crate::{Given, NOW, given};

/// Made with `openssl pkeyutl -sign -rawin` and `openssl dgst -sha256 -sign` over `1795255200{"a":1}`.
const ED25519: [&str; 3] = [
    "MCowBQYDK2VwAyEAxtk6NMMVoFAKBbEZycjn1YXhMSYpSXjXUr+LJewEeZk=",
    "c6d93a34c315a0500a05b119c9c8e7d585e13126294978d752bf8b25ec047999",
    "637343f57a877e615156626757e91241dc2623d0a7ec17aa0828c387b78593114bf6b5eff8c1945bbdbcf859f8da8f36ebab7e046d230f204a2dbad089910703",
];
const P256: [&str; 2] = [
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMfbBSvWO4q6LgxHvcm6ki8nJqgUaz47Y1ej/EvdtYqsiKYxezVxJiBbztJmIaHtrsLZ9dwGQS3yp9FtWBcMRug==",
    "MEUCIENWZvQ+6rBsJMX9gqs2igerTdzdarwMQ24lH6XT504UAiEAqXQSikL2uSFRcsq6AAh4wARoUB2p8YJP7n16gjBJRbM=",
];

#[test]
fn public_keys_verify_templates() {
    let scheme = |algorithm: &str, encoding: &str| {
        let text = format!(
            "[[verify]]\nscheme = \"public-key\"\nalgorithm = \"{algorithm}\"\nencoding = \"{encoding}\"\n\
             signature = \"header:x-sig\"\nsigned = \"{{header:x-t}}{{body}}\""
        );
        given(&text).header("x-t", "1795255200").body(r#"{"a":1}"#)
    };
    for key in &ED25519[..2] {
        scheme("ed25519", "hex")
            .secret(key)
            .header("x-sig", ED25519[2])
            .is("body");
    }
    scheme("ecdsa-p256-sha256", "base64")
        .secret(P256[0])
        .header("x-sig", P256[1])
        .is("body");
    scheme("ecdsa-p256-sha256", "base64")
        .secret(P256[0])
        .header("x-sig", P256[1])
        .body("{}")
        .is("signature_wrong");
    scheme("ecdsa-p256-sha256", "base64")
        .secret(ED25519[0])
        .header("x-sig", P256[1])
        .is("signature_wrong");
    scheme("ed25519", "hex")
        .secret("no key")
        .header("x-sig", ED25519[2])
        .is("secret_unusable");
    scheme("ed25519", "hex")
        .header("x-sig", ED25519[2])
        .is("secret_missing");
}

const CERTIFICATE: &str = include_str!("keys/certificate.pem");
const NOTIFICATION: &str = r#"{"Type":"Notification","Message":"hello","MessageId":"m-1","TopicArn":"arn:acme:1",
    "Timestamp":"2026-11-21T10:00:00Z","SignatureVersion":"VERSION","Signature":"SIGNATURE",
    "SigningCertURL":"https://sns.eu.acme.test/cert.pem"}"#;

fn notification(version: &str, signature: &str) -> Given {
    let text = r#"
        [cfg.topic]
        about = "the topic"
        [[verify]]
        scheme = "public-key"
        algorithm = { by = "{body:SignatureVersion}", "1" = "rsa-sha1", "2" = "rsa-sha256" }
        encoding = "base64"
        signature = "body:Signature"
        signed = "Message\n{body:Message}\nMessageId\n{body:MessageId}\n[Subject\n{body:Subject}\n]Timestamp\n{body:Timestamp}\nTopicArn\n{body:TopicArn}\nType\n{body:Type}\n"
        key = { certificate = "{body:SigningCertURL}", hosts = ["sns.*.acme.test"], path = "*.pem" }
        require = { "body:TopicArn" = "{cfg:topic}" }
    "#;
    let body = NOTIFICATION
        .replace("VERSION", version)
        .replace("SIGNATURE", signature.trim());
    given(text)
        .cfg("topic", "arn:acme:1")
        .body(body)
        .header("content-type", "text/plain")
}

#[test]
fn certificates_are_fetched_under_a_closed_rule() {
    let url = "https://sns.eu.acme.test/cert.pem";
    let right = || notification("2", include_str!("keys/notification.sha256"));
    right().fetched(url, CERTIFICATE, NOW).is("fields");
    notification("1", include_str!("keys/notification.sha1"))
        .fetched(url, CERTIFICATE, NOW)
        .is("fields");
    right().is(&format!("undecided: {url}"));
    right()
        .fetched(url, CERTIFICATE, NOW)
        .cfg("topic", "arn:other")
        .is("origin_wrong");
    right()
        .fetched(url, CERTIFICATE, NOW)
        .at(1_700_000_000_000)
        .is("key_unknown");
    notification("3", "AAAA")
        .fetched(url, CERTIFICATE, NOW)
        .is("signature_malformed");
    let mut elsewhere = right();
    elsewhere.body = String::from_utf8(elsewhere.body)
        .expect("UTF-8")
        .replace("sns.eu.acme.test", "sns.eu.acme.test.evil.test")
        .into();
    elsewhere.is("key_address_refused");
}

const SET_URL: &str = "https://login.acme.test/keys";
const SET: &str = include_str!("keys/set.json");

fn token(claims: &str) -> Given {
    let text = format!(
        "[cfg.audience]\nabout = \"audience\"\n[event]\ntype = \"{{claims:who}}\"\n[[verify]]\nscheme = \"jwt\"\n\
         token = \"header:authorization\"\nprefix = \"Bearer \"\nalgorithms = [\"RS256\"]\nkey = {{ jwks = \"{SET_URL}\" }}\n\
         leeway = 0\n[verify.claims]\niss = [\"other\", \"acme\"]\naud = \"{{cfg:audience}}\"\n{claims}"
    );
    let bearer = format!("bearer {}", include_str!("keys/token.jwt").trim());
    given(&text)
        .cfg("audience", "hooks")
        .header("authorization", bearer)
        .body(r#"{"a":1}"#)
}

#[test]
fn jwts_are_verified_by_fetched_keys_and_their_claims() {
    let fetched = |claims: &str| token(claims).fetched(SET_URL, SET, NOW - 1);
    fetched("").is("origin");
    fetched("").events(|events| assert_eq!(events[0].event_type, "me"));
    fetched("body = \"{body|sha256_hex}\"").is("body");
    fetched("body = \"{body|sha256_hex}\"")
        .body("{}")
        .is("claim_wrong");
    fetched("missing = \"x\"").is("claim_wrong");
    fetched("").cfg("audience", "elsewhere").is("claim_wrong");
    fetched("").cfg("audience", "").is("claim_wrong");
    fetched("").at(NOW + 60_001).is("expired");
    fetched("").at(NOW + 60_000).is("origin");
    token("").is(&format!("undecided: {SET_URL}"));
    let others = SET.replace("k1", "k2");
    let others: &'static str = Box::leak(others.into_boxed_str());
    token("")
        .fetched(SET_URL, others, NOW - 1)
        .is(&format!("undecided: {SET_URL}"));
    token("").fetched(SET_URL, others, NOW).is("key_unknown");
}

fn hs256(header: &str, claims: &str, key: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(key, &signed)))
}

#[test]
fn a_body_may_be_a_jwt() {
    let acme = given(
        "[body]\ndocument = [\"claims\"]\n[event]\ntype = \"{claims:state}\"\nid = \"{body:call}\"\n[[verify]]\nscheme = \"jwt\"\n\
         token = \"body\"\nalgorithms = [\"HS256\"]\nrequire_claims = []",
    );
    let acme = acme.secret("k");
    let right = hs256(r#"{"alg":"HS256"}"#, r#"{"state":"ringing","call":7}"#, "k");
    let good = acme.clone().body(right.as_str());
    good.is("body");
    good.events(|events| {
        assert_eq!(
            (events[0].event_type.as_ref(), events[0].delivery_id.as_deref()),
            ("ringing", Some("7"))
        );
    });
    acme.clone()
        .body(hs256(r#"{"alg":"HS256"}"#, "{}", "other"))
        .is("signature_wrong");
    acme.clone()
        .body(hs256(r#"{"alg":"none"}"#, "{}", "k"))
        .is("jwt_algorithm");
    acme.clone()
        .body(hs256(r#"{"alg":"HS512"}"#, "{}", "k"))
        .is("jwt_algorithm");
    acme.clone()
        .body(hs256(r#"{"alg":"HS256","crit":["x"]}"#, "{}", "k"))
        .is("jwt_algorithm");
    acme.clone().body(hs256("no json", "{}", "k")).is("jwt_malformed");
    acme.clone().body("a.b").is("jwt_malformed");
    acme.clone().body("").is("signature_missing");
}

#[test]
fn no_secret_and_no_key_is_ever_needed_where_nothing_is_proved() {
    let acme = given("[[verify]]\nscheme = \"none\"").body("x");
    acme.is("none");
    let request = acme.definition.parse(acme.raw());
    assert!(
        acme.definition
            .verify(&request, Default::default(), &NoKeySets)
            .is_ok()
    );
    assert!(!acme.definition.needs_secret() && !acme.definition.needs_network());
}
