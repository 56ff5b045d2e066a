//! Several processes write one registry on Kafka: races between two that answer the API, the death of the one that
//! writes, and what ingest and forward learn and hand on. In: real processes, and an engine of their own where roles
//! are apart.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tidegate_providers::{Catalogue, SecretAt};
use tidegate_testkit::clickhouse::Engine;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{Launch, PATIENCE, Server};

use crate::apart::{api_beside, beside};
use crate::kafka::on_kafka;
use crate::recorded::{Recorded, all, manifest, now, recordings, send};
use crate::serving::simple_manifest;
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// A manifest with one environment and one endpoint.
fn endpoint_at(environment: &str, url: &str) -> Value {
    let endpoints = json!({ "main": { "url": url, "secret": ENDPOINT_SECRET } });
    let text = manifest(&[(environment, Map::new(), endpoints)]);
    json!({ "file": "test.yaml", "text": text, "variables": {}, "prune": false, "write": true })
}

/// Both apply at once; how many were told that the other was faster. Nothing else may go wrong, and one must win.
async fn race(processes: [&Server; 2], environment: &str, round: usize) -> usize {
    let urls = ["a", "b"].map(|side| format!("https://example.com/{side}/{round}"));
    let wanted = urls.map(|url| endpoint_at(environment, &url));
    let [one, two] = processes;
    let ended = tokio::join!(
        one.post("/api/v1/apply", &wanted[0]),
        two.post("/api/v1/apply", &wanted[1])
    );
    let ended = [ended.0, ended.1];
    let is_conflict = |problem: &&String| problem.starts_with("409") && problem.contains("\"conflict\"");
    let conflicts = ended
        .iter()
        .filter_map(|it| it.as_ref().err())
        .filter(is_conflict)
        .count();
    let won = ended.iter().filter(|it| it.is_ok()).count();
    assert_eq!(won + conflicts, 2, "round {round}: {ended:?}");
    assert!(won >= 1, "round {round}: one wins: {ended:?}");
    conflicts
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_api_processes_that_race_one_wins_and_a_killed_writer_is_followed_by_the_other() {
    let (folder, other) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let (launch, _) = on_kafka(launch(folder.path()), "race").await;
    let first = launch.start().await;
    let second = api_beside(&launch, other.path()).start().await;
    let began = Instant::now();
    let (mut by_name, mut by_version, mut round) = (0, 0, 0);
    while by_name == 0 || by_version == 0 {
        assert!(
            began.elapsed() < PATIENCE,
            "no conflict in {round} rounds: {by_name} by name, {by_version} by version"
        );
        round += 1;
        let environment = format!("env-{round}");
        by_name += race([&first, &second], &environment, round).await;
        by_version += race([&first, &second], &environment, 1000 + round).await;
    }
    // The writer dies; a write waits until the other one has taken over.
    let killed = first.kill();
    let written = second
        .post(
            "/api/v1/apply",
            &endpoint_at("after", "https://example.com/after"),
        )
        .await;
    written.unwrap_or_else(|problem| panic!("{problem}\n{}", second.printed()));
    // It comes back, and hands in there.
    let back = killed.start().await;
    let written = back
        .post("/api/v1/apply", &endpoint_at("back", "https://example.com/back"))
        .await;
    written.unwrap_or_else(|problem| panic!("{problem}\n{}", back.printed()));
    let again = second
        .post("/api/v1/apply", &endpoint_at("back", "https://example.com/back"))
        .await
        .expect("it is known there at once");
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["changes"], json!(false), "{again}");
}

/// What a provider sends once to deliver the secret that it signs with, and a case of an event that it signs.
struct Delivering {
    recorded: Recorded,
    body: String,
    secret: String,
}

fn delivering(catalogue: &Catalogue) -> Delivering {
    let stores = |provider: &str| {
        let definition = catalogue.get(provider).expect("a definition");
        matches!(definition.stores_secret(), Some(SecretAt::Integration))
    };
    let suits = |recorded: &Recorded| {
        let is_routed = matches!(recorded.events.as_slice(), [event] if !event.connection.is_empty() && event.dropped.is_none());
        is_routed && stores(&recorded.provider) && recorded.case.is_signed()
    };
    let recorded = all(catalogue).into_iter().find(suits);
    let recorded = recorded.expect("a provider that delivers its secret has a signed case");
    let (body, secret) = recordings(&recorded.provider)
        .iter()
        .filter_map(|case| {
            let stored = case.get("expect")?.get("handshake")?.get("store")?.as_str()?;
            Some((
                case.get("request")?.get("body")?.as_str()?.to_owned(),
                stored.to_owned(),
            ))
        })
        .next()
        .expect("a case delivers a secret");
    Delivering {
        recorded,
        body,
        secret,
    }
}

/// Roles apart, with an engine that they share.
pub async fn with_engine(launch: Launch, test: &str) -> (Launch, Engine) {
    let engine = Engine::start(&launch.data().join("engine"));
    let (launch, _) = on_kafka(launch, test).await;
    let launch = launch
        .set("TIDEGATE__CLICKHOUSE__URL", &engine.url())
        .set("TIDEGATE__CLICKHOUSE__USER", engine.user())
        .set("TIDEGATE__CLICKHOUSE__PASSWORD", engine.password());
    (launch, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ingest_and_forward_learn_is_written_by_another_process() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let (launch, _engine) = with_engine(launch(folders[0].path()), "learn").await;
    let launch = launch.set("TIDEGATE_ROLES", "api,processor,audit");
    let server = launch.start().await;
    let ingest = beside(&launch, folders[1].path(), "ingest").start().await;
    let forward = beside(&launch, folders[2].path(), "forward").start().await;
    let receiver = Receiver::start().await;
    receiver.answer("/main", 410);
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let Delivering {
        recorded,
        body,
        secret,
    } = delivering(&catalogue);
    let mut text: Value =
        serde_json::from_str(&simple_manifest(&receiver, &recorded)).expect("a manifest is JSON");
    let integration = &mut text["environments"]["tests"]["integrations"]["mine"];
    integration["awaits_secret"] = json!(true);
    integration.as_object_mut().expect("an object").remove("secrets");
    let urls = server.apply(&text.to_string(), &no_variables()).await;
    let path = urls[&("tests".to_owned(), "mine".to_owned())].clone();
    let (_, path) = path.split_once("/webhook/").expect("a webhook's URL");
    let url = format!("{}/webhook/{path}", ingest.ingest().await);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let delivered = http.post(&url).body(body).send().await.expect("ingest answers");
    assert_eq!(delivered.status().as_u16(), 200, "{}", ingest.printed());
    let definition = catalogue.get(&recorded.provider).expect("a definition");
    let sample = recorded
        .signed_with(&definition, (&url, now()), &secret)
        .expect("it can be signed");
    let (status, id, answer) = send(&http, &sample).await;
    assert_eq!(status, 200, "signed with the secret that was delivered: {answer}");
    let sql = format!("SELECT outcome FROM events WHERE request_id = '{id}'");
    let rows = server.query_until(&sql, |rows| !rows.is_empty()).await;
    assert_eq!(rows[0]["outcome"], "routed", "the processor has it too: {rows:?}");
    let began = Instant::now();
    while !forward.printed().contains("is switched off") {
        assert!(began.elapsed() < PATIENCE, "{}", forward.printed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
