//! Schemes of proof: each verifies what it should, and refuses everything else for its own reason.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::{NOW, given};

pub(crate) fn mac(key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("any key");
    mac.update(text.as_ref());
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex_mac(key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> String {
    hex::encode(mac(key, text))
}

pub(crate) const HMAC: &str = "[[verify]]\nscheme = \"hmac\"\nsignature = \"header:x-sig\"\n";

#[test]
fn hmac_refuses_each_fault_for_its_own_reason() {
    let acme = given(HMAC).body("{}");
    let right = hex_mac("k", "{}");
    acme.clone().secret("k").header("x-sig", &right).is("body");
    acme.clone()
        .secret("k")
        .header("x-sig", right.to_uppercase())
        .is("body");
    acme.clone()
        .secret("old")
        .secret("k")
        .header("x-sig", &right)
        .is("body");
    acme.clone()
        .secret("wrong")
        .header("x-sig", &right)
        .is("signature_wrong");
    acme.clone()
        .secret("k")
        .header("x-sig", "zz")
        .is("signature_malformed");
    acme.clone()
        .secret("k")
        .header("x-sig", "00")
        .is("signature_wrong");
    acme.clone()
        .secret("k")
        .header("x-sig", "")
        .is("signature_missing");
    acme.clone().secret("k").is("signature_missing");
    acme.clone().header("x-sig", &right).is("secret_missing");
    acme.clone()
        .secret("")
        .header("x-sig", &right)
        .is("secret_missing");
    acme.clone().unverified_allowed().is("none");
    acme.clone()
        .unverified_allowed()
        .secret("k")
        .header("x-sig", "00")
        .is("signature_wrong");
}

#[test]
fn prefixes_and_encodings_are_required() {
    let acme = given(&format!("{HMAC}prefix = \"sha256 \"\nencoding = \"base64\""))
        .secret("k")
        .body("x");
    let right = STANDARD.encode(mac("k", "x"));
    acme.clone().header("x-sig", format!("sha256 {right}")).is("body");
    acme.clone()
        .header("x-sig", format!("sha256 {}", right.trim_end_matches('=')))
        .is("body");
    acme.clone().header("x-sig", &right).is("signature_malformed");
    let url = given(&format!("{HMAC}encoding = \"base64url\""))
        .secret("k")
        .body("x");
    url.header("x-sig", URL_SAFE_NO_PAD.encode(mac("k", "x")))
        .is("body");
}

#[test]
fn lists_name_place_or_repeat_their_signatures() {
    let stamp = NOW / 1000;
    let right = hex_mac("k", format!("{stamp}.x"));
    let named = format!(
        "{HMAC}list = {{ name = \"v1\" }}\nsigned = \"{{part:t}}.{{body}}\"\ntimestamp = \"{{part:t}}\""
    );
    let acme = given(&named).secret("k").body("x");
    acme.clone()
        .header("x-sig", format!("t={stamp},v1=00,v1={right},v0=zz"))
        .is("body");
    acme.clone()
        .header("x-sig", format!("t={stamp}, v1={right}"))
        .is("body");
    acme.clone()
        .header("x-sig", format!("t={stamp},v0={right}"))
        .is("signature_missing");
    acme.clone()
        .header("x-sig", format!("t={stamp},v1=zz"))
        .is("signature_malformed");
    acme.clone()
        .header("x-sig", format!("v1={right}"))
        .is("timestamp_missing");
    acme.clone()
        .header("x-sig", format!("t=soon,v1={right}"))
        .is("timestamp_malformed");

    let placed = format!("{HMAC}list = {{ position = 1 }}\nsigned = \"{{part:0}}.{{body}}\"");
    given(&placed)
        .secret("k")
        .body("x")
        .header("x-sig", format!("{stamp},00,{right}"))
        .is("body");

    let sets = format!("{HMAC}list = {{ sets = \" \", name = \"v1\" }}\nsigned = \"{{part:t}}.{{body}}\"");
    let two = format!("t=1,v1={right} t={stamp},v1={right}");
    given(&sets).secret("k").body("x").header("x-sig", two).is("body");

    let pairs = format!(
        "[cfg.id]\nabout = \"id\"\n{HMAC}list = {{ separator = \"&\", assign = \"|\", name = \"{{cfg:id}}\" }}"
    );
    let both = format!("other|00&mine|{}", hex_mac("k", "x"));
    given(&pairs)
        .cfg("id", "mine")
        .secret("k")
        .body("x")
        .header("x-sig", both)
        .is("body");

    let by_entry = format!("{HMAC}list = {{ assign = \"/\", name = \"*\" }}\nkey = {{ by = \"{{entry}}\" }}");
    let acme = given(&by_entry).labelled("a", "ka").labelled("b", "kb").body("x");
    acme.clone()
        .header("x-sig", format!("b/{}", hex_mac("kb", "x")))
        .is("body");
    acme.clone()
        .header("x-sig", format!("b/{}", hex_mac("ka", "x")))
        .is("signature_wrong");
}

#[test]
fn several_places_may_hold_the_signature() {
    let right = hex_mac("k", "x");
    let two = HMAC.replace("\"header:x-sig\"", "[\"header:x-first\", \"header:x-second\"]");
    given(&two)
        .secret("k")
        .body("x")
        .header("x-first", "00")
        .header("x-second", &right)
        .is("body");
    let numbered = HMAC.replace("x-sig", "x-sig-*");
    let acme = given(&numbered).secret("k").body("x");
    acme.clone()
        .header("x-sig-1", "00")
        .header("x-sig-2", &right)
        .is("body");
    acme.clone().header("x-other", &right).is("signature_missing");
    let inside = HMAC.replace("header:x-sig", "header:x-sig|base64_json:signature");
    let wrapped = STANDARD.encode(format!("{{\"signature\":\"{right}\"}}"));
    given(&inside)
        .secret("k")
        .body("x")
        .header("x-sig", wrapped)
        .is("body");
}

#[test]
fn keys_are_made_of_secrets_in_every_way() {
    let check = |key: &str, secret: &str, bytes: &[u8]| {
        let acme = given(&format!("[cfg.id]\nabout = \"id\"\n{HMAC}key = {key}"))
            .cfg("id", "c")
            .body("x");
        acme.clone()
            .secret(secret)
            .header("x-sig", hex_mac(bytes, "x"))
            .is("body");
    };
    check("\"utf8\"", "whsec_aGk=", b"whsec_aGk=");
    check("\"hex\"", "6869", b"hi");
    check("\"base64\"", "aGk", b"hi");
    check("\"whsec\"", "whsec_aGk=", b"hi");
    check("\"whsec\"", "v1,whsec_aGk=", b"hi");
    check("\"whsec\"", "aGk=", b"hi");
    check("\"whsec_or_utf8\"", "plain", b"plain");
    check("\"whsec_or_utf8\"", "whsec_aGk=", b"hi");
    check("\"sha256\"", "s", &Sha256::digest("s"));
    check("\"sha1\"", "s", &sha1::Sha1::digest("s"));
    check("{ text = \"{cfg:id}&{secret}\" }", "s", b"c&s");
    check("{ text = '{secret|after(\":\")}' }", "app:s", b"s");
    check("{ constant = \"fixed\" }", "", b"fixed");
    let unusable = given(&format!("{HMAC}key = \"hex\""))
        .body("x")
        .header("x-sig", "00");
    unusable.clone().secret("no hex").is("secret_unusable");
    unusable.secret("no hex").secret("00").is("signature_wrong");
}

#[test]
fn a_label_chooses_the_secret() {
    let acme = given(&format!("{HMAC}key = {{ by = \"{{body:hook}}\" }}")).body(r#"{"hook":"h2"}"#);
    let sign = |key: &str| hex_mac(key, r#"{"hook":"h2"}"#);
    acme.clone()
        .labelled("h1", "k1")
        .labelled("h2", "k2")
        .header("x-sig", sign("k2"))
        .is("body");
    acme.clone()
        .labelled("h1", "k1")
        .labelled("h2", "k2")
        .header("x-sig", sign("k1"))
        .is("signature_wrong");
    acme.clone()
        .labelled("h1", "k1")
        .secret("k")
        .header("x-sig", sign("k"))
        .is("body");
    acme.clone()
        .labelled("h1", "k1")
        .header("x-sig", sign("k1"))
        .is("secret_missing");
}

#[test]
fn age_is_measured_at_receipt_and_inclusive() {
    let aged = format!(
        "{HMAC}signed = \"{{header:x-t}}.{{body}}\"\ntimestamp = \"{{header:x-t}}\"\ntimestamp_format = \"ms\"\n"
    );
    let acme = given(&aged).secret("k").body("x").header("x-t", NOW.to_string());
    let acme = acme.header("x-sig", hex_mac("k", format!("{NOW}.x")));
    acme.clone().at(NOW + 300_000).is("body");
    acme.clone().at(NOW - 300_000).is("body");
    acme.clone().at(NOW + 300_001).is("expired");
    acme.clone().at(NOW - 300_001).is("expired");
    acme.clone().at(NOW + 400_000).body("y").is("signature_wrong");

    let past = given(&format!("{aged}tolerance = 5\ntolerance_past_only = true"))
        .secret("k")
        .body("x");
    let past = past
        .header("x-t", NOW.to_string())
        .header("x-sig", hex_mac("k", format!("{NOW}.x")));
    past.clone().at(NOW - 3_600_000).is("body");
    past.clone().at(NOW - 2 * 86_400_000).is("expired");
    past.clone().at(NOW + 5_001).is("expired");

    let any = given(&format!("{aged}tolerance = false")).secret("k").body("x");
    any.header("x-t", "1")
        .header("x-sig", hex_mac("k", "1.x"))
        .is("body");
}

#[test]
fn a_signed_part_that_is_missing_is_named() {
    let acme = given(&format!("{HMAC}signed = \"{{header:x-id}}.{{body}}\""))
        .secret("k")
        .body("x");
    acme.clone()
        .header("x-sig", hex_mac("k", ".x"))
        .is("signature_missing");
    let parts = given(&format!(
        "{HMAC}signed = \"[id:{{query:id|lower}};][t:{{header:x-t}};]\""
    ))
    .secret("k");
    parts
        .clone()
        .url("https://hooks.test/?id=A")
        .header("x-sig", hex_mac("k", "id:a;"))
        .is("fields");
    parts
        .clone()
        .header("x-t", "1")
        .header("x-sig", hex_mac("k", "t:1;"))
        .is("fields");
}

#[test]
fn urls_forms_and_canonical_requests_can_be_signed() {
    let form = given(&format!(
        "{HMAC}signed = [\"{{url}}{{form_sorted?}}\", \"{{url|with_port}}{{form_sorted?}}\"]"
    ));
    let form = form
        .secret("k")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("b=2&a=1+1");
    form.clone()
        .header("x-sig", hex_mac("k", "https://hooks.test/webhook/e/acmea1 1b2"))
        .is("body");
    form.clone()
        .header(
            "x-sig",
            hex_mac("k", "https://hooks.test:443/webhook/e/acmea1 1b2"),
        )
        .is("body");
    form.clone()
        .body("b=2&a=2")
        .header("x-sig", hex_mac("k", "https://hooks.test/webhook/e/acmea1 1b2"))
        .is("signature_wrong");

    let signed = "{method}\\n{url_path}\\n{signed_headers:x-list}\\n{body}";
    let canonical = given(&format!("{HMAC}signed = \"{signed}\""))
        .secret("k")
        .body("x")
        .header("X-B", " two ");
    let canonical = canonical.header("x-a", "one").header("x-list", "X-B;x-a");
    canonical
        .header(
            "x-sig",
            hex_mac("k", "POST\n/webhook/e/acme\nx-a:one\nx-b:two\nx"),
        )
        .is("body");

    let query = "signed = \"{url}\"\nrequire = { \"query:sum\" = \"{body|sha256_hex}\" }";
    let url = format!("https://hooks.test/?sum={}", hex::encode(Sha256::digest("x")));
    let bound = given(&format!("{HMAC}{query}"))
        .secret("k")
        .url(&url)
        .header("x-sig", hex_mac("k", &url));
    bound.clone().body("x").is("body");
    bound.clone().body("y").is("origin_wrong");
}

#[test]
fn settings_may_be_the_integrations() {
    let choosable = "[cfg.hash]\nabout = \"hash\"\n[cfg.header]\nabout = \"header\"\n[cfg.signed]\nabout = \"signed\"\n\
        [[verify]]\nscheme = \"hmac\"\nsignature = \"header:<cfg:header>\"\nhash = { cfg = \"hash\", default = \"sha256\" }\n\
        signed = { cfg = \"signed\", default = \"{body}\" }\n";
    let acme = given(choosable).secret("k").body("x").cfg("header", "X-Mine");
    acme.clone().header("x-mine", hex_mac("k", "x")).is("body");
    let template = acme
        .clone()
        .cfg("signed", "{header:x-t}:{body}")
        .header("x-t", "7");
    template.header("x-mine", hex_mac("k", "7:x")).is("body");
    acme.clone()
        .cfg("hash", "md5")
        .header("x-mine", "00")
        .is("secret_unusable");
    acme.clone()
        .cfg("signed", "{header:x-t}")
        .header("x-t", "7")
        .header("x-mine", hex_mac("k", "7"))
        .is("secret_unusable");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"k").expect("any key");
    mac.update(b"x");
    acme.cfg("hash", "sha1")
        .header("x-mine", hex::encode(mac.finalize().into_bytes()))
        .is("body");
}

#[test]
fn a_digest_holds_the_secret() {
    let digest =
        "[[verify]]\nscheme = \"digest\"\nsignature = \"header:x-sig\"\nsigned = \"{secret}{body}\"\n";
    let right = hex::encode(Sha256::digest("kx"));
    given(digest)
        .secret("old")
        .secret("k")
        .body("x")
        .header("x-sig", &right)
        .is("body");
    given(digest)
        .secret("no")
        .body("x")
        .header("x-sig", &right)
        .is("signature_wrong");
    given(digest)
        .body("x")
        .header("x-sig", &right)
        .is("secret_missing");
}

#[test]
fn tokens_and_basic_credentials_prove_the_sender_alone() {
    let token = given(
        "[[verify]]\nscheme = \"token\"\ntoken = [\"header:x-token\", \"body:token\"]\nprefix = \"Bearer \"",
    );
    token
        .clone()
        .secret("s")
        .header("x-token", "Bearer s")
        .is("token");
    token
        .clone()
        .secret("s")
        .body(r#"{"token":"Bearer s"}"#)
        .is("token");
    token.clone().secret("s").header("x-token", "s").is("token_wrong");
    token
        .clone()
        .secret("s")
        .header("x-token", "Bearer t")
        .is("token_wrong");
    token.clone().secret("s").is("signature_missing");
    token.clone().header("x-token", "Bearer s").is("secret_missing");

    let basic = given("[[verify]]\nscheme = \"basic\"").secret("user:pass word");
    basic
        .clone()
        .header(
            "authorization",
            format!("Basic {}", STANDARD.encode("user:pass word")),
        )
        .is("token");
    basic
        .clone()
        .header("authorization", format!("basic {}", STANDARD.encode("user:no")))
        .is("token_wrong");
    basic
        .clone()
        .header("authorization", "Bearer x")
        .is("signature_missing");
    basic
        .clone()
        .header("authorization", "Basic \u{1}")
        .is("signature_missing");
}
