//! Queries over HTTP: what goes in by URL, header and body, and what comes out as status, headers and text.

use crate::started::{Answer, Started};

type Given<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

async fn check(engine: &Started, (parameters, body, wanted): Given<'_>) {
    let answer = Answer::of(
        engine
            .post(parameters)
            .body(body.to_owned())
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, wanted),
        "{parameters:?} {body:?}"
    );
}

#[tokio::test]
async fn queries_take_their_parts_from_wherever_clients_put_them() {
    let engine = Started::new().await;
    engine.sql("CREATE DATABASE other").await;
    engine.sql("CREATE TABLE other.t (a UInt8) ENGINE = Memory").await;
    engine.sql("INSERT INTO other.t VALUES (7)").await;
    let given: &[Given<'_>] = &[
        (&[], "SELECT 1", "1\n"),
        (&[("query", "SELECT 1")], "", "1\n"),
        (&[("query", "SELECT 1,")], "2", "1\t2\n"),
        (
            &[("default_format", "JSONEachRow")],
            "SELECT 1 AS a;",
            "{\"a\":1}\n",
        ),
        (
            &[("default_format", "JSONEachRow")],
            "SELECT 1 AS a FORMAT CSV",
            "1\n",
        ),
        (&[("database", "other")], "SELECT a FROM t", "7\n"),
        (
            &[("param_a", "4'1"), ("param_b", "[1,2]")],
            "SELECT {a:String}, {b:Array(UInt8)}",
            "4\\'1\t[1,2]\n",
        ),
        (
            &[("max_threads", "3"), ("max_result_rows", "10")],
            "SELECT getSetting('max_threads')",
            "3\n",
        ),
        (
            &[],
            "-- a comment; SELECT 2\nSELECT /* ; */ ';' AS `format`",
            ";\n",
        ),
        (&[], "SELECT 1 SETTINGS max_threads = 1 FORMAT CSV -- end", "1\n"),
        (&[], "EXISTS TABLE other.t", "1\n"),
        (&[], "SHOW TABLES FROM other", "t\n"),
        (&[], "INSERT INTO other.t SELECT 8", ""),
        (&[], "WITH 9 AS x SELECT max(a) FROM other.t", "8\n"),
        (
            &[("wait_end_of_query", "1")],
            "SELECT sum(number) FROM numbers(10)",
            "45\n",
        ),
    ];
    for given in given {
        check(&engine, *given).await;
    }
    let by_header = engine
        .post(&[])
        .header("X-ClickHouse-Database", "other")
        .header("X-ClickHouse-Format", "CSVWithNames");
    let answer = Answer::of(by_header.body("SELECT count() AS n FROM t").send().await.unwrap()).await;
    assert_eq!(answer.body, "\"n\"\n2\n");
    engine.engine.stop().await;
}

#[tokio::test]
async fn answers_are_labelled_as_clickhouse_labels_them() {
    let engine = Started::new().await;
    let asked = engine
        .post(&[("query_id", "mine")])
        .body("SELECT 1 AS a FORMAT JSON")
        .send()
        .await
        .unwrap();
    let answer = Answer::of(asked).await;
    assert_eq!(answer.header("x-clickhouse-query-id"), "mine");
    assert_eq!(answer.header("x-clickhouse-format"), "JSON");
    assert_eq!(
        answer.header("x-clickhouse-timezone"),
        engine.sql("SELECT timezone()").await.trim()
    );
    assert_eq!(answer.header("content-type"), "application/json; charset=UTF-8");
    assert!(!answer.header("x-clickhouse-server-display-name").is_empty());
    let summary: serde_json::Value = serde_json::from_str(answer.header("x-clickhouse-summary")).unwrap();
    assert_eq!(summary["read_rows"], "1");
    for path in ["/ping", "/", "/replicas_status"] {
        let answer = Answer::of(
            engine
                .client
                .get(format!("{}{path}", engine.endpoint.url))
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "Ok.\n"), "{path}");
    }
    let nowhere = engine
        .client
        .get(format!("{}/nowhere", engine.endpoint.url))
        .send()
        .await
        .unwrap();
    assert_eq!(nowhere.status(), 404);
    engine.engine.stop().await;
}

type Refused<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, u32, &'a str);

const ERRORS: &[Refused<'_>] = &[
    (&[], "SELEKT 1", 400, 62, "SYNTAX_ERROR"),
    (&[], "SELECT (1", 400, 62, "SYNTAX_ERROR"),
    (&[], "", 400, 62, "SYNTAX_ERROR"),
    (&[], "SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
    (&[], "SELECT * FROM missing", 404, 60, "UNKNOWN_TABLE"),
    (&[], "INSERT INTO missing FORMAT TSV\n1", 404, 60, "UNKNOWN_TABLE"),
    (&[], "SELECT missing", 404, 47, "UNKNOWN_IDENTIFIER"),
    (&[], "SELECT missing(1)", 404, 46, "UNKNOWN_FUNCTION"),
    (&[], "SELECT 1 FORMAT Missing", 404, 73, "UNKNOWN_FORMAT"),
    (&[], "SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
    (
        &[],
        "SELECT throwIf(1)",
        500,
        395,
        "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    ),
    (&[], "SELECT {a:String}", 500, 456, "UNKNOWN_QUERY_PARAMETER"),
    (
        &[],
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        500,
        358,
        "INTO_OUTFILE_NOT_ALLOWED",
    ),
    (
        &[("database", "missing")],
        "SELECT 1",
        404,
        81,
        "UNKNOWN_DATABASE",
    ),
    (
        &[("missing_setting", "1")],
        "SELECT 1",
        404,
        115,
        "UNKNOWN_SETTING",
    ),
    (
        &[("max_execution_time", "0.1")],
        "SELECT count() FROM numbers(100000000000)",
        408,
        159,
        "TIMEOUT_EXCEEDED",
    ),
    (&[("session_id", "1")], "SELECT 1", 501, 48, "NOT_IMPLEMENTED"),
];

#[tokio::test]
async fn errors_carry_clickhouses_code_text_and_status() {
    let engine = Started::new().await;
    for (parameters, sql, status, code, name) in ERRORS {
        let answer = Answer::of(engine.post(parameters).body(*sql).send().await.unwrap()).await;
        assert_eq!(answer.status, *status, "{sql:?}: {}", answer.body);
        assert_eq!(
            answer.header("x-clickhouse-exception-code"),
            code.to_string(),
            "{sql:?}: {}",
            answer.body
        );
        assert!(
            answer.body.starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{}",
            answer.body
        );
        assert!(
            answer.body.contains(&format!("({name}) (version ")),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("/proc/self/fd"), "{}", answer.body);
    }
    engine.engine.stop().await;
}

#[tokio::test]
async fn only_the_user_with_the_password_is_let_in() {
    let engine = Started::new().await;
    let url = engine.url(&[]);
    let right = engine.endpoint.password.reveal();
    let send = |request: reqwest::RequestBuilder| async {
        Answer::of(request.body("SELECT 1").send().await.unwrap()).await
    };
    let post = || engine.client.post(url.clone());
    for (answer, status, code) in [
        (send(post()).await, 401, "194"),
        (
            send(post().basic_auth("default", Some("wrong"))).await,
            403,
            "516",
        ),
        (send(post().header("X-ClickHouse-Key", "wrong")).await, 403, "516"),
        (send(post().basic_auth("other", Some(right))).await, 403, "516"),
        (send(post().basic_auth("default", Some(right))).await, 200, ""),
        (
            send(
                engine
                    .client
                    .post(engine.url(&[("user", "default"), ("password", right)])),
            )
            .await,
            200,
            "",
        ),
    ] {
        assert_eq!(
            (answer.status, answer.header("x-clickhouse-exception-code")),
            (status, code),
            "{}",
            answer.body
        );
    }
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_get_changes_nothing() {
    let engine = Started::new().await;
    let create = "CREATE TABLE t (a UInt8) ENGINE = Memory";
    let refused = Answer::of(engine.get(&[("query", create)]).send().await.unwrap()).await;
    assert_eq!(
        refused.header("x-clickhouse-exception-code"),
        "164",
        "{}",
        refused.body
    );
    let answer = Answer::of(
        engine
            .get(&[("query", "SELECT 1"), ("max_threads", "1")])
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(answer.body, "1\n");
    assert_eq!(engine.sql("EXISTS t").await, "0\n");
    engine.engine.stop().await;
}

#[tokio::test]
async fn queries_run_side_by_side_and_share_nothing() {
    let engine = Started::new().await;
    let slow = "SELECT sleepEachRow(0.1) FROM numbers(10000) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0 FORMAT Null";
    let slow: Vec<_> = ["one", "two", "three"]
        .map(|id| {
            tokio::spawn(
                engine
                    .post(&[("query_id", id), ("max_threads", "1")])
                    .body(slow)
                    .send(),
            )
        })
        .into();
    engine
        .wait_for(
            "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleepEachRow%'",
            "3\n",
        )
        .await;
    let twice = Answer::of(
        engine
            .post(&[("query_id", "one")])
            .body("SELECT 1")
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        twice.header("x-clickhouse-exception-code"),
        "216",
        "{}",
        twice.body
    );
    engine.sql("SET max_threads = 5").await;
    assert_ne!(engine.sql("SELECT getSetting('max_threads')").await, "5\n");
    for query in slow {
        query.abort();
    }
    engine
        .wait_for("SELECT count() FROM system.processes", "1\n")
        .await;
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_query_beyond_the_memory_cap_fails_alone() {
    let engine = Started::with(&["--memory", "1073741824"]).await;
    let answer = engine
        .ask("SELECT length(groupArray(repeat('x', 1000) || toString(number))) FROM numbers(20000000)")
        .await;
    assert_eq!(
        answer.header("x-clickhouse-exception-code"),
        "241",
        "{}",
        answer.body
    );
    assert_eq!(engine.sql("SELECT 1").await, "1\n");
    engine.engine.stop().await;
}
