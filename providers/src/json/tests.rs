//! The scanner against serde_json: what one takes the other takes, and values are found where they stand.

use proptest::prelude::*;

use super::{Document, JsonError, Kind};

fn check(json: &str, path: &[&str], expected: Option<&str>) {
    let document = Document::parse(json.as_bytes(), 128).expect("valid");
    let json = document.over(json.as_bytes());
    let found = path.iter().try_fold(json.root(), |at, name| match name.parse() {
        Ok(n) => json.element(at, n),
        Err(_) => json.member(at, name),
    });
    let text = found.and_then(|at| json.text(at));
    assert_eq!(
        text.map(|text| String::from_utf8_lossy(&text).into_owned())
            .as_deref(),
        expected,
        "{path:?}"
    );
}

#[test]
fn values_are_found_where_they_stand() {
    let json = r#" {"a": {"b": [1, "zw\u00f6lf", {"c": null}], "d\"e": true}, "a2": -1.5e3, "twice": 1, "twice": 2} "#;
    check(json, &["a", "b", "0"], Some("1"));
    check(json, &["a", "b", "1"], Some("zwölf"));
    check(json, &["a", "b", "2"], Some(r#"{"c": null}"#));
    check(json, &["a", "b", "2", "c"], None);
    check(json, &["a", "b", "3"], None);
    check(json, &["a", "d\"e"], Some("true"));
    check(json, &["a2"], Some("-1.5e3"));
    check(json, &["twice"], Some("2"));
    check(json, &["missing", "b"], None);
    check(r#"["\ud83d\ude00"]"#, &["0"], Some("😀"));
    check(r#"["\ud83d"]"#, &["0"], None);
    check("[]", &["0"], None);
    check(r#""alone""#, &[], Some("alone"));
}

#[test]
fn depth_is_bounded() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(100_000);
        assert!(
            matches!(Document::parse(deep.as_bytes(), 128), Err(JsonError::Depth(_))),
            "{open}"
        );
    }
    let fine = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(Document::parse(fine.as_bytes(), 128).is_ok());
}

#[test]
fn what_is_no_json_is_refused() {
    for bad in [
        "",
        "{",
        "{\"a\"}",
        "[1,]",
        "01",
        "1.",
        "\"\n\"",
        "\"\\x\"",
        "{}{}",
        "nul",
        "\"\\u12g4\"",
        "{a:1}",
    ] {
        assert!(Document::parse(bad.as_bytes(), 128).is_err(), "{bad:?}");
    }
    assert!(Document::parse(b"\"\xff\"", 128).is_err());
}

proptest! {
    #[test]
    fn agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-z\\ue. -]{0,40}"#) {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = Document::parse(text.as_bytes(), 128);
        // serde_json also refuses what JSON allows: halves of surrogate pairs and numbers beyond its range.
        let stricter = text.contains("\\u") || text.contains('e');
        prop_assert!(ours.is_ok() == theirs.is_ok() || (stricter && ours.is_ok()), "{text}: {theirs:?}");
    }

    #[test]
    fn any_bytes_end_in_a_verdict(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(document) = Document::parse(&bytes, 128) {
            let json = document.over(&bytes);
            prop_assert!(json.kind(json.root()) == Kind::Null || json.raw(json.root()).len() <= bytes.len());
        }
    }

    #[test]
    fn members_are_read_as_they_were_written(keys in proptest::collection::hash_map(".{0,12}", ".{0,20}", 0..12)) {
        let written = serde_json::to_string(&keys).expect("a map of texts");
        let document = Document::parse(written.as_bytes(), 128).expect("valid");
        let json = document.over(written.as_bytes());
        for (key, value) in &keys {
            let found = json.member(json.root(), key).and_then(|at| json.text(at));
            prop_assert_eq!(found.as_deref(), Some(value.as_bytes()));
        }
        prop_assert_eq!(json.members(json.root()).len(), keys.len());
    }
}
