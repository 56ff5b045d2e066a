//! The reckoning: asks ClickHouse and the receiver until everything is there that was answered with a 2xx, and judges
//! the ledger. In: the running parts; the load is stopped. Out: the counts, or a failure that names what is missing,
//! double or foreign.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_testkit::server::Server;

use crate::PATIENCE;
use crate::ledger::{Ledger, Shown, Taken};
use crate::load::Load;
use crate::receiver::Receiver;

/// What the audit logs when rows were given up before it had read them.
const GIVEN_UP: &str = "were freed before clickhouse had them";
/// How long rows are waited for that may have been given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(20);
/// How many faults are told.
const TOLD_MAX: usize = 10;

/// The counts of a run in which everything came out as it should.
#[derive(Clone, Copy)]
pub struct Account {
    /// Requests answered with a 2xx.
    pub accepted: usize,
    /// Events delivered at least once; more than accepted when a crash kept an answer from its sender.
    pub delivered: usize,
    /// Deliveries beyond the first of each event.
    pub repeats: u64,
    /// Rows that ClickHouse does not have, because the log gave them up for want of space.
    pub rows_given_up: usize,
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} requests accepted, {} events delivered, {} repeats",
            self.accepted, self.delivered, self.repeats
        )?;
        match self.rows_given_up {
            0 => Ok(()),
            rows => write!(formatter, ", {rows} audit rows given up for want of space"),
        }
    }
}

/// Stops the load, waits until everything is there, and judges it.
pub async fn reckon(server: &Server, load: Load, receiver: &Receiver) -> Account {
    let account = reckon_deliveries(server, load, receiver).await;
    assert_eq!(account.rows_given_up, 0, "the log gave up rows");
    account
}

/// The same where the log may have given up rows for want of space, if it said so.
pub async fn reckon_deliveries(server: &Server, load: Load, receiver: &Receiver) -> Account {
    let (sent, refused) = load.stop().await;
    for refused in refused {
        assert_eq!(refused.status, 503, "a genuine request was refused: {refused:?}");
    }
    let began = Instant::now();
    let (ledger, rows_given_up) = loop {
        let missing = match shown(server).await {
            Ok(shown) => {
                let taken = Taken {
                    events: receiver.events("taking"),
                    wrong: receiver.wrong(),
                };
                let ledger = Ledger {
                    sent: &sent,
                    shown,
                    taken,
                };
                let missing = ledger.missing();
                let waited = began.elapsed() > GIVEN_UP_AFTER && server.printed().contains(GIVEN_UP);
                if missing.deliveries.is_empty() && (missing.rows.is_empty() || waited) {
                    break (ledger, missing.rows.len());
                }
                [missing.deliveries, missing.rows].concat()
            }
            Err(error) => vec![format!("ClickHouse does not answer: {error}")],
        };
        if began.elapsed() >= PATIENCE {
            panic!(
                "of {} accepted requests, {} things are missing:\n{}\nof their attempts ClickHouse has:\n{}",
                sent.accepted.len(),
                missing.len(),
                some_of(&missing),
                attempts_of(server, &missing).await
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let excess = ledger.excess(rows_given_up == 0);
    assert!(
        excess.is_empty(),
        "{} things too many:\n{}",
        excess.len(),
        some_of(&excess)
    );
    let repeats = ledger.taken.events.values().map(|got| got.times - 1);
    Account {
        accepted: sent.accepted.len(),
        delivered: ledger.taken.events.len(),
        repeats: repeats.sum(),
        rows_given_up,
    }
}

/// The rows of a question to ClickHouse; an error when it is away just now.
pub async fn rows<T: DeserializeOwned>(server: &Server, sql: &str) -> Result<Vec<T>, String> {
    let rows = server.query(sql).await?.into_iter();
    rows.map(|row| serde_json::from_value(row).map_err(|error| error.to_string()))
        .collect()
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// What ClickHouse shows of the endpoint that takes all.
async fn shown(server: &Server) -> Result<Shown, String> {
    let ids = async |sql: &str| {
        let rows: Vec<Id> = rows(server, sql).await?;
        Ok::<_, String>(rows.into_iter().map(|row| row.id).collect())
    };
    Ok(Shown {
        requests: ids("SELECT toString(request_id) AS id FROM requests WHERE kind = 'received'").await?,
        events: rows(
            server,
            "SELECT toString(request_id) AS request, toString(event_id) AS event, outcome FROM events",
        )
        .await?,
        delivered: ids(
            "SELECT DISTINCT toString(event_id) AS id FROM attempts WHERE status = 'delivered' AND endpoint = 'taking'",
        )
        .await?,
    })
}

/// What ClickHouse has of the attempts of the events that faults name, replaced rows too; for whoever looks for the cause.
async fn attempts_of(server: &Server, faults: &[String]) -> String {
    let named = faults
        .iter()
        .filter_map(|fault| fault.strip_prefix("event ")?.split(' ').next());
    let ids: Vec<String> = named.take(TOLD_MAX).map(|id| format!("'{id}'")).collect();
    if ids.is_empty() {
        return String::new();
    }
    let sql = format!(
        "SELECT toString(event_id) AS event, event_partition, event_offset, number, status, reason, endpoint, \
         toString(attempted_at) AS at, version FROM delivery_attempts WHERE event_id IN ({})",
        ids.join(", ")
    );
    match server.query(&sql).await {
        Ok(rows) => rows.iter().map(|row| format!("{row}\n")).collect(),
        Err(error) => format!("nothing, it does not answer: {error}"),
    }
}

fn some_of(faults: &[String]) -> String {
    faults
        .get(..faults.len().min(TOLD_MAX))
        .unwrap_or_default()
        .join("\n")
}
