//! Inserts: every row arrives once, in every format and coding, or none does.

use std::io::Write as _;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::started::{Answer, Started};

const ROWS: u64 = 1_000_000;

#[tokio::test]
async fn a_million_binary_rows_arrive_as_a_million() {
    let engine = Started::new().await;
    engine
        .sql("CREATE TABLE t (id UInt64, name String) ENGINE = MergeTree ORDER BY id")
        .await;
    let mut rows = Vec::new();
    for id in 0..ROWS {
        rows.extend_from_slice(&id.to_le_bytes());
        // every byte value occurs, quotes and line breaks too
        rows.extend_from_slice(&[3, b'\'', id.to_le_bytes()[0], b';']);
    }
    let query = [("query", "INSERT INTO t FORMAT RowBinary")];
    let answer = Answer::of(engine.post(&query).body(rows).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let summary: serde_json::Value = serde_json::from_str(answer.header("x-clickhouse-summary")).unwrap();
    assert_eq!(summary["written_rows"], ROWS.to_string());
    let sum = ROWS * (ROWS - 1) / 2;
    let found = engine.sql("SELECT count(), uniqExact(id), sum(id), countIf(name = unhex('27') || char(id % 256) || ';') FROM t").await;
    assert_eq!(found, format!("{ROWS}\t{ROWS}\t{sum}\t{ROWS}\n"));
    engine.engine.stop().await;
}

#[tokio::test]
async fn every_format_and_coding_arrives() {
    let engine = Started::new().await;
    engine
        .sql("CREATE TABLE t (a UInt32, b String DEFAULT 'none') ENGINE = Memory")
        .await;
    let row_binary = b"\x01\x00\x00\x00\x01x".to_vec();
    for (statement, rows) in [
        ("INSERT INTO t FORMAT RowBinary", row_binary.clone()),
        ("INSERT INTO t VALUES", b"(1, 'x')".to_vec()),
        (
            "INSERT INTO t (a, b) FORMAT Values",
            b"(toUInt32('1'), lower('X'));".to_vec(),
        ),
        (
            "INSERT INTO t SETTINGS async_insert = 0 FORMAT JSONEachRow",
            b"{\"a\":1,\"b\":\"x\"}\n".to_vec(),
        ),
        ("INSERT INTO t FORMAT TabSeparated", b"1\tx\n".to_vec()),
        ("INSERT INTO t FORMAT CSVWithNames", b"b,a\nx,1\n".to_vec()),
        (
            "INSERT INTO t FORMAT Native",
            engine
                .sql("SELECT 1::UInt32 AS a, 'x' AS b FORMAT Native")
                .await
                .into_bytes(),
        ),
        (
            "INSERT INTO t FORMAT RowBinaryWithNamesAndTypes",
            engine
                .sql("SELECT 1::UInt32 AS a, 'x' AS b FORMAT RowBinaryWithNamesAndTypes")
                .await
                .into(),
        ),
    ] {
        let sent = engine
            .post(&[("query", statement)])
            .body(rows)
            .send()
            .await
            .unwrap();
        let answer = Answer::of(sent).await;
        assert_eq!(answer.status, 200, "{statement}: {}", answer.body);
        assert_eq!(engine.sql("SELECT a, b FROM t").await, "1\tx\n", "{statement}");
        engine.sql("TRUNCATE TABLE t").await;
    }
    send_gzip(&engine, &row_binary).await;
    engine
        .sql("INSERT INTO t (a) FORMAT JSONEachRow\n{\"a\":2}\n")
        .await;
    engine.sql("INSERT INTO t (a) VALUES (3)").await;
    engine.sql("INSERT INTO t FORMAT JSONEachRow\n").await;
    assert_eq!(
        engine.sql("SELECT a, b FROM t ORDER BY a").await,
        "1\tx\n2\tnone\n3\tnone\n"
    );
    engine.engine.stop().await;
}

async fn send_gzip(engine: &Started, rows: &[u8]) {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(rows).unwrap();
    let packed = engine
        .post(&[("query", "INSERT INTO t FORMAT RowBinary")])
        .header("Content-Encoding", "gzip");
    assert_eq!(
        Answer::of(packed.body(gzip.finish().unwrap()).send().await.unwrap())
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn rows_that_cannot_be_read_leave_nothing_behind() {
    let engine = Started::new().await;
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    for (parameters, rows, code) in [
        (
            &[("query", "INSERT INTO t FORMAT RowBinary")][..],
            &b"\x01\x00\x00\x00\x01"[..],
            "33",
        ),
        (&[("query", "INSERT INTO t FORMAT TSV")], b"1\nx\n", "27"),
        (
            &[("query", "INSERT INTO t FORMAT RowBinary"), ("decompress", "1")],
            b"not a block of twenty-five bytes or more",
            "271",
        ),
        (&[("query", "INSERT INTO t FORMAT CSV; ")], b"1\n", "477"),
    ] {
        let answer = Answer::of(engine.post(parameters).body(rows).send().await.unwrap()).await;
        assert_eq!(
            answer.header("x-clickhouse-exception-code"),
            code,
            "{parameters:?}: {}",
            answer.body
        );
        assert!(!answer.body.contains("/proc/self/fd"), "{}", answer.body);
    }
    assert_eq!(engine.sql("SELECT count() FROM t").await, "0\n");
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_body_cut_short_by_its_client_leaves_nothing_behind() {
    let engine = Started::new().await;
    engine
        .sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        .await;
    let address = engine.endpoint.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /?query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        engine.endpoint.password.reveal()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"4\r\n1\n2\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)
        .await
        .unwrap();
    assert_eq!(engine.sql("SELECT count() FROM t").await, "0\n");
    engine.engine.stop().await;
}
