//! Splitting: shapes of batches, kinds of bodies, objects, identifiers, drops.

use tidegate_providers::{Place, RawEvent};
use tidegate_schemas::{PayloadKind, Reason};

use crate::{Given, NOW, given};

fn open(text: &str) -> Given {
    given(&format!("[[verify]]\nscheme = \"none\"\n{text}"))
}

/// Each event's payload as it stands in the body, with its type.
fn payloads(given: &Given) -> Result<Vec<(String, String)>, Reason> {
    given.split(|events| {
        let payload = |event: &RawEvent<'_>| match &event.payload.place {
            Place::Span(range) => String::from_utf8_lossy(&given.body[range.clone()]).into_owned(),
            Place::Own(text) => String::from_utf8_lossy(text).into_owned(),
        };
        events
            .iter()
            .map(|event| (payload(event), event.event_type.to_string()))
            .collect()
    })
}

#[track_caller]
fn check(event: &str, body: &str, expected: &[(&str, &str)]) {
    let given = open(&format!("[event]\n{event}")).body(body);
    let expected: Vec<_> = expected
        .iter()
        .map(|(payload, kind)| ((*payload).to_owned(), (*kind).to_owned()))
        .collect();
    assert_eq!(payloads(&given), Ok(expected), "{event}");
}

#[test]
fn batches_of_every_shape_are_split() {
    check(
        "each = \"body:[]\"\ntype = \"{event:t}\"",
        r#"[{"t":"a"}, {"t":"b"}]"#,
        &[(r#"{"t":"a"}"#, "a"), (r#"{"t":"b"}"#, "b")],
    );
    check(
        "each = \"body:ids[]\"\ntype = \"{event}/{body:m}/{index}\"",
        r#"{"m":"x","ids":["i","j"]}"#,
        &[("\"i\"", "i/x/0"), ("\"j\"", "j/x/1")],
    );
    let two_levels = r#"{"top":{"realm":"r","in":{"name":"n","list":[{"id":1}]}},"o":"z"}"#;
    check(
        "each = \"body:top.in.list[]\"\ntype = \"{event:id}{parent:name}{grandparent:realm}{body:o}\"",
        two_levels,
        &[(r#"{"id":1}"#, "1nrz")],
    );
    let entries = r#"{"entry":[{"id":"p","changes":[{"f":"1"}]},{"id":"q","messaging":[{"m":"2"}]}]}"#;
    check(
        "each = [\"body:entry[].changes[]\", \"body:entry[].messaging[]\"]\ntype = [\"{event:f}{parent:id}\", \"{event:m}{parent:id}\"]",
        entries,
        &[(r#"{"f":"1"}"#, "1p"), (r#"{"m":"2"}"#, "2q")],
    );
    check(
        "each = \"body:rows[].row\"\ntype = \"{event:t}\"",
        r#"{"rows":[{"row":{"t":"a"}}]}"#,
        &[(r#"{"t":"a"}"#, "a")],
    );
    check(
        "each = \"body:*[]\"\ntype = \"{key}\"",
        r#"{"note":1,"lead_saved":[{}],"lead_gone":[{}]}"#,
        &[("{}", "lead_saved"), ("{}", "lead_gone")],
    );
    check(
        "each = [\"body:list[]\", \"body\"]\ntype = \"{event:t}\"",
        r#"{"t":"alone"}"#,
        &[(r#"{"t":"alone"}"#, "alone")],
    );
    check("each = \"body:list[]\"", r#"{"list":[]}"#, &[]);
    check(
        "payload = \"body:data\"\ntype = \"{body:t}\"",
        r#"{"t":"a","data":{"x":1}}"#,
        &[(r#"{"x":1}"#, "a")],
    );
    let nested = open("[body]\ndocument = [\"form:json|json\"]\n[event]\neach = \"body:l[]\"")
        .body("json=%7B%22l%22%3A%5B1%2C2%5D%7D");
    let nested = nested.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        payloads(&nested),
        Ok(vec![("1".into(), "acme".into()), ("2".into(), "acme".into())])
    );
}

#[test]
fn what_cannot_be_split_is_malformed_for_its_reason() {
    let check = |event: &str, content_type: &str, body: &str, expected: Reason| {
        let given = open(event).header("content-type", content_type).body(body);
        assert_eq!(payloads(&given), Err(expected), "{event} {body}");
    };
    check("", "application/json", "{", Reason::BodyNotJson);
    check(
        "",
        "application/vnd.acme+json; charset=utf-8",
        "[1,]",
        Reason::BodyNotJson,
    );
    check("[body]\nkind = \"json\"", "", "text", Reason::BodyNotJson);
    check("", "application/json", &"[".repeat(1000), Reason::BodyTooDeep);
    check(
        "[body]\ndocument = [\"form:p|json\"]",
        "application/x-www-form-urlencoded",
        "p={",
        Reason::BodyNotJson,
    );
    check("", "multipart/form-data; boundary=x", "--y", Reason::BodyNotForm);
    check(
        "[event]\neach = \"body:rows[]\"",
        "application/json",
        "{}",
        Reason::EventsMissing,
    );
    check(
        "[event]\neach = \"body:rows[]\"",
        "text/plain",
        "text",
        Reason::EventsMissing,
    );
    let many = format!("[{}1]", "1,".repeat(10_000));
    check(
        "[event]\neach = \"body:[]\"",
        "application/json",
        &many,
        Reason::TooManyEvents,
    );
}

#[test]
fn a_body_that_is_no_json_is_still_an_event() {
    let check = |content_type: &str, body: &[u8], expected: PayloadKind| {
        let given = open("[event]\ntype = \"{header:x-t}\"")
            .header("content-type", content_type)
            .header("x-t", "t")
            .body(body);
        given.events(|events| {
            assert_eq!(
                (events[0].payload.kind, events[0].event_type.as_ref()),
                (expected, "t"),
                "{content_type}"
            );
        });
    };
    check("", b"", PayloadKind::Headers);
    check("application/json", b"{}", PayloadKind::Json);
    check("text/plain", b" [1]", PayloadKind::Json);
    check("text/plain", b"[no json", PayloadKind::Text);
    check("application/x-www-form-urlencoded", b"a=1", PayloadKind::Form);
    check(
        "application/x-www-form-urlencoded",
        b"{\"a\":1}",
        PayloadKind::Json,
    );
    check(
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
        PayloadKind::Form,
    );
    check("text/xml", b"<a/>", PayloadKind::Text);
    check("application/octet-stream", b"\xff\xfe", PayloadKind::Base64);
}

#[test]
fn objects_have_ranked_versions_and_content() {
    let object = |version: &str, body: &str| {
        let text = format!(
            "[[object]]\nkey = \"no/{{body:no}}\"\n[[object]]\nkey = \"o/{{body:id}}\"\nversion = \"{{body:v}}\"\n{version}\n\
             content = \"body:data\"\nignore = [\"seen\"]\ndeleted = {{ \"body:gone\" = \"true\" }}"
        );
        let given = open(&text).body(body);
        given.events(|events| {
            let object = events[0].object.clone().expect("an object");
            let content = object
                .content
                .map(|range| String::from_utf8_lossy(&given.body[range]).into_owned());
            let version = object
                .version
                .map(|version| (version.text.into_owned(), version.rank));
            (
                object.key.into_owned(),
                version,
                content,
                object.deleted,
                object.rule,
            )
        })
    };
    let (key, version, content, deleted, rule) = object(
        "version_kind = \"integer\"",
        r#"{"id":7,"v":"-12","data":{"seen":1},"gone":true}"#,
    );
    assert_eq!(
        (key.as_str(), version, deleted, rule),
        ("o/7", Some(("-12".into(), Some(-12))), true, 1)
    );
    assert_eq!(content.as_deref(), Some(r#"{"seen":1}"#));
    let rank = |version: &str, body: &str| object(version, body).1.map(|(_, rank)| rank);
    let ranks = ["1700000000.000100", "1700000000.000200", "1700000001"]
        .map(|v| rank("version_kind = \"decimal\"", &format!(r#"{{"id":7,"v":"{v}"}}"#)));
    assert!(
        ranks.is_sorted() && ranks.iter().all(|rank| matches!(rank, Some(Some(_)))),
        "{ranks:?}"
    );
    assert_eq!(
        rank(
            "version_kind = \"time\"",
            r#"{"id":7,"v":"2026-11-22T12:20:00Z"}"#
        ),
        Some(Some(NOW.cast_signed()))
    );
    assert_eq!(
        rank(
            "version_kind = \"time\"\nversion_format = \"ms\"",
            r#"{"id":7,"v":5}"#
        ),
        Some(Some(5))
    );
    assert_eq!(
        rank("version_kind = \"opaque\"", r#"{"id":7,"v":"W/\"x\""}"#),
        Some(None)
    );
    assert_eq!(rank("version_kind = \"integer\"", r#"{"id":7,"v":"x"}"#), None);
}

#[test]
fn identifiers_are_candidates_in_order_and_never_empty() {
    let text = "[[identify]]\nvalue = \"{body:account}\"\nproperty = \"account\"\n[[identify]]\nvalue = [\"{body:email|lower}\", \"{query:e}\"]\n\
        property = \"emails[]\"\n[[identify]]\nvalue = \"{header:x-need}\"\nproperty = \"need\"\nrequired = true";
    let acme = open(text).body(r#"{"account":"","email":"Me@Acme.Test"}"#);
    acme.events(|events| {
        let found: Vec<_> = events[0]
            .identifiers
            .iter()
            .map(|found| (found.property, found.value.as_ref()))
            .collect();
        assert_eq!(found, [("emails", "me@acme.test")]);
    });
    let refused = |given: &Given| {
        given
            .definition
            .check_identified(&given.definition.parse(given.raw()))
            .err()
    };
    assert_eq!(
        refused(&acme).map(|refusal| refusal.reason),
        Some(Reason::IdentifierMissing)
    );
    assert_eq!(
        refused(&acme.clone().header("x-need", "")).map(|refusal| refusal.reason),
        Some(Reason::IdentifierMissing)
    );
    assert_eq!(refused(&acme.header("x-need", "n")), None);
}

#[test]
fn a_route_is_what_the_first_identify_reads() {
    let text = "[route]\nvalue = \"{header:x-shop}\"\n[[identify]]\nvalue = \"{header:x-shop}\"\nproperty = \"shop\"";
    let acme = open(text).header("x-shop", "one");
    assert_eq!(
        acme.definition
            .route(&acme.definition.parse(acme.raw()))
            .as_deref(),
        Some("one")
    );
    let candidates = acme.definition.parse(acme.raw());
    assert_eq!(acme.definition.identify(&candidates)[0].value, "one");
}

#[test]
fn dropped_events_keep_their_place() {
    let text = "[event]\neach = \"body:[]\"\ntype = \"{event:t}\"\ntime = \"{event:at}\"\ntime_format = [\"s\", \"iso\"]\ndrop = { \"event:t\" = \"ping\" }";
    let acme = open(text).body(r#"[{"t":"ping","at":1},{"t":"a","at":"1970-01-01T00:00:02Z"}]"#);
    acme.events(|events| {
        let seen: Vec<_> = events
            .iter()
            .map(|e| {
                (
                    e.position,
                    e.dropped.as_ref().map(|d| d.reason),
                    e.time.map(|t| t.0),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (0, Some(Reason::DropCondition), Some(1000)),
                (1, None, Some(2000))
            ]
        );
    });
}
