//! How `[[verify]]` blocks stand together: elements that prove themselves, weaker and stronger schemes, and the Standard
//! Webhooks scheme with codes and with public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_schemas::Outcome;

use crate::schemes::mac;
use crate::{Given, NOW, given};

#[test]
fn each_element_may_prove_itself() {
    let per_event = given("[event]\neach = \"body:rows[]\"\n[[verify]]\nscheme = \"token\"\ntoken = \"event:t\"\nper = \"event\"").secret("s");
    let mixed = per_event.clone().body(r#"{"rows":[{"t":"no"},{"t":"s"},{}]}"#);
    mixed.is("token");
    mixed.events(|events| {
        let dropped: Vec<_> = events
            .iter()
            .map(|event| event.dropped.as_ref().map(|d| (d.outcome, d.reason.label())))
            .collect();
        let rejected = |reason| Some((Outcome::Rejected, reason));
        assert_eq!(
            dropped,
            [rejected("token_wrong"), None, rejected("signature_missing")]
        );
    });
    per_event
        .clone()
        .body(r#"{"rows":[{"t":"no"},{"t":"nor"}]}"#)
        .is("token_wrong");
    per_event.clone().body(r#"{"rows":[]}"#).is("signature_missing");
    per_event.clone().body("[]").is("events_missing");
}

fn strong_and_weak() -> Given {
    given("[[verify]]\nscheme = \"standard-webhooks\"\nsecrets = \"whsec_*\"\n[[verify]]\nscheme = \"token\"\ntoken = \"header:x-token\"").body("x")
}

fn standard(given: Given, key: &[u8]) -> Given {
    let stamp = NOW / 1000;
    let signature = STANDARD.encode(mac(key, format!("id1.{stamp}.x")));
    let given = given
        .header("webhook-id", "id1")
        .header("webhook-timestamp", stamp.to_string());
    given.header("webhook-signature", format!("v1,AAAA v1,{signature}"))
}

#[test]
fn a_weaker_scheme_never_stands_in_for_a_configured_stronger_one() {
    strong_and_weak()
        .secret("plain")
        .header("x-token", "plain")
        .is("token");
    standard(strong_and_weak().secret("whsec_aGk="), b"hi").is("body");
    strong_and_weak()
        .secret("whsec_aGk=")
        .secret("plain")
        .header("x-token", "plain")
        .is("downgrade");
    strong_and_weak()
        .secret("whsec_aGk=")
        .header("x-token", "whsec_aGk=")
        .is("downgrade");
    standard(
        strong_and_weak().secret("plain").header("x-token", "plain"),
        b"hi",
    )
    .is("token");
    standard(strong_and_weak(), b"hi").is("secret_missing");
    strong_and_weak().secret("whsec_aGk=").is("signature_missing");
}

#[test]
fn standard_webhooks_take_public_keys_too() {
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
    let public = format!(
        "whpk_{}",
        STANDARD.encode(ring::signature::KeyPair::public_key(&pair))
    );
    let stamp = NOW / 1000;
    let signature = STANDARD.encode(pair.sign(format!("id1.{stamp}.x").as_bytes()));
    let acme = given("[[verify]]\nscheme = \"standard-webhooks\"")
        .secret(&public)
        .body("x");
    let acme = acme
        .header("webhook-id", "id1")
        .header("webhook-timestamp", stamp.to_string());
    acme.clone()
        .header("webhook-signature", format!("v1a,{signature}"))
        .is("body");
    acme.clone()
        .header("webhook-signature", format!("v1,{signature}"))
        .is("signature_wrong");
    acme.clone()
        .header("webhook-signature", "v2,AAAA")
        .is("signature_malformed");
    acme.clone()
        .body("y")
        .header("webhook-signature", format!("v1a,{signature}"))
        .is("signature_wrong");
    let late = acme
        .at(NOW + 301_000)
        .header("webhook-signature", format!("v1a,{signature}"));
    late.is("expired");
}
