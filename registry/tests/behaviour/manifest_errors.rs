//! Mistakes in the declarative file: each is named with its line, what is wrong and how to mend it.

use std::collections::BTreeMap;

use tidegate_registry::manifest::{CfgFact, Manifest, Planning, ProviderFacts, SecretAt};
use tidegate_registry::{Entity, Environment, Integration, Registry};

use super::opened::NOW;

/// The lines and texts of all mistakes, in the file or in its plan.
fn mistakes(text: &str) -> Vec<(usize, String)> {
    let lookup = |name: &str| (name == "SET").then(|| "value".to_owned());
    let manifest = match Manifest::parse("my.yaml", text, lookup) {
        Ok(manifest) => manifest,
        Err(error) => return listed(error),
    };
    let environment = Environment::new("there", NOW);
    let integration = Integration::new(environment.id, "crm", "other", NOW);
    let entities = [Entity::Environment(environment), Entity::Integration(integration)];
    let registry = Registry::of(entities).expect("its own key");
    let planning = Planning {
        file: "my.yaml",
        providers: &providers(),
        prune: false,
        now: NOW,
    };
    let planned = manifest.plan(&registry.read(), &planning);
    planned.err().map(listed).unwrap_or_default()
}

fn listed(error: tidegate_registry::manifest::ManifestError) -> Vec<(usize, String)> {
    let lines = error.to_string();
    for (mistake, line) in error.mistakes.iter().zip(lines.lines()) {
        assert_eq!(line, format!("my.yaml:{}: {}", mistake.line, mistake.problem));
    }
    error
        .mistakes
        .into_iter()
        .map(|mistake| (mistake.line, mistake.problem))
        .collect()
}

fn providers() -> BTreeMap<String, ProviderFacts> {
    let strict = ProviderFacts {
        needs_secret: true,
        properties: vec!["account".into(), "team".into()],
        cfg: vec![CfgFact {
            name: "audience".into(),
            required: true,
            secret: false,
        }],
        early_check_required: true,
        ..ProviderFacts::default()
    };
    let delivers = ProviderFacts {
        stores_secret: Some(SecretAt::Connection),
        secret_at: SecretAt::Connection,
        needs_secret: true,
        ..ProviderFacts::default()
    };
    [
        ("any", ProviderFacts::default()),
        ("other", ProviderFacts::default()),
        ("strict", strict),
        ("delivers", delivers),
    ]
    .map(|(name, facts)| (name.to_owned(), facts))
    .into()
}

/// Expects exactly one mistake, in `line`, whose text holds every one of `parts`.
fn check(text: &str, line: usize, parts: &[&str]) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{text}\n{found:?}");
    assert_eq!(found[0].0, line, "{text}\n{found:?}");
    for part in parts {
        assert!(found[0].1.contains(part), "`{part}` is not in `{}`", found[0].1);
    }
}

/// A file with one integration of this text, which begins in line 4.
fn integration(fields: &str) -> String {
    format!("environments:\n  default:\n    integrations:\n      crm:\n{fields}")
}

#[test]
fn what_is_no_yaml_or_no_map() {
    check("environments: [\n", 2, &["is no YAML"]);
    check("a: 1\nb: 2\na: 3\n", 3, &["`a` is there already", "line 1"]);
    check(
        "environments:\n  a: &x {}\n  b: *x\n",
        3,
        &["alias", "write the value out"],
    );
    check("environments: {a: {}}\n---\nx: 1\n", 2, &["second document"]);
    check("- environments\n", 1, &["the file must be a map", "a list"]);
    check("", 1, &["names no environment"]);
    check(
        &format!("environments: {}", "[".repeat(40)),
        1,
        &["nested deeper"],
    );
}

#[test]
fn unknown_keys_with_what_was_meant() {
    check(
        "environmnets: {}\n",
        1,
        &["no key `environmnets`", "did you mean `environments`?"],
    );
    let text = integration("        provider: any\n        secert: x\n");
    check(
        &text,
        6,
        &["an integration has no key `secert`", "did you mean `secret`?"],
    );
    let text =
        "environments:\n  a:\n    endpoints:\n      main:\n        url: https://e.com\n        colour: red\n";
    check(text, 6, &["an endpoint has no key `colour`", "it knows url, "]);
    let text = integration(
        "        provider: any\n        rate_limit:\n          per_second: 1\n          bursts: 2\n",
    );
    check(&text, 8, &["did you mean `burst`?"]);
}

#[test]
fn values_of_the_wrong_kind() {
    check(
        &integration("        provider: any\n        forward: maybe\n"),
        6,
        &["`forward` is `maybe`", "true or false"],
    );
    check(
        &integration("        provider: [any]\n"),
        5,
        &["`provider` must be a single value", "a list"],
    );
    check(
        &integration("        provider:\n"),
        5,
        &["`provider` has no value"],
    );
    check(&integration("        secret: x\n"), 4, &["names no provider"]);
    check(
        &integration("        provider: any\n        cfg: x\n"),
        6,
        &["`cfg` must be a map"],
    );
    check(
        &integration("        provider: any\n        secret: ''\n"),
        6,
        &["`secret` is empty"],
    );
    let both = "        provider: any\n        secret: x\n        secrets: [y]\n";
    check(&integration(both), 6, &["both `secret` and `secrets`"]);
    let late =
        "        provider: any\n        secrets:\n          - value: x\n            not_after: tomorrow\n";
    check(
        &integration(late),
        8,
        &["`not_after` is `tomorrow`", "2026-11-30T12:00:00Z"],
    );
    let empty = "        provider: any\n        connections:\n          c:\n            properties:\n              p: ''\n";
    check(&integration(empty), 9, &["property `p` has an empty value"]);
    let text =
        "environments:\n  a:\n    endpoints:\n      main:\n        url: https://e.com\n        timeout: 20\n";
    check(text, 6, &["`timeout` is `20`", "`20s`"]);
    check("environments:\n  a:\n    id: 7\n", 3, &["`id` is `7`", "UUID"]);
}

#[test]
fn variables() {
    assert_eq!(
        mistakes(&integration("        provider: any\n        secret: ${SET}\n")),
        []
    );
    check(
        &integration("        provider: any\n        secret: ${NOT_SET}\n"),
        6,
        &["NOT_SET is not set", "export it"],
    );
    check(
        &integration("        provider: any\n        secret: ${SET\n"),
        6,
        &["no closing brace"],
    );
}

#[test]
fn what_a_provider_demands() {
    check(
        &integration("        provider: strct\n"),
        4,
        &["no provider `strct`", "did you mean `strict`?"],
    );
    let strict = "        provider: strict\n        cfg: {audience: x}\n";
    check(
        &integration(strict),
        4,
        &["`crm` has no secret", "secret: ${NAME}", "allow_unverified"],
    );
    let strict = format!("{strict}        secret: x\n");
    assert_eq!(mistakes(&integration(&strict)), []);
    check(
        &integration(&strict.replace("audience: x", "")),
        4,
        &["needs `cfg.audience`"],
    );
    check(
        &integration(&strict.replace("audience: x", "audience: x, audiense: y")),
        4,
        &["`cfg.audiense`", "mean `audience`"],
    );
    check(
        &integration(&format!("{strict}        spread: 4\n")),
        4,
        &["leave `spread` out"],
    );
    check(
        &integration(&format!("{strict}        early_check: false\n")),
        4,
        &["demands the early check"],
    );
    // The file gives a secret, so nothing is awaited and nothing is amiss.
    assert_eq!(
        mistakes(&integration(&format!("{strict}        awaits_secret: true\n"))),
        []
    );
}

#[test]
fn what_a_provider_demands_of_connections() {
    let connections = "        provider: strict\n        secret: x\n        cfg: {audience: x}\n        connections:\n          c:\n            ";
    check(
        &integration(&format!("{connections}properties: {{acount: x}}\n")),
        9,
        &["property `acount`", "mean `account`"],
    );
    check(
        &integration(&format!("{connections}awaits_secret: true\n")),
        9,
        &["delivers no secret to a connection"],
    );
    let delivered = "        provider: delivers\n        connections: {c: {awaits_secret: true}}\n";
    assert_eq!(mistakes(&integration(delivered)), []);
    check(
        &integration("        provider: delivers\n        awaits_secret: true\n"),
        4,
        &["to an integration"],
    );
}

#[test]
fn what_cannot_be_changed() {
    let there = "environments:\n  there:\n    integrations:\n      crm: {provider: any}\n";
    check(there, 4, &["`provider` of integration `crm` cannot be changed"]);
    let id = "environments:\n  there:\n    id: 0192f0c1-2b3c-7d4e-8f90-123456789abc\n";
    check(id, 2, &["cannot be changed to 0192f0c1"]);
}

#[test]
fn all_mistakes_are_named_at_once() {
    let text = integration(
        "        provider: any\n        forward: maybe\n        secret: ${NOT_SET}\n        colour: red\n",
    );
    let lines: Vec<usize> = mistakes(&text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [6, 7, 8]);
}

#[test]
fn flood_settings_that_cannot_be() {
    let refused = |fields: &str, parts: &[&str]| {
        let found = mistakes(&integration(&format!("        provider: any\n{fields}")));
        assert_eq!(found.len(), 1, "{fields}\n{found:?}");
        for part in parts {
            assert!(found[0].1.contains(part), "`{part}` is not in `{}`", found[0].1);
        }
    };
    let check = |flood: &str, parts: &[&str]| refused(&format!("        flood: {flood}\n"), parts);
    let at_connection = "        connections:\n          acme: {flood: {order: true}}\n";
    refused(at_connection, &["`flood.order` cannot be", "ranked"]);
    check("{rate: {burst: 5}}", &["`rate` needs `per_second: NUMBER`"]);
    check("{types: {a: {rate: {per_second: 5}}}}", &["no key `rate`"]);
    check(
        "{debounce: on}",
        &["`flood.debounce` cannot be", "`any` name no object"],
    );
    check("{order: true}", &["`flood.order` cannot be", "ranked"]);
    check("{detect_changes: true}", &["only notify"]);
    check("{dedupe: true}", &["carry no delivery id"]);
    check(
        "{types: {a.*: {order: true}}}",
        &["`flood.types.a.*.order` cannot be", "ranked"],
    );
    check("{debounce: maybe}", &["write on, off, or a map"]);
    check(
        "{debounce: {enabled: false, quiet: 40s}}",
        &["flood.debounce.quiet", "30000 ms"],
    );
    check(
        "{debounce: {enabled: false, edge: middle}}",
        &["trailing, leading or both"],
    );
    check("{debounce: {enabled: false, max_bytes: 1GiB}}", &["512KiB"]);
    check("{debonce: on}", &["no key `debonce`", "did you mean `debounce`?"]);
}
