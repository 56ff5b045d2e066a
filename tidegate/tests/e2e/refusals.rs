//! What must not get through: forged, expired, sent to nobody's URL or to another tenant's, too large, not what the
//! provider writes. In: one server and a genuine webhook of one provider, spoiled in each way. Out: the right status,
//! the right row (or counter, where there is no tenant), and nothing forwarded.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tidegate_providers::{Catalogue, Definition, Sample, SignError};
use tidegate_schemas::UnixMillis;
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Server;

use crate::recorded::{Recorded, all, manifest, now, send};
use crate::{ENDPOINT_SECRET, launch, no_variables};

/// The body limit of this test's server, in bytes.
const BODY_BYTES_MAX: usize = 65_536;
/// An hour and a day, in milliseconds: older than any provider's tolerance.
const LONG_AGO_MS: u64 = 25 * 3_600_000;

struct Scene {
    server: Server,
    receiver: Receiver,
    catalogue: Catalogue,
    recorded: Recorded,
    urls: BTreeMap<(String, String), String>,
    _folder: tempfile::TempDir,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_genuine_or_for_nobody_is_refused_and_recorded() {
    let scene = Scene::set().await;
    let wrong = "c29tZWJvZHkgZWxzZSdzIHNlY3JldA==";
    let url = scene.url("mine");
    let forged = scene.sample(&url, now(), Some(wrong));
    let row = scene.refused(&forged, 401, "signature_wrong").await;
    assert_eq!(row["kind"], "refused", "{row}");
    let expired = scene.sample(&url, UnixMillis(now().0 - LONG_AGO_MS), None);
    scene.refused(&expired, 401, "expired").await;
    let mut oversized = scene.sample(&url, now(), None);
    oversized.body.resize(BODY_BYTES_MAX + 1, b' ');
    scene.refused(&oversized, 413, "body_too_large").await;
    scene.nobody(&url).await;
    scene.malformed().await;
    scene.nothing_but_a_genuine_one_arrives(&url).await;
}

/// A provider whose signatures have an age, and a case of it with one event of one connection.
pub fn with_an_age(catalogue: &Catalogue) -> Recorded {
    let mut all = all(catalogue).into_iter();
    let suits = |recorded: &Recorded| {
        let definition = catalogue.get(&recorded.provider).expect("a definition");
        let expires = tidegate_providers::fixture::Fixture::of(&recorded.provider)
            .is_some_and(|fixture| fixture.case("expired").is_some());
        let own = matches!(recorded.events.as_slice(), [event] if !event.connection.is_empty());
        // Its secret is the integration's own, not a key that stands elsewhere.
        let is_ours = !definition.needs_network() && !recorded.case.secrets.is_empty();
        expires
            && own
            && is_ours
            && broken(recorded, &definition, "http://x/").is_ok()
            && recorded.signed(&definition, ("http://x/", now())).is_ok()
    };
    all.find(suits)
        .expect("a provider has a recording that is too old")
}

/// A genuine signature over what is no JSON.
fn broken(recorded: &Recorded, definition: &Definition, url: &str) -> Result<Sample, SignError> {
    let mut broken = recorded.sample(url);
    broken.body = b"{\"broken\":".to_vec();
    let secret = recorded.case.secrets.first().map_or("", String::as_str);
    recorded.signed_over(definition, (broken, now()), secret)
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let receiver = Receiver::start().await;
        let limit = BODY_BYTES_MAX.to_string();
        let launch = launch(folder.path()).set("TIDEGATE__INGEST__BODY_BYTES_MAX", &limit);
        let server = launch.start().await;
        let catalogue = Catalogue::builtin().expect("the definitions compile");
        let recorded = with_an_age(&catalogue);
        let endpoints = json!({ "main": { "url": receiver.url("/main"), "secret": ENDPOINT_SECRET } });
        let mut lax = recorded.manifest();
        lax["early_check"] = json!(false);
        let of = |key: &str, integration: Value| Map::from_iter([(key.to_owned(), integration)]);
        let mut mine = of("mine", recorded.manifest());
        mine.insert("lax".to_owned(), lax);
        let theirs = of("theirs", recorded.manifest());
        let text = manifest(&[("here", mine, endpoints.clone()), ("there", theirs, endpoints)]);
        let urls = server.apply(&text, &no_variables()).await;
        Self {
            server,
            receiver,
            catalogue,
            recorded,
            urls,
            _folder: folder,
        }
    }

    fn url(&self, integration: &str) -> String {
        let environment = if integration == "theirs" { "there" } else { "here" };
        self.urls[&(environment.to_owned(), integration.to_owned())].clone()
    }

    fn definition(&self) -> std::sync::Arc<Definition> {
        self.catalogue.get(&self.recorded.provider).expect("a definition")
    }

    fn sample(&self, url: &str, now: UnixMillis, secret: Option<&str>) -> Sample {
        let own = self.recorded.case.secrets.first().map_or("", String::as_str);
        let signed = self
            .recorded
            .signed_with(&self.definition(), (url, now), secret.unwrap_or(own));
        signed.expect("the case was chosen because it can be signed")
    }

    /// Sends it, and hands back its row.
    async fn refused(&self, sample: &Sample, status: u16, refusal: &str) -> Value {
        let (answered, id, body) = send(&client(), sample).await;
        assert_eq!(answered, status, "{refusal}: {body}");
        let sql = format!("SELECT kind, status, refusal FROM requests WHERE request_id = '{id}'");
        let rows = self.server.query_until(&sql, |rows| !rows.is_empty()).await;
        let row = rows.into_iter().next().expect("a refused request has its row");
        assert_eq!(row["refusal"], refusal, "{row}");
        assert_eq!(row["status"], status, "{row}");
        row
    }

    /// URLs that are nobody's have no row, only a count.
    async fn nobody(&self, url: &str) {
        let (base, _) = url.rsplit_once('/').expect("a URL has a path");
        let (root, environment) = base.rsplit_once('/').expect("a URL names its environment");
        let other = "0192f0c1-2b3c-7d4e-8f90-123456789abc";
        assert_ne!(environment, other);
        let unknown = [
            (
                format!("{base}/nothing"),
                "unknown_provider_config",
                "unknown_integration",
            ),
            (
                format!("{base}/theirs"),
                "unknown_provider_config",
                "unknown_integration",
            ),
            (
                format!("{root}/{other}/mine"),
                "unknown_environment",
                "unknown_environment",
            ),
        ];
        for (url, code, _) in &unknown {
            let (status, _, body) = send(&client(), &self.sample(url, now(), None)).await;
            assert_eq!(status, 404, "{url}: {body}");
            assert!(body.contains(code), "{url}: {body}");
        }
        let metrics = self.server.get("/metrics").await;
        for (reason, count) in [("unknown_integration", 2), ("unknown_environment", 1)] {
            let line = format!("tidegate_ingest_requests_total{{answer=\"{reason}\"}} {count}");
            assert!(metrics.contains(&line), "no `{line}` in\n{metrics}");
        }
    }

    /// A genuine signature over what is no JSON is accepted (its sender cannot mend it) and ends as malformed.
    async fn malformed(&self) {
        let broken = broken(&self.recorded, &self.definition(), &self.url("lax"));
        let broken = broken.expect("the case was chosen because this can be signed");
        let (status, id, body) = send(&client(), &broken).await;
        assert_eq!(status, 200, "{body}");
        let sql = format!("SELECT outcome, reason FROM events WHERE request_id = '{id}'");
        let rows = self.server.query_until(&sql, |rows| !rows.is_empty()).await;
        assert_eq!(rows[0]["outcome"], "malformed", "{rows:?}");
        assert_eq!(rows[0]["reason"], "body_not_json", "{rows:?}");
        let forged = self.sample(&self.url("lax"), now(), Some("c29tZWJvZHkgZWxzZSdzIHNlY3JldA=="));
        let (status, id, body) = send(&client(), &forged).await;
        assert_eq!(status, 200, "without the early check everything is taken: {body}");
        let sql = format!("SELECT outcome, reason FROM events WHERE request_id = '{id}'");
        let rows = self.server.query_until(&sql, |rows| !rows.is_empty()).await;
        assert_eq!(rows[0]["outcome"], "rejected", "{rows:?}");
        assert_eq!(rows[0]["reason"], "signature_wrong", "{rows:?}");
    }

    /// The genuine one, sent last, is the only one that comes: what was refused before it would have come first.
    async fn nothing_but_a_genuine_one_arrives(&self, url: &str) {
        let (status, id, body) = send(&client(), &self.sample(url, now(), None)).await;
        assert_eq!(status, 200, "{body}");
        let sql = format!(
            "SELECT toString(event_id) AS event_id FROM attempts WHERE request_id = '{id}' AND status = 'delivered'"
        );
        let rows = self.server.query_until(&sql, |rows| !rows.is_empty()).await;
        let received = self.receiver.received();
        assert_eq!(received.len(), 1, "{received:?}");
        assert_eq!(
            received[0].headers["webhook-id"],
            rows[0]["event_id"].as_str().unwrap_or_default()
        );
        let routed = self
            .server
            .query("SELECT count() AS n FROM attempts")
            .await
            .expect("ClickHouse answers");
        assert_eq!(routed[0]["n"].to_string().trim_matches('"'), "1");
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}
