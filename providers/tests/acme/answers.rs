//! Handshakes, replies and masks.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidegate_providers::{Answer, Awaiting, Reply, SecretAt};
use tidegate_schemas::Reason;

use crate::{Given, given};

const SIGNED: &str = "[[verify]]\nscheme = \"token\"\ntoken = \"header:x-token\"\n";
const NOTHING: Awaiting = Awaiting {
    integration: false,
    connection: false,
};

fn acme(handshake: &str) -> Given {
    given(&format!(
        "[cfg.token]\nabout = \"token\"\n{SIGNED}[[handshake]]\n{handshake}"
    ))
    .secret("s")
}

fn answered(given: &Given, awaiting: Awaiting) -> Answer {
    match given.handshake(awaiting).expect("a handshake") {
        Ok(answer) => answer,
        Err(refused) => panic!("{}", refused.refusal),
    }
}

fn text(reply: &Reply) -> (u16, Option<&str>, String) {
    let content_type = reply
        .headers
        .iter()
        .find(|(name, _)| name == "content-type")
        .map(|(_, value)| value.as_str());
    (
        reply.status,
        content_type,
        String::from_utf8_lossy(&reply.body).into_owned(),
    )
}

#[test]
fn handshakes_are_answered_by_method_and_condition() {
    let text_reply = "method = [\"GET\", \"HEAD\"]\nverify = false\nwhen = { \"query:challenge\" = \"*\" }\ntext = \"{query:challenge}\"";
    let get = acme(text_reply)
        .method("GET")
        .url("https://hooks.test/?challenge=a%3Cb");
    assert_eq!(
        text(&answered(&get, NOTHING).reply),
        (200, Some("text/plain"), "a<b".into())
    );
    assert!(get.clone().method("POST").handshake(NOTHING).is_none());
    assert!(get.url("https://hooks.test/").handshake(NOTHING).is_none());

    let options = "method = \"OPTIONS\"\nverify = false\nheaders = { WebHook-Allowed-Origin = \"{header:webhook-request-origin}\", \
        WebHook-Allowed-Rate = \"{header:webhook-request-rate}\" }";
    let options = acme(options)
        .method("OPTIONS")
        .header("webhook-request-origin", "acme.test");
    assert_eq!(
        answered(&options, NOTHING).reply.headers,
        [("webhook-allowed-origin".to_owned(), "acme.test".to_owned())]
    );
}

#[test]
fn a_header_cannot_be_broken_out_of() {
    let echo = acme("verify = false\nheaders = { x-echo = \"{query:e}\" }")
        .url("https://hooks.test/?e=a%0d%0aset-cookie:x");
    assert_eq!(answered(&echo, NOTHING).reply.headers, []);
}

#[test]
fn only_the_verified_are_answered_unless_the_definition_says_otherwise() {
    let json = "when = { \"body:type\" = \"check\" }\njson = { plain = \"{body:t}\", code = '{body:t|hmac(\"sha256\",\"hex\")}', n = 1, l = [\"{body:t}\"] }";
    let check = acme(json).body(r#"{"type":"check","t":"a\"b"}"#);
    let mut code = Hmac::<Sha256>::new_from_slice(b"s").expect("any key");
    code.update(b"a\"b");
    let code = hex::encode(code.finalize().into_bytes());
    let reply = answered(&check.clone().header("x-token", "s"), NOTHING).reply;
    let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(
        (&body["plain"], &body["n"], &body["l"][0]),
        (&"a\"b".into(), &1.into(), &"a\"b".into())
    );
    assert_eq!(body["code"], code);
    let refused = check
        .header("x-token", "no")
        .handshake(NOTHING)
        .expect("a handshake")
        .err()
        .expect("refused");
    assert_eq!(
        (refused.reply.status, refused.refusal.reason),
        (401, Reason::SignatureMissing)
    );
}

#[test]
fn a_handshakes_own_token_is_required() {
    let require = "method = \"GET\"\nverify = false\nrequire = { \"query:token\" = \"{cfg:token}\" }\nrefused = 404\nstatus = 204";
    let get = acme(require).method("GET").cfg("token", "mine");
    assert_eq!(
        text(&answered(&get.clone().url("https://hooks.test/?token=mine"), NOTHING).reply),
        (204, None, String::new())
    );
    for (url, cfg) in [
        ("https://hooks.test/?token=no", "mine"),
        ("https://hooks.test/", "mine"),
        ("https://hooks.test/?token=", ""),
    ] {
        let refused = get
            .clone()
            .url(url)
            .cfg("token", cfg)
            .handshake(NOTHING)
            .expect("a handshake")
            .err()
            .expect("refused");
        assert_eq!(
            (refused.reply.status, refused.refusal.reason),
            (404, Reason::HandshakeRefused),
            "{url}"
        );
    }
}

#[test]
fn a_delivered_secret_is_stored_only_while_it_is_awaited() {
    let store = "verify = false\nwhen = { \"header:x-hook-secret\" = \"*\" }\nstore = { value = \"{header:x-hook-secret}\", at = \"connection\" }\n\
        headers = { x-hook-secret = \"{header:x-hook-secret}\" }";
    let hook = acme(store).header("x-hook-secret", "delivered");
    let answer = answered(
        &hook,
        Awaiting {
            connection: true,
            integration: false,
        },
    );
    let stored = answer.store.expect("a secret to store");
    assert_eq!(
        (stored.secret.expose(), stored.at),
        (&b"delivered"[..], SecretAt::Connection)
    );
    assert!(hook.handshake(NOTHING).is_none());
    assert!(
        hook.handshake(Awaiting {
            connection: false,
            integration: true
        })
        .is_none()
    );
}

#[test]
fn confirmations_stay_within_their_hosts() {
    let call = "verify = false\ncall = { url = \"{body:url}\", hosts = [\"sns.*.acme.test\"] }";
    let good = acme(call).body(r#"{"url":"https://sns.eu.acme.test/?confirm=1"}"#);
    assert_eq!(
        answered(&good, NOTHING).call.map(|call| call.url).as_deref(),
        Some("https://sns.eu.acme.test/?confirm=1")
    );
    let bad = acme(call).body(r#"{"url":"https://169.254.169.254/"}"#);
    let refused = bad
        .handshake(NOTHING)
        .expect("a handshake")
        .err()
        .expect("refused");
    assert_eq!(refused.refusal.reason, Reason::KeyAddressRefused);
}

#[test]
fn a_handshake_that_comes_past_ingest_is_no_event() {
    let ping = acme("when = { \"body:type\" = \"check\" }")
        .header("x-token", "s")
        .body(r#"{"type":"check"}"#);
    ping.events(|events| {
        assert_eq!(
            events[0].dropped.as_ref().map(|dropped| dropped.reason),
            Some(Reason::Handshake)
        )
    });
}

#[test]
fn the_first_fitting_reply_is_given() {
    let text_of = |body: &str| {
        let replies = "[[reply]]\nwhen = { \"body:t\" = \"a\" }\nstatus = 202\ntext = \"[[ok]]\"\n[[reply]]\nwhen = { \"body:t\" = \"b\" }";
        given(&format!("{SIGNED}{replies}"))
            .body(body)
            .reply()
            .map(|reply| {
                let (status, content_type, body) = text(&reply);
                (status, content_type.map(str::to_owned), body)
            })
    };
    assert_eq!(
        text_of(r#"{"t":"a"}"#),
        Some((202, Some("text/plain".into()), "[ok]".into()))
    );
    assert_eq!(text_of(r#"{"t":"b"}"#), Some((200, None, String::new())));
    assert_eq!(text_of(r#"{"t":"c"}"#), None);
}

#[test]
fn tokens_and_redacted_values_are_written_over_byte_for_byte() {
    let token = given(
        "[[verify]]\nscheme = \"token\"\ntoken = [\"body:token\", \"header:x-token\", \"query:t\"]\n[redact]\npaths = [\"body:deep.n\", \"body:one\", \"body:inner|base64_json:x\"]",
    );
    let token = token
        .secret("s")
        .header("x-token", "abc")
        .url("https://hooks.test/?a=1&t=secret");
    let body = r#"{"token":"sec\"ret","deep":{"n":[1,2,3]},"one":7,"inner":"eyJ4IjoxfQ=="}"#;
    let (masks, masked) = token.body(body).masked();
    assert_eq!(
        masked,
        r#"{"token":"********","deep":{"n":"*****"},"one":0,"inner":"************"}"#
    );
    assert_eq!(masked.len(), body.len());
    assert_eq!(masks.query("a=1&t=secret&%74=secret"), "a=1&t=******&%74=******");
    let mut headers = tidegate_schemas::Headers::default();
    headers.push("X-Token", "abc");
    headers.push("x-other", "abc");
    assert_eq!(
        (
            masks.headers(&headers).get("x-token"),
            masks.headers(&headers).get("x-other")
        ),
        (Some("***"), Some("abc"))
    );
}

#[test]
fn tokens_of_elements_and_forms_are_masked_too() {
    let events = given(
        "[event]\neach = \"body:[]\"\n[[verify]]\nscheme = \"token\"\ntoken = \"event:t\"\nper = \"event\"",
    );
    assert_eq!(
        events.body(r#"[{"t":"ab"},{"t":"cd"}]"#).masked().1,
        r#"[{"t":"**"},{"t":"**"}]"#
    );
    let form =
        given("[body]\ndocument = [\"form:p|json\"]\n[[verify]]\nscheme = \"token\"\ntoken = \"body:t\"")
            .secret("ab");
    let form = form
        .header("content-type", "application/x-www-form-urlencoded")
        .body("x=1&p=%7B%22t%22%3A%22ab%22%7D");
    assert_eq!(form.masked().1, format!("x=1&p={}", "*".repeat(24)));
    form.events(|events| {
        assert_eq!(
            format!("{:?}", events[0].payload.place),
            format!("Own({:?})", r#"{"t":"**"}"#.as_bytes())
        );
    });
    assert_eq!(
        given("[[verify]]\nscheme = \"basic\"").masked().0.headers,
        ["authorization"]
    );
}

/// A definition's secrets, a content type, a body in which they cannot be found, and what is left of it.
const UNREADABLE: &[(&str, &str, &str, &str)] = &[
    (
        "paths = [\"body:card\"]",
        "application/json",
        r#"{"card":4242"#,
        "************",
    ),
    ("paths = [\"body:card\"]", "", r#"{"card":4242"#, "************"),
    ("paths = [\"body:card\"]", "text/plain", "card=4242", "*********"),
    (
        "paths = [\"form:card\"]",
        "application/json",
        r#"{"card":4}"#,
        r#"{"card":4}"#,
    ),
    (
        "paths = [\"form:card\"]",
        "multipart/form-data; boundary=x",
        "--y\r\ncard",
        "*********",
    ),
    (
        "paths = [\"query:card\"]",
        "application/json",
        r#"{"card":4"#,
        r#"{"card":4"#,
    ),
    (
        "paths = [\"body:card\", \"form:card\"]",
        "application/x-www-form-urlencoded",
        "card=42&card=43",
        "card=**&card=**",
    ),
    ("paths = []", "application/json", r#"{"card":4"#, r#"{"card":4"#),
];

#[test]
fn a_body_in_which_secrets_cannot_be_found_is_written_over_whole() {
    for (paths, content_type, body, left) in UNREADABLE {
        let given = given(&format!("{SIGNED}[redact]\n{paths}"));
        let masked = given.header("content-type", content_type).body(*body).masked().1;
        assert_eq!(masked, *left, "{paths} {content_type} {body}");
    }
    let elements = "[event]\neach = \"body:rows[]\"\n[[verify]]\nscheme = \"token\"\ntoken = \"event:t\"\nper = \"event\"";
    let elsewhere = r#"{"row":[{"t":"ab"}]}"#;
    let hidden = format!("\"{}\"", "*".repeat(elsewhere.len() - 2));
    assert_eq!(
        given(elements).body(elsewhere).masked().1,
        hidden,
        "no elements to look in"
    );
}

#[test]
fn what_a_document_was_decoded_from_is_masked_wherever_it_stands() {
    let secret = "[redact]\npaths = [\"body:x\"]";
    let of_body = given(&format!(
        "{SIGNED}[body]\nkind = \"text\"\ndocument = [\"body|base64_json\"]\n{secret}"
    ));
    assert_eq!(of_body.body("eyJ4IjoxfQ==").masked().1, "************");
    let of_header = given(&format!(
        "{SIGNED}[body]\nkind = \"text\"\ndocument = [\"header:x-inner|json\"]\n{secret}"
    ));
    let masks = of_header.header("x-inner", r#"{"x":1}"#).body("b").masked().0;
    assert!(masks.headers.contains(&"x-inner".to_owned()), "{masks:?}");
}

#[test]
fn a_mapped_payload_hides_what_is_masked_where_it_was_decoded_from() {
    let mapped = "[event]\npayload = \"body:inner|base64_json\"\n[[verify]]\nscheme = \"none\"\n[redact]\npaths = [\"body:inner|base64_json:x\"]";
    given(mapped)
        .body(r#"{"inner":"eyJ4IjoxfQ=="}"#)
        .events(|events| {
            let hidden = format!("Own({:?})", br#""*****""#);
            assert_eq!(format!("{:?}", events[0].payload.place), hidden);
        });
}

#[test]
fn a_token_that_a_handshake_demands_is_masked() {
    for demand in [
        "when = { \"query:mode\" = \"*\" }\nrequire = { \"query:word\" = \"{cfg:token}\" }",
        "when = { \"cfg:token\" = \"{query:word}\" }",
    ] {
        let handshake = acme(&format!(
            "method = \"GET\"\nverify = false\n{demand}\ntext = \"ok\""
        ));
        assert!(handshake.definition().cfg()[0].secret, "{demand}");
        let masks = handshake.method("GET").masked().0;
        assert_eq!(
            masks.query("mode=x&word=geheim"),
            "mode=x&word=******",
            "{demand}"
        );
    }
    let other =
        acme("method = \"GET\"\nverify = false\nwhen = { \"query:mode\" = \"*\" }\ntext = \"{cfg:token}\"");
    assert!(!other.definition().cfg()[0].secret, "what is shown is no secret");
    let named = given(&format!(
        "[cfg.token]\nabout = \"token\"\nsecret = true\n{SIGNED}"
    ));
    assert!(named.definition().cfg()[0].secret);
}
