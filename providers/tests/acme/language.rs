//! Selectors, templates, values and conditions, seen through an event's type.

use crate::{Given, given};

/// The type that a template writes of a request.
fn check(value: &str, request: impl FnOnce(Given) -> Given, expected: &str) {
    let text = format!(
        "[cfg.x]\nabout = \"x\"\ndefault = \"usual\"\n[[verify]]\nscheme = \"none\"\n[event]\ntype = {value}"
    );
    request(given(&text)).events(|events| assert_eq!(events[0].event_type, expected, "{value}"));
}

const BODY: &str = r#"{"a":{"b":"B","n":12,"t":true,"z":null,"e":""},"kind":"order","payload":{"order":{"id":"o1"}},
    "text":"{\"in\":\"side\"}","encoded":"eyJpbiI6InNpZGUifQ==","two.words":"dotted"}"#;

fn json(given: Given) -> Given {
    given.body(BODY)
}

#[test]
fn selectors_pick_from_everywhere() {
    check("\"{body:a.b}/{body:a.n}/{body:a.t}\"", json, "B/12/true");
    check("\"{event:a.b}\"", json, "B");
    check("'{body:[\"two.words\"]}'", json, "dotted");
    check("\"{body:payload.<kind>.id}\"", json, "o1");
    check(
        "\"{body:text|json:in}{body:encoded|base64_json:in}\"",
        json,
        "sideside",
    );
    check("'{body|first_key(\"x\",\"kind\",\"a\")}'", json, "kind");
    check("'{body:payload|keys}'", json, "order");
    check(
        "\"{header:x-a}{header:x-*}\"",
        |given| given.header("X-A", "1"),
        "11",
    );
    check(
        "\"{query:a b}\"",
        |given| given.url("https://hooks.test/?c=1&a+b=%31%2B"),
        "1+",
    );
    check(
        "\"{method} {path:1} {url_path}\"",
        |given| given.url("https://hooks.test/w/s%20t/?q"),
        "POST s t /w/s%20t/",
    );
    check("\"{cfg:x}\"", |given| given, "usual");
    check("\"{cfg:x}\"", |given| given.cfg("x", "own"), "own");
    check("\"{join('a-', cfg:x, '-b')|upper}\"", |given| given, "A-USUAL-B");
    let form = |given: Given| {
        given
            .header("content-type", "application/x-www-form-urlencoded")
            .body("c%5Bid%5D=7&s=a+b")
    };
    check("\"{form:c[id]}{form:s}\"", form, "7a b");
}

#[test]
fn absent_parts_make_a_template_absent_unless_it_says_otherwise() {
    check("\"{body:a.z}\"", json, "acme");
    check("\"{body:a.e}\"", json, "acme");
    check("\"x{body:missing}\"", json, "acme");
    check("\"x{body:missing?}y\"", json, "xy");
    check("\"{body:kind}[.{body:a.b}]\"", json, "order.B");
    check("\"{body:kind}[.{body:missing}]\"", json, "order");
    check("\"{body:kind}[.{body:a.b}[.{body:missing}]]\"", json, "order.B");
    check("\"{{{body:kind}}}\"", json, "{order}");
    check("\"[[{body:kind}]]\"", json, "[order]");
    check("'{body:missing|default(\"none\")}'", json, "none");
    check(
        "[\"{body:missing}\", \"{body:kind}\", \"{body:a.b}\"]",
        json,
        "order",
    );
}

#[test]
fn values_may_depend_on_conditions() {
    let when = |condition: &str| format!("[{{ value = \"yes\", when = {condition} }}, \"no\"]");
    let check = |condition: &str, expected: &str| check(&when(condition), json, expected);
    check("{ \"body:kind\" = \"order\" }", "yes");
    check("{ \"body:kind\" = \"ord*\" }", "yes");
    check("{ \"body:kind\" = [\"refund\", \"order\"] }", "yes");
    check("{ \"body:kind\" = \"Order\" }", "no");
    check("{ \"body:kind\" = \"order\", \"body:a.n\" = \"13\" }", "no");
    check("[{ \"body:a.n\" = \"13\" }, { \"body:a.n\" = \"12\" }]", "yes");
    check("{ \"body:missing\" = \"\" }", "yes");
    check("{ \"body:kind\" = \"\" }", "no");
    check("{ \"body:kind\" = \"*\" }", "yes");
    check("{ \"body:missing\" = \"*\" }", "no");
    check("{ \"body:a.b\" = \"{body:a.b}\" }", "yes");
    check("{ \"body:a.b\" = \"{body:missing}\" }", "no");
    check("{ \"body:missing\" = \"{body:missing}\" }", "no");
}
