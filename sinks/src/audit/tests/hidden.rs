//! What a definition calls secret never reaches ClickHouse, whatever the body is: masked where its place is known, and the
//! whole body written over where it is not. In: requests of one definition, as ingest appends them. Out: the rows.

use super::*;

/// Sorts before every other name, so that the house's integration is of it.
const DEFINITION: &str = r#"
name = "aaa"
title = "Aaa"

[facts]
set_up = "nothing"

[[verify]]
scheme = "token"
token = ["header:x-token", "query:t"]

[redact]
paths = ["body:card", "form:card"]
"#;

/// A content type, a body with the secret `4242`, and what of it may be read.
const BODIES: &[(&str, &str, &str)] = &[
    (
        "application/json",
        r#"{"card":"4242","n":1}"#,
        r#"{"card":"****","n":1}"#,
    ),
    (
        "application/json",
        r#"{"card":"4242","n":1"#,
        "********************",
    ),
    ("", r#"{"card":"4242""#, "**************"),
    ("text/plain", "card 4242", "*********"),
    (
        "application/x-www-form-urlencoded",
        "n=1&card=4242",
        "n=1&card=****",
    ),
    ("multipart/form-data; boundary=x", "--y\r\n4242", "*********"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_hidden_in_every_body() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("aaa.toml"), DEFINITION).expect("a file");
    let catalogue = Catalogue::with_overlay(folder.path()).expect("the definition compiles");
    let house = House::knowing(catalogue).await;
    migrate(&house.config)
        .await
        .expect("an empty database can be migrated");
    let audit = house.audit();
    for (number, (content_type, body, _)) in (1..).zip(BODIES) {
        let mut headers = Headers::default();
        headers.push("content-type", *content_type);
        headers.push("x-token", "4242");
        let meta = RequestMeta {
            provider: "aaa".to_owned(),
            headers,
            query: "t=4242&%74=4242".to_owned(),
            body_bytes: body.len() as u64,
            ..request(number, earlier(5))
        };
        house.receive(0, &meta, body.as_bytes()).await;
    }
    let count = BODIES.len().to_string();
    house.until("SELECT count() FROM requests", &count).await;
    let readable: Vec<String> = BODIES
        .iter()
        .map(|(.., left)| left.replace('\\', "\\\\"))
        .collect();
    house
        .check(
            "SELECT body FROM requests ORDER BY request_id",
            &readable.join("\n"),
        )
        .await;
    let leaks = "SELECT countIf(concat(body, query, toString(headers)) LIKE '%4242%'), countIf(length(body) != body_bytes) FROM requests";
    house.check(leaks, "0\t0").await;
    audit.stop().await;
}
