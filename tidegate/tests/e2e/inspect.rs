//! `tidegate log inspect` beside a server under load: it counts what was acknowledged, changes nothing and disturbs
//! nobody. In: one integration and a sender that does not stop. Out: counts, and the bytes of the log's files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Map, json};
use tidegate_providers::Catalogue;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Launch;

use crate::recorded::{Recorded, manifest, now, send};
use crate::serving::simple;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// Requests that are acknowledged between two looks.
const BETWEEN: u64 = 20;
const LOOKS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_inspected_beside_a_server_under_load() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let recorded = simple(&catalogue);
    let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
    let integrations = Map::from_iter([("mine".to_owned(), recorded.manifest())]);
    let text = manifest(&[("tests", integrations, endpoints)]);
    let server = launch(folder.path()).start().await;
    let url = server.apply(&text, &no_variables()).await[&("tests".to_owned(), "mine".to_owned())].clone();
    let (sent, acknowledged, stop) = (counter(), counter(), Arc::new(AtomicBool::new(false)));
    let sending = tokio::spawn(load(
        (recorded, url),
        (sent.clone(), acknowledged.clone()),
        stop.clone(),
    ));
    for look in 1..=LOOKS {
        while acknowledged.load(Ordering::SeqCst) < look as u64 * BETWEEN {
            assert!(!sending.is_finished(), "the sender ended");
            tokio::task::yield_now().await;
        }
        let at_least = acknowledged.load(Ordering::SeqCst);
        let launch = server.launch().clone();
        let found = tokio::task::spawn_blocking(move || requests_found(&launch)).await;
        let found = found.expect("the program runs");
        let at_most = sent.load(Ordering::SeqCst);
        assert!(
            (at_least..=at_most).contains(&found),
            "{found} requests found, {at_least} acknowledged before, {at_most} sent after"
        );
    }
    stop.store(true, Ordering::SeqCst);
    sending.await.expect("every request was acknowledged");
    let all = acknowledged.load(Ordering::SeqCst);
    let sql = format!("SELECT count() AS n FROM events HAVING n = {all}");
    let rows = server.query_until(&sql, |rows| !rows.is_empty()).await;
    assert_eq!(rows.len(), 1, "every request became an event");
    let launch = server.launch().clone();
    server.terminate().await;
    let before = files(&folder.path().join("log"));
    assert_eq!(requests_found(&launch), all);
    assert!(
        files(&folder.path().join("log")) == before,
        "a look changed the log"
    );
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}

/// Sends one request after the other.
async fn load(
    (recorded, url): (Recorded, String),
    (sent, acknowledged): (Arc<AtomicU64>, Arc<AtomicU64>),
    stop: Arc<AtomicBool>,
) {
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let definition = catalogue.get(&recorded.provider).expect("a definition");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    while !stop.load(Ordering::SeqCst) {
        let sample = recorded
            .signed(&definition, (url.as_str(), now()))
            .expect("it can be signed");
        sent.fetch_add(1, Ordering::SeqCst);
        let (status, _, body) = send(&http, &sample).await;
        assert_eq!(status, 200, "{body}");
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// How many messages of `requests` a look finds, over all segments and partitions.
fn requests_found(launch: &Launch) -> u64 {
    let output = launch.command(&["log", "inspect", "--partitions"]).output();
    let output = output.expect("the program starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.contains("no damage"),
        "{printed}{complaint}"
    );
    let of_requests = printed
        .lines()
        .filter(|line| line.trim_start().starts_with("requests/"));
    let counts = of_requests.map(|line| {
        let (before, _) = line.split_once(" messages").expect("a line counts its messages");
        let count = before
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("no count in {line}"))
    });
    counts.sum()
}

/// What is in every file below a folder, as a hash.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the log's folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let mut hasher = DefaultHasher::new();
            hasher.write(&std::fs::read(&path).expect("a file"));
            all.insert(path.display().to_string(), hasher.finish());
        }
    }
    all
}
