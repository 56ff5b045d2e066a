//! The declarative file: the documented example, plans, applying twice, pruning.

use std::collections::BTreeMap;

use tidegate_registry::manifest::{
    Action, CfgFact, FloodFacts, Manifest, Plan, Planning, ProviderFacts, SecretAt,
};
use tidegate_registry::{Endpoint, EndpointState, Entity, FloodPolicy, Keep, Registry, Write};
use tidegate_schemas::Secret;

use super::opened::{NOW, Opened, connection, everything, journal_text, open, open_with};

/// The documented example, read by every test here that needs a large file.
pub const EXAMPLE: &str = include_str!("../../../docs/tidegate.yaml");

/// Every provider that a text names, each with modest demands.
pub fn providers(text: &str) -> BTreeMap<String, ProviderFacts> {
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("provider: "));
    let names = names.map(|rest| rest.split_whitespace().next().unwrap_or_default().to_owned());
    let cfg = ["signature_header", "region", "verify_token"].map(|name| CfgFact {
        name: name.to_owned(),
        required: false,
        secret: name == "verify_token",
    });
    let facts = ProviderFacts {
        needs_secret: true,
        cfg: cfg.to_vec(),
        stores_secret: Some(SecretAt::Integration),
        flood: FloodFacts {
            delivery_id: true,
            object_key: true,
            rank: true,
            content: true,
        },
        ..ProviderFacts::default()
    };
    names
        .chain(["any".to_owned()])
        .map(|name| (name, facts.clone()))
        .collect()
}

/// Any variable's value; an endpoint's is a Standard Webhooks secret.
pub fn variable(name: &str) -> Option<String> {
    Some(match name {
        "MAIN_ENDPOINT_SECRET" => "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".into(),
        _ => format!("value of {name}"),
    })
}

pub fn parse(text: &str) -> Manifest {
    Manifest::parse("tidegate.yaml", text, variable).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(registry: &Registry, text: &str, prune: bool) -> Plan {
    let providers = providers(text);
    let planning = Planning {
        file: "tidegate.yaml",
        providers: &providers,
        prune,
        now: NOW,
    };
    let planned = parse(text).plan(&registry.read(), &planning);
    planned.unwrap_or_else(|error| panic!("{error}"))
}

async fn apply(opened: &Opened, text: &str, prune: bool) -> Plan {
    let plan = plan(&opened.registry, text, prune);
    let writes: Vec<Write> = plan.writes.clone();
    opened
        .writer
        .write(writes, NOW)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    plan
}

fn steps(plan: &Plan) -> Vec<(Action, &str)> {
    plan.steps
        .iter()
        .map(|step| (step.action, step.entity.as_str()))
        .collect()
}

#[tokio::test]
async fn the_documented_example_is_applied_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let first = apply(&opened, EXAMPLE, false).await;
    let actions: Vec<Action> = first.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Create; 6], "{first}");
    let after = everything(&opened.registry.read());
    for prune in [false, true] {
        let second = plan(&opened.registry, EXAMPLE, prune);
        assert!(second.is_empty(), "{second}");
        assert_eq!(
            second.to_string(),
            "nothing to do: everything is as the file says\n"
        );
    }
    let tables = opened.registry.read();
    let environment = tables.environment_by_name("production").expect("applied");
    assert_eq!(environment.id.to_string(), "0192f0c1-2b3c-7d4e-8f90-123456789abc");
    assert_eq!(
        environment.signing_keys[0].secret().expose(),
        b"value of TIDEGATE_SIGNING_KEY"
    );
    let payments = tables
        .integration(&environment.id, "stripe-prod")
        .expect("applied");
    let policy = |event_type: &str| FloodPolicy::default().with(&payments.flood, event_type);
    let debounce = policy("invoice.paid").debounce.expect("switched on");
    assert_eq!((debounce.keep, debounce.max_bytes), (Keep::Latest, 1 << 20));
    assert!(debounce.bypasses("charge.failed") && !debounce.bypasses("charge.paid"));
    assert_eq!(policy("customer.created").debounce, None);
    let main = tables.endpoint_by_name(&environment.id, "main").expect("applied");
    assert!(main.wants("github-prod", "push") && !main.wants("billing", "push"));
    let app = tables
        .integration(&environment.id, "github-prod")
        .expect("applied");
    let found = tables
        .connections_by(&app.id, "installation_id", "4711")
        .next()
        .expect("applied");
    let whole = found.to_connection().expect("opens");
    assert_eq!(
        whole.details.metadata["plan"],
        serde_json::json!({"name": "pro", "seats": 25})
    );
    assert!(everything(&tables) == after, "planning changes nothing");
}

const BASE: &str = "
environments:
  default:
    integrations:
      crm:
        provider: any
        secret: ${OLD_SECRET_OF_CRM}
        cfg: {region: eu}
        connections:
          acme: {properties: {account: [a, b]}}
          gone: {properties: {account: c}}
      second: {provider: any, secret: s}
    endpoints:
      main: {url: https://example.com/a, headers: {x-key: first-plaintext-value}}
      other: {url: https://example.com/b}
";

#[tokio::test]
async fn a_plan_names_what_changes_and_masks_secrets() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    apply(&opened, BASE, false).await;
    let changed = BASE
        .replace("OLD_SECRET_OF_CRM", "NEW_SECRET_OF_CRX")
        .replace("region: eu", "region: us")
        .replace("[a, b]", "[b, d]")
        .replace("first-plaintext-value", "other-plaintext-text!")
        .replace("example.com/b", "example.com/c");
    let plan = apply(&opened, &changed, false).await;
    let expected = "\
~ integration `crm` in `default`
    cfg.region: eu → us
    secrets: […_CRM] → […_CRX]
~ connection `acme` of integration `crm` in `default`
    properties.account: [a, b] → [b, d]
~ endpoint `main` in `default`
    headers: [x-key …alue] → [x-key …ext!]
~ endpoint `other` in `default`
    url: https://example.com/b → https://example.com/c
0 to create, 4 to update, 0 to delete
";
    assert_eq!(plan.to_string(), expected);
    assert!(!format!("{plan:?}").contains("plaintext"));
}

#[tokio::test]
async fn a_constant_that_requests_are_compared_with_is_a_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let text = BASE.replace(
        "cfg: {region: eu}",
        "cfg: {region: eu, verify_token: plaintext-of-the-token}",
    );
    apply(&opened, &text, false).await;
    assert!(plan(&opened.registry, &text, false).is_empty(), "the same again");
    let constants = |opened: &Opened| {
        let tables = opened.registry.read();
        let environment = tables.environment_by_name("default").expect("applied").id;
        let crm = tables.integration(&environment, "crm").expect("applied");
        assert!(!format!("{crm:?}").contains("plaintext"), "{crm:?}");
        crm.constants().clone()
    };
    assert_eq!(constants(&opened)["verify_token"], "plaintext-of-the-token");
    assert_eq!(constants(&opened)["region"], "eu");
    let journal = journal_text(&opened).await;
    assert!(
        journal.contains("verify_token") && !journal.contains("plaintext-of-the"),
        "sealed at rest"
    );

    let changed = text.replace("plaintext-of-the-token", "another-plaintext-text");
    let plan = apply(&opened, &changed, false).await;
    assert!(
        plan.to_string().contains("    cfg.verify_token: …oken → …text\n"),
        "{plan}"
    );
    assert_eq!(constants(&opened)["verify_token"], "another-plaintext-text");
    let again = open_with(&opened.broker, &[1]).await;
    assert_eq!(constants(&again)["verify_token"], "another-plaintext-text");
}

#[tokio::test]
async fn nothing_is_removed_unless_pruned() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    apply(&opened, BASE, false).await;
    apply(&opened, &BASE.replace("default:", "untouched:"), false).await;
    let environment = opened
        .registry
        .read()
        .environment_by_name("default")
        .expect("applied")
        .id;
    let by_api = opened
        .registry
        .read()
        .integration(&environment, "second")
        .expect("applied")
        .id;
    opened
        .put(Entity::Connection(connection(by_api, "made-by-api", "1")))
        .await;
    let less = "
environments:
  default:
    integrations:
      crm: {provider: any, cfg: {region: eu}, connections: {acme: {properties: {account: [a, b]}}}}
    endpoints:
      main: {url: https://example.com/a, headers: {x-key: first-plaintext-value}}
";
    assert!(plan(&opened.registry, less, false).is_empty());
    let pruned = plan(&opened.registry, less, true);
    let expected = [
        (
            Action::Delete,
            "connection `gone` of integration `crm` in `default`",
        ),
        (
            Action::Delete,
            "integration `second` in `default`, with its 1 connections",
        ),
        (Action::Delete, "endpoint `other` in `default`"),
    ];
    assert_eq!(steps(&pruned), expected);
    // A file that says nothing of connections leaves them alone.
    let silent = less.replace(", connections: {acme: {properties: {account: [a, b]}}}", "");
    assert_eq!(steps(&plan(&opened.registry, &silent, true)), expected[1..]);
    apply(&opened, less, true).await;
    let tables = opened.registry.read();
    assert!(tables.integration_by_id(&by_api).is_none());
    let untouched = tables.environment_by_name("untouched").expect("never pruned");
    assert_eq!(tables.integrations_of(&untouched.id).count(), 2);
}

#[tokio::test]
async fn what_the_file_leaves_out_or_a_handshake_stored_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let opened = open(directory.path()).await;
    let text = "
environments:
  default:
    integrations:
      crm: {provider: any, awaits_secret: true, connections: {acme: {properties: {account: a}}}}
    endpoints:
      main: {url: https://example.com/a}
";
    apply(&opened, text, false).await;
    let (integration, endpoint) = {
        let tables = opened.registry.read();
        let environment = tables.environment_by_name("default").expect("applied").id;
        let integration = tables.integration(&environment, "crm").expect("applied").clone();
        (
            integration,
            tables
                .endpoint_by_name(&environment, "main")
                .expect("applied")
                .clone(),
        )
    };
    assert!(integration.awaits_secret && endpoint.secrets.len() == 1);
    let at = Entity::Integration(integration.as_ref().clone()).reference();
    opened
        .writer
        .store_secret(&at, Secret::new("delivered"), NOW)
        .await
        .expect("awaited");
    let gone = Endpoint {
        state: EndpointState::DisabledGone,
        ..endpoint.as_ref().clone()
    };
    opened.put(Entity::Endpoint(gone)).await;
    let mut tagged = opened
        .registry
        .read()
        .connection(&integration.id, "acme")
        .expect("applied")
        .to_connection()
        .expect("opens");
    tagged.details.tags.insert("by".into(), "api".into());
    opened.put(Entity::Connection(tagged)).await;
    let plan = plan(&opened.registry, text, true);
    assert!(plan.is_empty(), "{plan}");
}

#[test]
fn variables_are_listed_with_their_lines() {
    let text = "a: ${ONE}\nb:\n  - x${TWO}y${ONE}\n  - $${THREE}\n# ${FOUR}\nc: {d: '${FIVE}'}\n";
    let expected = [("FIVE", 6), ("ONE", 1), ("TWO", 3)].map(|(name, line)| (name.to_owned(), line));
    assert_eq!(Manifest::variables(text), BTreeMap::from(expected));
    assert_eq!(Manifest::variables("a: [").len(), 0);
}
