//! Large bodies and results: memory stays bounded, errors in mid-stream are told, and a query ends with its client.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use crate::started::{Started, peak_bytes, reset_peak};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn a_hundred_megabytes_stream_out_in_bounded_memory() {
    let engine = Started::new().await;
    engine.sql("SELECT repeat('x', 1000) FROM numbers(1000)").await;
    for format in ["RowBinary", "JSON", "TabSeparated"] {
        reset_peak(engine.process());
        let before = peak_bytes(engine.process());
        let query = format!("SELECT repeat('x', 100) AS s FROM numbers(2000000) FORMAT {format}");
        let mut answer = engine.post(&[]).body(query).send().await.unwrap();
        let mut received = 0_u64;
        while let Some(piece) = answer.chunk().await.unwrap() {
            received += piece.len() as u64;
        }
        assert!(received >= 200_000_000, "{format}: {received}");
        let grown = peak_bytes(engine.process()).saturating_sub(before);
        println!("{format}: {} MiB more for {} MiB", grown / MIB, received / MIB);
        assert!(
            grown < 150 * MIB,
            "{format}: {} MiB more for {} MiB",
            grown / MIB,
            received / MIB
        );
    }
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_hundred_megabytes_stream_in_in_bounded_memory() {
    let engine = Started::new().await;
    engine.sql("CREATE TABLE t (a String) ENGINE = Null").await;
    engine.sql("INSERT INTO t FORMAT TSV\nx\n").await;
    reset_peak(engine.process());
    let before = peak_bytes(engine.process());
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let line = Bytes::from(format!("{}\n", "y".repeat(999)).repeat(1000));
        for _ in 0..400 {
            sender.send(line.clone()).await.unwrap();
        }
    });
    // the engine gathers rows into blocks of up to 256 MiB, which is not what is asked here
    let blocks = [
        ("min_insert_block_size_bytes", "4194304"),
        ("min_insert_block_size_rows", "4096"),
        ("max_insert_block_size", "4096"),
        ("max_block_size", "4096"),
    ];
    let parameters = [&[("query", "INSERT INTO t FORMAT TSV")][..], &blocks].concat();
    let body = reqwest::Body::wrap(Pieces(receiver));
    let answer = engine.post(&parameters).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let summary: serde_json::Value =
        serde_json::from_slice(answer.headers()["x-clickhouse-summary"].as_bytes()).unwrap();
    assert_eq!(summary["written_rows"], "400000");
    let grown = peak_bytes(engine.process()).saturating_sub(before);
    println!("{} MiB more for 400 MB", grown / MIB);
    assert!(grown < 150 * MIB, "{} MiB more for 400 MB", grown / MIB);
    engine.engine.stop().await;
}

/// A body that is sent as its pieces come.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn an_error_in_mid_stream_is_told_behind_the_rows() {
    let engine = Started::new().await;
    let query = "SELECT throwIf(number = 900000), repeat('x', 10) FROM numbers(1000000) SETTINGS max_block_size = 10000";
    for compress in ["0", "1"] {
        let mut answer = engine
            .post(&[("compress", compress)])
            .body(query)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let tag = answer.headers()["x-clickhouse-exception-tag"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(tag.len(), 16);
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.unwrap() {
            body.extend_from_slice(&piece);
        }
        let end = String::from_utf8_lossy(&body[body.len() - 1000..]).into_owned();
        let (_, told) = end
            .split_once(&format!("\r\n__exception__\r\n{tag}\r\n"))
            .unwrap();
        let (message, rest) = told.split_once('\n').unwrap();
        assert!(
            message.starts_with("Code: 395. DB::Exception: ") && message.ends_with("))"),
            "{message}"
        );
        assert_eq!(rest, format!("{} {tag}\r\n__exception__\r\n", message.len() + 1));
    }
    engine.engine.stop().await;
}

#[tokio::test]
async fn a_query_ends_when_its_client_hangs_up() {
    let engine = Started::new().await;
    engine.sql("CREATE TABLE sink (n UInt64) ENGINE = Null").await;
    let running = "SELECT count() FROM system.processes WHERE query LIKE '%100000000001%' AND query NOT LIKE '%processes%'";
    for (query, has_result) in [
        (
            "SELECT count() FROM numbers(100000000001) WHERE NOT ignore(number)",
            false,
        ),
        ("SELECT number FROM numbers(100000000001)", true),
        ("INSERT INTO sink SELECT number FROM numbers(100000000001)", false),
    ] {
        let asking = tokio::spawn(engine.post(&[]).body(query).send());
        engine.wait_for(running, "1\n").await;
        if has_result {
            let mut answer = asking.await.unwrap().unwrap();
            assert!(answer.chunk().await.unwrap().is_some(), "{query}");
            drop(answer);
        } else {
            asking.abort();
        }
        engine.wait_for(running, "0\n").await;
    }
    engine.engine.stop().await;
}
