//! The limits of `[providers]`: what lies within passes, what lies beyond is refused with the key's name. In: definitions with
//! small limits. Out: refusals.

use tidegate_providers::{Config, Unverified};

use crate::schemes::{HMAC, hex_mac};
use crate::{Given, given};

const NONE: &str = "[[verify]]\nscheme = \"none\"\n";

/// The refusal, by verifying or by splitting.
fn refusal(request: &Given) -> String {
    match request.verify() {
        Err(Unverified::Refused(refusal)) => refusal.to_string(),
        Err(Unverified::Undecided(_)) => "undecided".to_owned(),
        Ok(_) => request.split_refusal().unwrap_or_else(|| "none".to_owned()),
    }
}

#[track_caller]
fn check(request: &Given, key: Option<&str>) {
    let refusal = refusal(request);
    match key {
        None => assert_eq!(refusal, "none"),
        Some(key) => assert!(refusal.contains(&format!("(providers.{key})")), "{refusal}"),
    }
}

#[test]
fn json_may_be_so_deep() {
    let limits = Config {
        json_depth_max: 3,
        ..Config::default()
    };
    let acme = given(NONE)
        .limits(limits)
        .header("content-type", "application/json");
    check(&acme.clone().body("[[[[]]]]"), None);
    check(&acme.clone().body("[[[[1]]]]"), Some("json_depth_max"));
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let unlimited = Config {
        json_depth_max: u32::MAX,
        ..Config::default()
    };
    let acme = acme.limits(unlimited);
    check(&acme.clone().body(deep(1000)), None);
    check(&acme.body(deep(100_000)), Some("json_depth_max"));
}

#[test]
fn forms_may_have_so_many_fields() {
    let limits = Config {
        form_fields_max: 2,
        ..Config::default()
    };
    let acme = given(NONE).limits(limits);
    let form = acme.header("content-type", "application/x-www-form-urlencoded");
    check(&form.clone().body("a=1&b=2"), None);
    check(&form.body("a=1&b=2&c=3"), Some("form_fields_max"));
}

#[test]
fn so_many_signatures_are_tried() {
    let limits = Config {
        signatures_max: 2,
        standard_entries_max: 2,
        ..Config::default()
    };
    let right = hex_mac("k", "x");
    let list = format!("{HMAC}list = {{ name = \"v1\" }}");
    let sets = format!("{HMAC}list = {{ sets = \" \", name = \"v1\" }}");
    for (definition, mark) in [(list, ","), (sets, " ")] {
        let acme = given(&definition).limits(limits).secret("k").body("x");
        let wrong = format!("v1=00{mark}");
        let signed = |text: String| acme.clone().header("x-sig", text);
        check(&signed(format!("{wrong}v1={right}")), None);
        check(
            &signed(format!("{wrong}{wrong}v1={right}")),
            Some("signatures_max"),
        );
    }
    let standard = given("[[verify]]\nscheme = \"standard-webhooks\"\n")
        .limits(limits)
        .secret("whsec_aGk=");
    let standard = standard
        .header("webhook-id", "m")
        .header("webhook-timestamp", (crate::NOW / 1000).to_string());
    check(
        &standard.header("webhook-signature", "v1,AA== v1,AA== v1,AA=="),
        Some("standard_entries_max"),
    );
}
