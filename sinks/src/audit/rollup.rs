//! Per-minute sums: which minutes have rows that no run has seen, and a run that writes such a minute whole.
//! In: the tables, through ClickHouse alone. Out: rows of the rollup tables, then their run in `rollup_runs`, which makes
//! them count. Runs in the owner of partition 0 of `outcomes`; two at once do no harm, since a run number is not reused.
//!
//! A minute is taken up once no row of it has come for `rollup_wait_s`, which is longer than an insert takes: so what
//! was inserted before a run began is in it, and what came later makes the minute due again.

use std::time::{Duration, SystemTime};

use clickhouse::error::Result;
use clickhouse::{Client, Row};
use serde::Deserialize;
use tidegate_schemas::UnixMillis;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::{execute, within};
use super::config::Config;
use super::error::Error;
use super::metrics;

/// One kind of sums.
struct Rollup {
    name: &'static str,
    table: &'static str,
    view: &'static str,
    time: &'static str,
    target: &'static str,
    dimensions: &'static str,
    /// The columns of the sums, and what stands in them.
    sums: (&'static str, &'static str),
}

const ROLLUPS: [Rollup; 3] = [
    Rollup {
        name: "requests",
        table: "webhook_requests",
        view: "requests",
        time: "received_at",
        target: "request_rollups",
        dimensions: "provider, kind, status, refusal",
        sums: ("requests, body_bytes", "count(), sum(body_bytes)"),
    },
    Rollup {
        name: "events",
        table: "webhook_events",
        view: "events",
        time: "received_at",
        target: "event_rollups",
        dimensions: "provider, event_type, attribution, outcome, reason",
        sums: ("events, deliveries", "count(), sum(length(endpoints))"),
    },
    Rollup {
        name: "attempts",
        table: "delivery_attempts",
        view: "attempts",
        time: "attempted_at",
        target: "attempt_rollups",
        dimensions: "provider, endpoint_id, status, reason, http_status",
        sums: (
            "attempts, duration_micros, duration_micros_max",
            "count(), sum(duration_micros), max(duration_micros)",
        ),
    },
];

/// Seconds of a minute.
const MINUTE_S: u64 = 60;
/// How many waits a minute may be put off because rows of it keep coming.
const PUT_OFF_WAITS_MAX: u64 = 4;

/// A minute with rows that no run has seen.
#[derive(Debug, Row, Deserialize)]
struct Due {
    minute: u32,
    checked_at: i64,
}

/// The task that writes them.
pub(crate) struct Rollups {
    client: Client,
    config: Config,
    last_run: u64,
    /// Per rollup, in ClickHouse's milliseconds: rows inserted before this have been seen.
    seen: [Option<i64>; ROLLUPS.len()],
}

impl Rollups {
    pub(crate) fn new(client: Client, config: &Config) -> Rollups {
        Rollups {
            client,
            config: config.clone(),
            last_run: 0,
            seen: [None; ROLLUPS.len()],
        }
    }

    /// Looks for due minutes until `shutdown`, while it is this process's turn. What fails is tried again at the next
    /// look.
    pub(crate) async fn run(
        mut self,
        shutdown: CancellationToken,
        is_ours: watch::Receiver<bool>,
    ) -> std::result::Result<(), Error> {
        let interval = self.config.rollup_interval().max(Duration::from_millis(1));
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            if !*is_ours.borrow() {
                // Another process sums up meanwhile: what it has seen is asked for when the turn comes back.
                self.seen = [None; ROLLUPS.len()];
                self.last_run = 0;
                continue;
            }
            tokio::select! {
                done = self.look() => if let Err(error) = done {
                    tracing::warn!(%error, "minutes cannot be summed up now");
                },
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// Writes every due minute.
    pub(crate) async fn look(&mut self) -> Result<()> {
        for (index, rollup) in ROLLUPS.iter().enumerate() {
            self.catch_up(index, rollup).await?;
        }
        Ok(())
    }

    /// Writes every due minute of one rollup.
    async fn catch_up(&mut self, index: usize, rollup: &Rollup) -> Result<()> {
        let since = match self.seen[index] {
            Some(since) => since,
            None => self.resume(rollup).await?,
        };
        loop {
            let due = self.due(rollup, since).await?;
            let Some(checked_at) = due.first().map(|first| first.checked_at) else {
                return Ok(());
            };
            let minutes: Vec<u32> = due
                .iter()
                .map(|due| due.minute)
                .filter(|minute| *minute > 0)
                .collect();
            if minutes.is_empty() {
                self.seen[index] = Some(checked_at - self.back_ms());
                return Ok(());
            }
            self.write(rollup, &minutes, checked_at).await?;
            metrics::minutes(rollup.name, minutes.len());
        }
    }

    /// From where on an owner that begins has to look: a while before the last run of any.
    async fn resume(&self, rollup: &Rollup) -> Result<i64> {
        let back = self.back_ms();
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(max(begun_at)) - {back} FROM rollup_runs WHERE rollup = '{}'",
            rollup.name
        );
        within(self.timeout(), self.client.query_raw(&sql).fetch_one::<i64>())
            .await
            .map(|since| since.max(0))
    }

    /// The due minutes behind one row that only tells ClickHouse's time.
    async fn due(&self, rollup: &Rollup, since: i64) -> Result<Vec<Due>> {
        let Rollup {
            name, table, time, ..
        } = rollup;
        let wait = self.config.rollup_wait_s;
        let (put_off, limit) = (PUT_OFF_WAITS_MAX * wait, self.config.rollup_minutes_max.max(1));
        let sql = format!(
            "WITH now64(3, 'UTC') AS checked_at \
             SELECT toUInt32(0) AS minute, toUnixTimestamp64Milli(checked_at) \
             UNION ALL \
             SELECT toUnixTimestamp(came.minute), toUnixTimestamp64Milli(checked_at) FROM \
             (SELECT toStartOfMinute({time}) AS minute, max(inserted_at) AS newest FROM {table} \
              WHERE inserted_at >= fromUnixTimestamp64Milli({since}) GROUP BY minute) AS came \
             LEFT JOIN (SELECT minute, max(begun_at) AS begun_at FROM rollup_runs WHERE rollup = '{name}' \
              GROUP BY minute) AS summed ON summed.minute = came.minute \
             WHERE newest >= summed.begun_at - INTERVAL {wait} SECOND \
             AND came.minute + INTERVAL 60 + {wait} SECOND <= checked_at \
             AND (newest <= checked_at - INTERVAL {wait} SECOND \
              OR greatest(summed.begun_at, came.minute) <= checked_at - INTERVAL 60 + {put_off} SECOND) \
             ORDER BY 1 LIMIT {}",
            limit + 1
        );
        let mut due = within(self.timeout(), self.client.query_raw(&sql).fetch_all::<Due>()).await?;
        due.sort_by_key(|due| due.minute);
        Ok(due)
    }

    /// Writes some minutes whole, then notes their run.
    async fn write(&mut self, rollup: &Rollup, minutes: &[u32], begun_at: i64) -> Result<()> {
        let run = self.next_run().await?;
        let Rollup {
            name,
            view,
            time,
            target,
            dimensions,
            sums,
            ..
        } = rollup;
        let (Some(first), Some(last)) = (minutes.iter().min(), minutes.iter().max()) else {
            return Ok(());
        };
        let listed = minutes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let (sum_columns, sums) = sums;
        let rows = format!(
            "INSERT INTO {target} (environment, integration, minute, run, {dimensions}, {sum_columns}) \
             SELECT environment, integration, toStartOfMinute({time}) AS minute, {run}, {dimensions}, {sums} FROM {view} \
             WHERE {time} >= fromUnixTimestamp({first}) AND {time} < fromUnixTimestamp({last}) + INTERVAL 60 SECOND \
             AND toUnixTimestamp(minute) IN ({listed}) \
             GROUP BY environment, integration, minute, {dimensions}",
        );
        execute(&self.client, &rows, self.timeout()).await?;
        let notes = minutes
            .iter()
            .map(|minute| {
                format!(
                    "('{name}', {minute}, {run}, {}.{:03})",
                    begun_at / 1000,
                    begun_at % 1000
                )
            })
            .collect::<Vec<_>>()
            .join(", ");
        let note = format!("INSERT INTO rollup_runs (rollup, minute, run, begun_at) VALUES {notes}");
        execute(&self.client, &note, self.timeout()).await
    }

    /// A number above every run's so far.
    async fn next_run(&mut self) -> Result<u64> {
        if self.last_run == 0 {
            let query = self.client.query_raw("SELECT max(run) FROM rollup_runs");
            self.last_run = within(self.timeout(), query.fetch_one::<u64>()).await?;
        }
        self.last_run = (self.last_run + 1).max(UnixMillis::from(SystemTime::now()).0);
        Ok(self.last_run)
    }

    fn timeout(&self) -> Duration {
        self.config.insert_timeout()
    }

    /// How long, in milliseconds, a row may be there before its minute is due: the minute must be over and quiet, and is
    /// put off so often; and a look behind.
    fn back_ms(&self) -> i64 {
        let waits = (PUT_OFF_WAITS_MAX + 2).saturating_mul(self.config.rollup_wait_s);
        let seconds = waits
            .saturating_add(2 * MINUTE_S)
            .saturating_add(self.config.rollup_interval_s);
        i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX / 4)
    }
}
