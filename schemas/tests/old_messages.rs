//! Metadata bytes of version 1 as they lie in topics: they must decode for ever, and re-encode to themselves today.
//! A new version adds its own bytes here and never touches these.

use tidegate_schemas::{DeadMeta, EventMeta, JournalMeta, MetaError, Metadata, RequestMeta, RowsMeta};

const REQUEST: &str = r#"{"v":1,"kind":"received","id":"0192f0c1-2b3c-7d4e-8f90-123456789abc","environment":"0192f0c1-0000-7000-8000-0000000000e1","integration":"crm","provider":"acme","connection":"c-1","method":"POST","path":"/webhook/0192f0c1-0000-7000-8000-0000000000e1/crm","query":"connection=c-1","url":"https://hooks.example.com/webhook/0192f0c1-0000-7000-8000-0000000000e1/crm?connection=c-1","headers":[["content-type","application/json"],["x-raw",{"base64":"/wA="}]],"received_at":1763721600123,"remote":"192.0.2.7","body_bytes":17,"status":200}"#;
const REFUSED: &str = r#"{"v":1,"kind":"refused","id":"0192f0c1-2b3c-7d4e-8f90-123456789abd","environment":"0192f0c1-0000-7000-8000-0000000000e1","integration":"crm","provider":"acme","method":"POST","path":"/webhook/x","url":"https://hooks.example.com/webhook/x","headers":[],"received_at":1763721600123,"body_bytes":99999,"status":401,"refusal":"signature_wrong","detail":"no active secret made it","spilled":true,"replay":{"pointer":{"partition":3,"offset":7},"position":2}}"#;
const EVENT: &str = r#"{"v":1,"kind":"event","id":"0192f0c1-2b3c-8d4e-8f90-123456789abc","request":"0192f0c1-2b3c-7d4e-8f90-123456789abc","pointer":{"partition":3,"offset":41},"position":0,"environment":"0192f0c1-0000-7000-8000-0000000000e1","integration":"crm","provider":"acme","connection":"c-1","type":"contact.changed","object_key":"contact/7","verified":"body","received_at":1763721600123,"event_time":1763721599000,"payload":"json","headers":[["x-acme-topic","contact"]],"endpoints":["0192f0c1-0000-7000-8000-0000000000f1"],"commit":12,"coalesced":{"window":"0192f0c1-2b3c-8d4e-8f90-123456789abc","count":2,"first_at":1763721600000,"last_at":1763721600123,"ids":["0192f0c1-2b3c-8d4e-8f90-123456789abc"]}}"#;
const DEAD: &str = r#"{"v":1,"delivery":"0192f0c1-2b3c-8d4e-8f90-00000000000d","endpoint":"0192f0c1-0000-7000-8000-0000000000f1","pointer":{"partition":1,"offset":5},"event":EVENT,"tries":12,"died_at":1763921600123,"last_error":"answered 500","last_status":500}"#;
const JOURNAL: &str = r#"{"v":1,"kind":"commit","epoch":4,"input":99,"changes_bytes":120,"round_start":2,"round_complete":true}"#;
const OPEN: &str =
    r#"{"v":1,"kind":"open","epoch":0,"input":0,"changes_bytes":0,"address":"127.0.0.1:7100"}"#;
const ROWS: &str = r#"{"v":1,"rows":3,"commit":12}"#;

fn check<M: Metadata>(bytes: &str) {
    let meta = M::decode(bytes.as_bytes()).expect("bytes of version 1 decode for ever");
    assert_eq!(
        String::from_utf8(meta.encode()).expect("JSON is UTF-8"),
        bytes,
        "{} changed",
        M::KIND
    );
}

#[test]
fn messages_of_version_1_decode_for_ever() {
    check::<RequestMeta>(REQUEST);
    check::<RequestMeta>(REFUSED);
    check::<EventMeta>(EVENT);
    check::<DeadMeta>(&DEAD.replace("EVENT", EVENT));
    check::<JournalMeta>(JOURNAL);
    check::<JournalMeta>(OPEN);
    check::<RowsMeta>(ROWS);
}

#[test]
fn unknown_fields_are_ignored() {
    let meta = RowsMeta::decode(br#"{"v":1,"rows":3,"commit":12,"later":{"x":1}}"#)
        .expect("a field of a later build");
    assert_eq!(meta.rows, 3);
}

#[test]
fn a_newer_version_stops_the_reader() {
    for bytes in [
        &br#"{"v":2,"rows":3,"commit":12}"#[..],
        br#"{"v":2,"something":"else"}"#,
    ] {
        let error = RowsMeta::decode(bytes).expect_err("a version this build does not know");
        assert!(error.stops_reader(), "{error}");
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}

#[test]
fn damage_is_told_from_a_newer_version() {
    let error = RowsMeta::decode(b"{\"v\":1,\"rows\":").expect_err("cut short");
    assert!(
        matches!(error, MetaError::Undecodable { kind: "rows", .. }),
        "{error}"
    );
    assert!(!error.stops_reader());
}
