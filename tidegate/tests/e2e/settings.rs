//! Flood control set through the API: it takes effect on real webhooks, what cannot be is refused with field, range and
//! reason, and the file of `tidegate apply` and the API see what the other has set. In: the sender of `floods.toml`.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_providers::{Catalogue, SecretAt};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::Server;

use crate::floods::{Flood, flood, manifest, outcomes, send};
use crate::{launch, no_variables};

const INTEGRATIONS: &str = "/api/v1/environments/tests/integrations";
const FLOODED: &str = "/api/v1/environments/tests/integrations/flooded";
const ACME: &str = "/api/v1/environments/tests/integrations/flooded/connections/acme";

fn parsed(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The manifest of a flood, with these settings at its integration.
fn with_settings(flood: &Flood, receiver: &Receiver, settings: &Value) -> String {
    let mut text = parsed(&manifest(flood, receiver));
    text["environments"]["tests"]["integrations"]["flooded"]["flood"] = settings.clone();
    text.to_string()
}

/// What is refused: the body's fields, and what the answer must name.
async fn refused(server: &Server, (path, body): (&str, Value), expected: &[&str]) {
    let problem = server.patch(path, &body).await.expect_err("it is refused");
    assert!(problem.starts_with("422"), "{body}: {problem}");
    let detail = problem
        .split_once(": ")
        .map(|(_, problem)| parsed(problem)["detail"].clone());
    let detail = detail.expect("a problem follows the status");
    let detail = detail.as_str().expect("a problem has its detail");
    for expected in expected {
        assert!(
            detail.contains(expected),
            "{body}: {detail} does not say {expected}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_set_by_the_api_takes_effect_on_real_webhooks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let mut flood = flood();
    flood.objects = 1;
    let flood = Arc::new(flood);
    let server = launch(folder.path()).start().await;
    let key = ("tests".to_owned(), "flooded".to_owned());
    let text = with_settings(&flood, &receiver, &json!({}));
    let url = server.apply(&text, &no_variables()).await[&key].clone();

    // Two events pass; then a window takes three for one.
    send(&flood, &url, (0, 2)).await;
    let debounce = json!({"quiet": "60s", "max_wait": "60m", "max_events": 3});
    let shown = server
        .patch(FLOODED, &json!({ "flood": { "debounce": debounce } }))
        .await;
    let shown = parsed(&shown.expect("it can be set"));
    assert_eq!(shown["flood"]["debounce"]["max_events"], json!(3), "{shown}");
    assert_eq!(
        shown["effective_flood"]["debounce"]["keep"],
        json!("latest"),
        "{shown}"
    );
    assert_eq!(shown["effective_flood"]["dedupe"], json!(true), "{shown}");
    assert_eq!(shown["url"], json!(url), "{shown}");
    send(&flood, &url, (2, 5)).await;
    let told = outcomes(&server, 5).await;
    assert_eq!((told["routed"], told["debounced"]), (3, 2), "{told:?}");

    // A connection and a type have their own say, and another connection is made with its own.
    let own = json!({"flood": {"types": {"contact.*": {"debounce": "off"}}}});
    let shown = parsed(&server.patch(ACME, &own).await.expect("it can be set"));
    assert_eq!(
        shown["effective_flood"]["debounce"]["quiet"],
        json!("1m"),
        "{shown}"
    );
    let of_type = &shown["effective_flood"]["types"]["contact.*"];
    assert_eq!(of_type["debounce"], json!("off"), "{shown}");
    send(&flood, &url, (5, 7)).await;
    let told = outcomes(&server, 7).await;
    assert_eq!((told["routed"], told["debounced"]), (5, 2), "{told:?}");
    let made = json!({"id": "umbrella", "flood": {"debounce": "on"}, "tags": {"region": "eu"}});
    let connections = format!("{FLOODED}/connections");
    let shown = parsed(&server.post(&connections, &made).await.expect("it can be made"));
    assert_eq!(
        (&shown["id"], &shown["flood"]["debounce"]),
        (&json!("umbrella"), &json!("on")),
        "{shown}"
    );
    let again = server.post(&connections, &made).await.expect_err("it is there");
    assert!(
        again.starts_with("409") && again.contains("exists already"),
        "{again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_is_refused_and_apply_and_the_api_see_each_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let flood = flood();
    let server = launch(folder.path()).start().await;
    let text = with_settings(&flood, &receiver, &json!({"debounce": {"quiet": "3s"}}));
    server.apply(&text, &no_variables()).await;
    let shown = parsed(&server.get(FLOODED).await);
    assert_eq!(
        shown["flood"],
        json!({"debounce": {"quiet": "3s"}}),
        "what the file says: {shown}"
    );

    out_of_range(&server).await;
    unsupported(&server).await;
    assert_eq!(
        parsed(&server.get(FLOODED).await),
        shown,
        "nothing of it was written"
    );
    file_and_api(&server, (&text, &shown["flood"])).await;
}

/// What is out of its range, or no such thing.
async fn out_of_range(server: &Server) {
    let debounce = |given: Value| (FLOODED, json!({"flood": {"debounce": given}}));
    let quiet = ["`flood.debounce.quiet` must lie between 1 ms and `max_wait`, which is 30000 ms"];
    refused(server, debounce(json!({"quiet": "31s"})), &quiet).await;
    let hour = ["`flood.debounce.max_wait` must lie between 1 ms and an hour"];
    refused(server, debounce(json!({"max_wait": "61m"})), &hour).await;
    refused(
        server,
        debounce(json!({"edge": "middle"})),
        &["`edge` is `middle`: write trailing, leading or both"],
    )
    .await;
    refused(
        server,
        debounce(json!({"quite": "1s"})),
        &["did you mean `quiet`?"],
    )
    .await;
    let large = ["`flood.debounce.max_bytes` must lie between 1 and 16777216"];
    refused(server, debounce(json!({"max_bytes": "17MiB"})), &large).await;
    let rate = json!({"flood": {"rate": {"per_second": 0}}});
    refused(
        server,
        (FLOODED, rate),
        &["`per_second` is `0`: write a whole number, at least 1"],
    )
    .await;
    let at_connection = json!({"flood": {"integration_rate": {"per_second": 5}}});
    refused(
        server,
        (ACME, at_connection),
        &["flood.integration_rate", "set it at the integration"],
    )
    .await;
    let unknown = server
        .patch("/api/v1/environments/tests/integrations/nobody", &json!({}))
        .await;
    assert!(unknown.expect_err("there is none").starts_with("404"));
    let late = server
        .patch(FLOODED, &json!({"version": 99, "flood": null}))
        .await;
    assert!(late.expect_err("it is at another version").starts_with("409"));
}

/// A definition that cannot support a setting says why, at whoever asks for it.
async fn unsupported(server: &Server) {
    let catalogue = Catalogue::builtin().expect("the definitions compile");
    let unranked = catalogue.definitions().find(|definition| {
        !definition.ranks_versions()
            && matches!(definition.secret_at(), SecretAt::Integration)
            && definition.cfg().iter().all(|rule| !rule.required)
    });
    let provider = unranked.expect("some events carry no version").name();
    let wanted =
        json!({"key": "unranked", "provider": provider, "allow_unverified": true, "flood": {"order": true}});
    let problem = server
        .post(INTEGRATIONS, &wanted)
        .await
        .expect_err("it is refused");
    let reason = format!("`flood.order` cannot be: events of provider `{provider}` carry no version or time");
    assert!(
        problem.starts_with("422") && problem.contains(&reason),
        "{problem}"
    );
}

/// The file is whole for an integration, and leaves a connection's settings alone that it leaves out.
async fn file_and_api(server: &Server, (text, flood): (&str, &Value)) {
    let changed = json!({"flood": {"debounce": {"quiet": "7s"}, "dedupe": false}});
    server.patch(FLOODED, &changed).await.expect("it can be set");
    server
        .patch(ACME, &json!({"flood": {"debounce": "off"}}))
        .await
        .expect("it can be set");
    let dry = json!({"file": "f.yaml", "text": text, "variables": {}, "prune": false, "write": false});
    let plan = parsed(&server.post("/api/v1/apply", &dry).await.expect("a plan"));
    let plan = plan["plan"].as_str().expect("a text");
    for line in [
        "flood.debounce.quiet_ms: 7000 → 3000",
        "flood.dedupe: false → nothing",
    ] {
        assert!(plan.contains(line), "{plan}");
    }
    assert!(!plan.contains("connection `acme`"), "{plan}");
    server.apply(text, &no_variables()).await;
    assert_eq!(parsed(&server.get(FLOODED).await)["flood"], *flood);
    assert_eq!(
        parsed(&server.get(ACME).await)["effective_flood"]["debounce"],
        json!("off")
    );
}
