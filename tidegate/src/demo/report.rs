//! What became of each request, read back from ClickHouse, beside what should have. In: what was sent, what arrived.
//! Out: a page for a person and the list of what is not as it should be. Waits until ClickHouse has it all, or gives up.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::receiver::Arrived;
use super::story::Sent;
use crate::api::question::Question;
use crate::client::Client;

/// How long ClickHouse and the receiver may take; the audit writes once a second, the failing endpoint is tried again
/// after a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// What ClickHouse says about one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    request: Option<RequestRow>,
    events: Vec<EventRow>,
    attempts: Vec<AttemptRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct RequestRow {
    kind: String,
    refusal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct EventRow {
    event_id: String,
    connection: String,
    event_type: String,
    outcome: String,
    reason: String,
    verified: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct AttemptRow {
    endpoint: String,
    number: u32,
    status: String,
    http_status: u16,
}

/// Asks until everything is as it should be, or time is over.
///
/// # Errors
/// When ClickHouse cannot be asked at all.
pub async fn wait(
    client: &Client,
    sent: &Sent,
    arrived: impl Fn() -> Vec<Arrived>,
) -> anyhow::Result<(Verdict, Vec<String>)> {
    let began = Instant::now();
    loop {
        let verdict = ask(client, &sent.request).await?;
        let wrong = complaints(sent, &verdict, &arrived());
        if wrong.is_empty() || began.elapsed() > PATIENCE {
            return Ok((verdict, wrong));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn ask(client: &Client, request: &str) -> anyhow::Result<Verdict> {
    let id = format!("request_id = '{request}'");
    let requests = rows(client, format!("SELECT kind, refusal FROM requests WHERE {id}")).await?;
    let events = rows(
        client,
        format!(
            "SELECT event_id, connection, event_type, outcome, reason, verified FROM events WHERE {id} ORDER BY position, connection"
        ),
    );
    let attempts = rows(
        client,
        format!(
            "SELECT endpoint, number, status, http_status FROM attempts WHERE {id} ORDER BY attempted_at"
        ),
    );
    Ok(Verdict {
        request: requests.into_iter().next(),
        events: events.await?,
        attempts: attempts.await?,
    })
}

async fn rows<T: for<'de> Deserialize<'de>>(client: &Client, sql: String) -> anyhow::Result<Vec<T>> {
    let answer = client
        .stream(
            "/api/v1/query",
            &Question {
                sql,
                format: "JSONEachRow".to_owned(),
            },
        )
        .await?;
    let text = answer.text().await?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// What is not as the story says.
fn complaints(sent: &Sent, verdict: &Verdict, arrived: &[Arrived]) -> Vec<String> {
    let step = &sent.step;
    let refusal = verdict
        .request
        .as_ref()
        .map_or("missing", |row| row.refusal.as_str());
    let outcomes: Vec<_> = verdict
        .events
        .iter()
        .map(|event| event.outcome.as_str())
        .collect();
    let unattributed = verdict.events.iter().filter(|event| event.connection.is_empty());
    let delivered = verdict
        .attempts
        .iter()
        .filter(|attempt| attempt.status == "delivered");
    let retried = delivered.clone().any(|attempt| attempt.number > 1);
    let own = |arrived: &&Arrived| verdict.events.iter().any(|event| event.event_id == arrived.event);
    let expected = [
        ("the status", sent.status.to_string(), step.status.to_string()),
        (
            "that the answer holds the challenge",
            sent.answer.contains(&step.answer).to_string(),
            true.to_string(),
        ),
        (
            "the refusal on record",
            refusal.to_owned(),
            if step.refusal.is_empty() {
                refusal.to_owned()
            } else {
                step.refusal.clone()
            },
        ),
        ("the outcome", outcomes.join(", "), step.outcomes.join(", ")),
        (
            "the number of events without a connection",
            unattributed.count().to_string(),
            step.unattributed.to_string(),
        ),
        (
            "the number of deliveries in ClickHouse",
            delivered.count().to_string(),
            step.delivered.to_string(),
        ),
        (
            "the number of deliveries that arrived",
            arrived.iter().filter(own).count().to_string(),
            step.delivered.to_string(),
        ),
        (
            "that a delivery was tried again",
            (retried || !step.retried).to_string(),
            true.to_string(),
        ),
    ];
    let wrong = expected.into_iter().filter(|(_, is, should)| is != should);
    wrong
        .map(|(what, is, should)| format!("{}: {what} is {is}, should be {should}", step.title))
        .collect()
}

/// One step for a person.
pub fn page(sent: &Sent, verdict: &Verdict) -> String {
    let mut page = String::new();
    let line =
        |page: &mut String, text: String| writeln!(page, "    {text}").expect("a String takes everything");
    writeln!(page, "\n▸ {}", sent.step.title).expect("a String takes everything");
    line(
        &mut page,
        format!("answered   {}  {}", sent.status, sent.answer.trim()),
    );
    match &verdict.request {
        Some(row) if row.kind != "received" => {
            line(&mut page, format!("recorded   {} ({})", row.kind, row.refusal))
        }
        Some(_) => {}
        None => line(&mut page, "recorded   not in ClickHouse".to_owned()),
    }
    for event in &verdict.events {
        let whose = if event.connection.is_empty() {
            "nobody's"
        } else {
            &event.connection
        };
        line(
            &mut page,
            format!(
                "event      {:<24} {:<16} {} ({}), verified: {}",
                event.event_type, whose, event.outcome, event.reason, event.verified
            ),
        );
    }
    for attempt in &verdict.attempts {
        line(
            &mut page,
            format!(
                "attempt {}  {:<24} {:<16} HTTP {}",
                attempt.number, attempt.endpoint, attempt.status, attempt.http_status
            ),
        );
    }
    page
}
