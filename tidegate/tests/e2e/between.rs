//! An audit that is killed with -9 when ClickHouse has a block and before anybody notes it: the next one repeats exactly
//! that block, and no table holds a row twice. In: roles apart on Kafka, and a proxy before ClickHouse that knows the
//! moment. Out: tables, unmerged, with one row a thing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::response::Response;
use rustix::process::{Pid, Signal, kill_process};
use tidegate_providers::Catalogue;
use tidegate_testkit::clickhouse::Engine;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{PATIENCE, Server};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::apart::{Rounds, apply, beside, decided_once, delivered};
use crate::audits::counts;
use crate::launch;
use crate::rolling::has_again;
use crate::serving::simple;
use crate::writers::with_engine;

const TABLES: [&str; 3] = ["webhook_requests", "webhook_events", "delivery_attempts"];

/// What stands between an audit and ClickHouse.
struct Between {
    upstream: String,
    http: reqwest::Client,
    /// The table at whose next block which process is killed.
    kills: Mutex<Option<(&'static str, u32)>>,
}

impl Between {
    async fn start(engine: &Engine) -> (Arc<Self>, String) {
        let between = Arc::new(Self {
            upstream: engine.url(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            kills: Mutex::new(None),
        });
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let routes = Router::new().fallback(pass).with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (between, format!("http://{address}"))
    }

    /// Kills the audit at the next block of a table, and waits until that has happened.
    async fn kill_at(&self, table: &'static str, audit: &Server, load: impl Future<Output = ()>) {
        *self.kills.lock().await = Some((table, audit.pid()));
        load.await;
        let began = Instant::now();
        while self.kills.lock().await.is_some() {
            assert!(
                began.elapsed() < PATIENCE,
                "no block of {table} comes:\n{}",
                audit.printed()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Passes a request on, and the answer back, unless it is the one after which the audit is to be dead.
async fn pass(State(between): State<Arc<Between>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .expect("the audit sends it all");
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let url = format!("{}{}", between.upstream, head.uri);
    let answer = between
        .http
        .request(head.method, url)
        .headers(head.headers)
        .body(body)
        .send()
        .await
        .expect("ClickHouse answers");
    let question = head.uri.query().unwrap_or_default();
    let mut kills = between.kills.lock().await;
    if let Some((table, pid)) = *kills
        && answer.status().is_success()
        && question.contains("insert_deduplication_token")
        && question.contains(table)
    {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
        kill_process(pid, Signal::KILL).expect("the audit runs");
        *kills = None;
    }
    drop(kills);
    let mut passed = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH {
            passed = passed.header(name, value);
        }
    }
    let body = answer.bytes().await.expect("ClickHouse answers");
    passed.body(Body::from(body)).expect("ClickHouse's own answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_killed_before_it_notes_a_block_repeats_exactly_that_block() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, engine) = with_engine(launch(folders[0].path()), "between").await;
    let launch = launch.set("TIDEGATE_ROLES", "api,ingest,processor,forward");
    let (between, url) = Between::start(&engine).await;
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let server = launch.start().await;
    let audit = beside(&launch, folders[1].path(), "audit").set("TIDEGATE__CLICKHOUSE__URL", &url);
    let mut audit = audit.start().await;
    // Four partitions of `requests`, and one of each of the others.
    has_again(&audit, 6.0).await;
    // Merging would make two rows of one thing one.
    let stopped = between.http.post(engine.url()).body("SYSTEM STOP MERGES");
    let stopped = stopped
        .basic_auth(engine.user(), Some(engine.password()))
        .send()
        .await;
    assert!(
        stopped.is_ok_and(|answer| answer.status().is_success()),
        "it merges no more"
    );
    let names: Vec<String> = (0..6).map(|number| format!("mine-{number}")).collect();
    let paths = apply(&server, &receiver, (&recorded, &names)).await;
    let rounds = Rounds::to(server.ingest().await, paths);
    let mut sent = std::collections::BTreeSet::new();
    for table in TABLES {
        between.kill_at(table, &audit, rounds.send(&mut sent)).await;
        let again = audit.launch().clone();
        audit = again.start().await;
    }
    rounds.send(&mut sent).await;
    let events = decided_once(&server, &sent).await;
    delivered(&receiver, &events).await;
    for table in TABLES {
        let sql = format!("SELECT count() AS n FROM {table}");
        counts(&server, (&sql, sent.len())).await;
    }
    assert!(audit.terminate().await.success(), "it ends in order");
}
