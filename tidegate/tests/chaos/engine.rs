//! The embedded ClickHouse is killed with -9, told to end, stands still for a while and stands still for good, under
//! load: requests and deliveries go on, no row is missing afterwards, and no repeat is to be seen. `TIDEGATE_CHAOS_ROUNDS`
//! sets how often all four happen.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tidegate_testkit::server::{Server, Signal};

use crate::reckoning::{reckon, rows};
use crate::{PATIENCE, Running, alone, begin, count, until};

/// Longer than an insert may take, and shorter than the engine may be silent.
const STILL: Duration = Duration::from_secs(4);
const SETTINGS: [(&str, &str); 3] = [
    ("CLICKHOUSE__INSERT_TIMEOUT_MS", "3000"),
    ("CLICKHOUSE__RETRY_WAIT_MAX_MS", "1000"),
    ("ENGINE__SILENCE_MAX_MS", "10000"),
];

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Repeats {
    requests: i32,
    events: i32,
    attempts: i32,
    delivered: i32,
}

#[test]
fn an_engine_that_is_killed_or_stopped_costs_no_row_and_doubles_none() {
    alone(async {
        let folder = tempfile::tempdir().unwrap();
        let running = begin(folder.path(), &SETTINGS, crate::MANIFEST).await;
        rows_are_there(&running.server).await;
        let rounds = count("TIDEGATE_CHAOS_ROUNDS", 1);
        for round in 1..=rounds {
            for signal in [Signal::KILL, Signal::TERM] {
                let engine = running.server.signal_engine(signal);
                running.goes_on().await;
                running.is_started_again(engine).await;
            }
            running.stands_still().await;
            running.hangs().await;
            println!(
                "{round} of {rounds} rounds with the engine, {} requests accepted",
                running.load.accepted()
            );
        }
        let account = reckon(&running.server, running.load, &running.receiver).await;
        println!("counted: {account}");
        assert_eq!(account.accepted, account.delivered);
        assert_eq!(account.repeats, 0, "the server itself never stopped");
        let repeats: Vec<Repeats> = rows(
            &running.server,
            "SELECT toInt32((SELECT count() - uniqExact(request_id) FROM requests)) AS requests, \
             toInt32((SELECT count() - uniqExact(event_id) FROM events)) AS events, \
             toInt32((SELECT count() - uniqExact(attempt_id) FROM attempts)) AS attempts, \
             toInt32((SELECT count() - uniqExact(delivery_id) FROM attempts WHERE status = 'delivered')) AS delivered",
        )
        .await
        .unwrap();
        let none = Repeats {
            requests: 0,
            events: 0,
            attempts: 0,
            delivered: 0,
        };
        assert_eq!(repeats, [none], "repeats are to be seen");
    });
}

impl Running {
    /// The engine stands still so long that inserts are given up, and goes on.
    async fn stands_still(&self) {
        let engine = self.server.signal_engine(Signal::STOP);
        let stopped = Instant::now();
        self.goes_on().await;
        until("the engine has stood still", || stopped.elapsed() > STILL).await;
        // On a machine that is slow enough it has been killed by now.
        if self.server.engine() == Some(engine) {
            self.server.signal_engine(Signal::CONT);
        }
        rows_are_there(&self.server).await;
    }

    /// The engine stands still for good: it is said, and another is started.
    async fn hangs(&self) {
        let engine = self.server.signal_engine(Signal::STOP);
        let began = Instant::now();
        while !self.server.get("/readyz").await.contains("does not answer") {
            assert!(
                began.elapsed() < PATIENCE,
                "/readyz never says that the engine hangs"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.goes_on().await;
        self.is_started_again(engine).await;
    }

    async fn is_started_again(&self, engine: u32) {
        until("the engine is started again", || {
            self.server.engine().is_some_and(|new| new != engine)
        })
        .await;
        rows_are_there(&self.server).await;
    }
}

/// Waits until the engine holds events that came after this was asked.
async fn rows_are_there(server: &Server) {
    #[derive(Deserialize)]
    struct Newest {
        age: f64,
    }
    let began = Instant::now();
    loop {
        let sql = "SELECT dateDiff('millisecond', max(received_at), now64(3)) / 1000 AS age FROM events";
        let newest: Result<Vec<Newest>, _> = rows(server, sql).await;
        let age = newest.ok().and_then(|rows| Some(rows.first()?.age));
        if age.is_some_and(|age| age < began.elapsed().as_secs_f64()) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the engine takes no rows");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
