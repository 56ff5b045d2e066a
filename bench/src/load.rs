//! Load from a process of its own, so that its CPU is not the server's: `wrk` for as much as it can in a time, and
//! [`send`] for a number of requests, which a program runs in a child of itself. In: a request. Out: how many were
//! answered with 2xx; any other answer is a failure.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tidegate_providers::Sample;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;

/// What `wrk` reports.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests that were answered.
    pub requests: u64,
    /// How many a second.
    pub per_second: f64,
}

/// Runs `wrk` against the sample's URL. Its script lies in `folder`.
///
/// # Errors
/// When `wrk` is missing, or any answer was none or no 2xx.
pub fn wrk(sample: &Sample, folder: &Path, (connections, time): (usize, Duration)) -> Result<Load, Failure> {
    let (script, body) = (folder.join("post.lua"), folder.join("body"));
    std::fs::write(&body, &sample.body)?;
    let mut lua = format!("wrk.method = {:?}\n", sample.method);
    writeln!(lua, "wrk.body = io.open({body:?}, \"rb\"):read(\"*a\")")?;
    for (name, value) in headers(sample) {
        writeln!(lua, "wrk.headers[{name:?}] = {value:?}")?;
    }
    std::fs::write(&script, lua)?;
    let output = Command::new("wrk")
        .args(["--threads", "2", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", time.as_secs())])
        .arg("--script")
        .arg(&script)
        .arg(&sample.url)
        .output()
        .map_err(|error| format!("wrk cannot be run (apt-get install wrk): {error}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || report.contains("Non-2xx") || report.contains("Socket errors") {
        return Err(format!("wrk: {report}").into());
    }
    let before = |mark: &str| report.split_once(mark).map(|(before, _)| before);
    let requests = before(" requests in ").and_then(|text| text.split_whitespace().last());
    let per_second = report.split_once("Requests/sec:").map(|(_, after)| after.trim());
    Ok(Load {
        requests: requests.ok_or("wrk names no requests")?.parse()?,
        per_second: per_second
            .and_then(|text| text.split_whitespace().next())
            .ok_or("wrk names no rate")?
            .parse()?,
    })
}

/// The bytes of a request over a kept connection.
#[must_use]
pub fn encode(sample: &Sample, host: &str) -> Vec<u8> {
    let path = sample
        .url
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').and_then(|slash| rest.get(slash..)))
        .unwrap_or("/");
    let mut bytes = format!("{} {path} HTTP/1.1\r\nhost: {host}\r\n", sample.method);
    for (name, value) in headers(sample) {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += &format!("content-length: {}\r\n\r\n", sample.body.len());
    [bytes.as_bytes(), &sample.body].concat()
}

fn headers(sample: &Sample) -> impl Iterator<Item = (&str, String)> {
    let all = sample.headers.0.iter();
    all.filter(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "host" | "content-length"))
        .map(|(name, value)| {
            (
                name.as_ref(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
}

/// Sends a request `times` over `connections` kept connections, each waiting for its answer; at most `per_second`, or,
/// with 0, as fast as they are answered.
///
/// # Errors
/// When a connection breaks, or an answer is no 2xx.
pub async fn send(
    address: &str,
    request: Vec<u8>,
    (times, connections, per_second): (u64, u64, u32),
) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for number in 0..connections {
        let (address, request) = (address.to_owned(), request.clone());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut answer = Vec::with_capacity(4096);
            for at in (number..times).step_by(usize::try_from(connections)?) {
                if per_second > 0 {
                    #[allow(clippy::cast_precision_loss)] // a pace
                    let due = Duration::from_secs_f64(at as f64 / f64::from(per_second));
                    tokio::time::sleep_until((begun + due).into()).await;
                }
                stream.write_all(&request).await?;
                read_answer(&mut stream, &mut answer).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<(), Failure> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err("the server hung up".into());
        }
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default());
        if !text.starts_with("HTTP/1.1 2") {
            return Err(format!("an answer: {text}").into());
        }
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>())
        });
        if answer.len() >= head + 4 + length.transpose()?.unwrap_or(0) {
            return Ok(());
        }
    }
}
