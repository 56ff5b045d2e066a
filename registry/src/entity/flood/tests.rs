//! Which settings are refused, and which of several holds.

use super::*;

fn settings(json: &str) -> FloodSettings {
    serde_json::from_str(json).expect("settings")
}

#[test]
fn the_narrower_setting_wins() {
    let integration = settings(
        r#"{"order":true,"debounce":{"quiet_ms":500},"types":{"contact.*":{"debounce":{"enabled":false}},
            "contact.merged":{"debounce":{"enabled":true,"max_events":5}}}}"#,
    );
    let connection = settings(r#"{"order":false,"types":{"*":{"detect_changes":true}}}"#);
    let policy = |event_type: &str| {
        FloodPolicy::default()
            .with(&integration, event_type)
            .with(&connection, event_type)
    };
    let deal = policy("deal.created");
    assert!(deal.dedupe && !deal.order && deal.detect_changes);
    let debounce = deal.debounce.expect("one setting switches it on");
    assert_eq!(debounce.quiet, Duration::from_millis(500));
    assert_eq!(debounce.max_wait, Duration::from_secs(30));
    assert_eq!(policy("contact.created").debounce, None);
    let merged = policy("contact.merged")
        .debounce
        .expect("the longer pattern decides last");
    assert_eq!(
        (merged.max_events, merged.quiet),
        (Some(5), Duration::from_secs(2))
    );
}

#[test]
fn quiet_is_held_against_the_max_wait_that_it_will_meet() {
    let integration =
        settings(r#"{"debounce":{"max_wait_ms":60000},"types":{"a":{"debounce":{"max_wait_ms":90000}}}}"#);
    let at_a_connection = |json: &str| settings(json).check(&integration);
    for fits in [
        r#"{"debounce":{"quiet_ms":45000}}"#,
        r#"{"types":{"a":{"debounce":{"quiet_ms":90000}}}}"#,
    ] {
        assert_eq!(at_a_connection(fits), Ok(()), "{fits}");
    }
    let (field, problem) = at_a_connection(r#"{"debounce":{"quiet_ms":90001}}"#).expect_err("too long");
    assert_eq!(field, "flood.debounce.quiet");
    assert!(problem.contains("90000 ms"), "{problem}");
    let own = r#"{"debounce":{"quiet_ms":45000,"max_wait_ms":40000}}"#;
    let (_, problem) = at_a_connection(own).expect_err("its own max_wait holds");
    assert!(problem.contains("40000 ms"), "{problem}");
}

#[test]
fn a_setting_out_of_range_names_its_field() {
    let check = |json: &str, field: &str| {
        let (named, problem) = settings(json).check(&FloodSettings::default()).expect_err(json);
        assert_eq!(named, field, "{problem}");
    };
    check(r#"{"debounce":{"quiet_ms":0}}"#, "flood.debounce.quiet");
    check(r#"{"debounce":{"quiet_ms":30001}}"#, "flood.debounce.quiet");
    check(
        r#"{"debounce":{"max_wait_ms":3600001}}"#,
        "flood.debounce.max_wait",
    );
    check(r#"{"debounce":{"max_events":0}}"#, "flood.debounce.max_events");
    check(
        r#"{"debounce":{"max_bytes":16777217}}"#,
        "flood.debounce.max_bytes",
    );
    check(
        r#"{"types":{"a.*":{"debounce":{"quiet_ms":0}}}}"#,
        "flood.types.a.*.debounce.quiet",
    );
    check(
        r#"{"debounce":{"max_wait_ms":60000},"types":{"a":{"debounce":{"quiet_ms":60001}}}}"#,
        "flood.types.a.debounce.quiet",
    );
    check(
        r#"{"types":{"a":{"types":{"b":{"order":true}}}}}"#,
        "flood.types.a",
    );
    check(r#"{"rate":{"per_second":0,"burst":1}}"#, "flood.rate");
    check(
        r#"{"types":{"a":{"rate":{"per_second":1,"burst":1}}}}"#,
        "flood.types.a",
    );
    for fits in [
        r#"{"debounce":{"max_wait_ms":3600000}}"#,
        r#"{"debounce":{"max_wait_ms":60000},"types":{"a":{"debounce":{"quiet_ms":40000}}}}"#,
    ] {
        assert_eq!(settings(fits).check(&FloodSettings::default()), Ok(()), "{fits}");
    }
    assert!(serde_json::from_str::<FloodSettings>(r#"{"debounce":{"quiet":2}}"#).is_err());
}
