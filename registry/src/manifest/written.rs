//! Flood control, integrations and connections in the words of a declarative file, as JSON: what reading such a text gives
//! is written back the same. In: entities. Out: their fields; secrets are not among them. Checks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::entity::{
    Connection, Debounce, DebounceSettings, FloodPolicy, FloodSettings, Integration, StoredSecret,
};

/// The fields of an integration. Of its constants that are tokens only what may be shown.
#[must_use]
pub fn integration_fields(integration: &Integration) -> Map<String, Value> {
    let hints = integration.secret_cfg.iter();
    let hints = hints.map(|(name, secret)| (name.clone(), secret.hint()));
    fields_with(
        integration,
        integration.cfg.clone().into_iter().chain(hints).collect(),
    )
}

/// The same with these constants.
pub(super) fn fields_with(integration: &Integration, cfg: BTreeMap<String, String>) -> Map<String, Value> {
    let flags = &integration.flags;
    let mut fields = Map::new();
    let mut field = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    field("provider", json!(integration.provider));
    field("enabled", json!(flags.enabled));
    field("forward", json!(flags.forward));
    field("early_check", json!(flags.early_check));
    field("allow_unverified", json!(flags.allow_unverified));
    field("unattributed", json!(flags.unattributed));
    field("awaits_secret", json!(integration.awaits_secret));
    field("spread", json!(integration.spread));
    field("cfg", json!(cfg));
    if let Some(url) = &integration.public_url {
        field("public_url", json!(url));
    }
    if let Some(rate) = integration.rate_limit {
        field("rate_limit", json!(rate));
    }
    field("flood", Value::Object(flood_fields(&integration.flood)));
    fields
}

/// The fields of a connection.
#[must_use]
pub fn connection_fields(connection: &Connection) -> Map<String, Value> {
    let details = &connection.details;
    let fields = json!({
        "properties": connection.properties,
        "awaits_secret": connection.awaits_secret,
        "metadata": details.metadata,
        "tags": details.tags,
        "flood": flood_fields(&details.flood),
    });
    object(fields)
}

/// What may be shown of secrets: hints, labels and the time in which each counts, in milliseconds.
#[must_use]
pub fn secret_hints(secrets: &[StoredSecret]) -> Value {
    let hint = |secret: &StoredSecret| {
        let mut hint = json!({ "hint": secret.hint() });
        let times = [("not_before", secret.not_before), ("not_after", secret.not_after)];
        for (name, time) in times {
            if let Some(time) = time {
                hint[name] = json!(time);
            }
        }
        if let Some(label) = &secret.label {
            hint["label"] = json!(label);
        }
        hint
    };
    secrets.iter().map(hint).collect()
}

/// What was set of flood control.
#[must_use]
pub fn flood_fields(settings: &FloodSettings) -> Map<String, Value> {
    let mut fields = rules(settings);
    for (name, rate) in [
        ("rate", settings.rate),
        ("integration_rate", settings.integration_rate),
    ] {
        if let Some(rate) = rate {
            fields.insert(name.to_owned(), json!(rate));
        }
    }
    if !settings.types.is_empty() {
        let types = settings.types.iter();
        let types = types.map(|(pattern, settings)| (pattern.clone(), Value::Object(rules(settings))));
        fields.insert("types".to_owned(), Value::Object(types.collect()));
    }
    fields
}

/// What holds once every setting has its say, the wider before the narrower, over `default`: for events of no type of
/// their own, and by each pattern of types that is named.
#[must_use]
pub fn effective_flood(settings: &[&FloodSettings], default: &FloodPolicy) -> Value {
    let policy = |event_type: &str| {
        let turned = settings.iter();
        let policy = turned.fold(default.clone(), |policy, settings| {
            policy.with(settings, event_type)
        });
        policy_fields(&policy)
    };
    let patterns: BTreeSet<&String> = settings
        .iter()
        .flat_map(|settings| settings.types.keys())
        .collect();
    let mut effective = policy("");
    if !patterns.is_empty() {
        let types = patterns
            .into_iter()
            .map(|pattern| (pattern.clone(), policy(pattern)));
        effective["types"] = Value::Object(types.collect());
    }
    effective
}

fn policy_fields(policy: &FloodPolicy) -> Value {
    let debounce = policy.debounce.as_ref().map_or(json!("off"), |debounce| {
        let Debounce {
            quiet,
            max_wait,
            edge,
            keep,
            max_events,
            max_bytes,
            bypass,
        } = debounce;
        json!({
            "quiet": in_words(*quiet),
            "max_wait": in_words(*max_wait),
            "edge": edge,
            "keep": keep,
            "max_events": max_events,
            "max_bytes": max_bytes,
            "bypass": bypass,
        })
    });
    json!({
        "dedupe": policy.dedupe,
        "order": policy.order,
        "debounce": debounce,
        "detect_changes": policy.detect_changes,
        "rate": policy.rate,
        "integration_rate": policy.integration_rate,
    })
}

fn rules(settings: &FloodSettings) -> Map<String, Value> {
    let mut fields = Map::new();
    let switches = [
        ("dedupe", settings.dedupe),
        ("order", settings.order),
        ("detect_changes", settings.detect_changes),
    ];
    for (name, on) in switches {
        if let Some(on) = on {
            fields.insert(name.to_owned(), json!(on));
        }
    }
    if !settings.debounce.is_empty() {
        fields.insert("debounce".to_owned(), debounce(&settings.debounce));
    }
    fields
}

fn debounce(settings: &DebounceSettings) -> Value {
    let millis = |millis: Option<u64>| millis.map(|millis| json!(in_words(Duration::from_millis(millis))));
    let fields = [
        ("quiet", millis(settings.quiet_ms)),
        ("max_wait", millis(settings.max_wait_ms)),
        ("edge", settings.edge.map(|edge| json!(edge))),
        ("keep", settings.keep.map(|keep| json!(keep))),
        ("max_events", settings.max_events.map(Value::from)),
        ("max_bytes", settings.max_bytes.map(Value::from)),
        ("bypass", settings.bypass.clone().map(Value::from)),
    ];
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut given: Map<String, Value> = given.collect();
    let is_off = settings.enabled == Some(false);
    if given.is_empty() {
        return json!(if is_off { "off" } else { "on" });
    }
    if is_off {
        given.insert("enabled".to_owned(), json!(false));
    }
    Value::Object(given)
}

/// `2m`, `30s`, `500ms`: as durations are read.
fn in_words(time: Duration) -> String {
    match time.as_millis() {
        millis if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        millis if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_flood;
    use super::*;

    #[test]
    fn what_is_read_is_written_back_the_same() {
        let check = |text: &str| {
            let settings = read_flood("policy", text).expect(text);
            let written = Value::Object(flood_fields(&settings)).to_string();
            let again = read_flood("written", &written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(again, settings, "{written}");
        };
        check("dedupe: false");
        check("debounce: on");
        check("debounce: off");
        check("debounce: {enabled: false, quiet: 5s}");
        check(
            "{order: true, detect_changes: false, rate: {per_second: 5}, integration_rate: {per_second: 7, burst: 9}}",
        );
        check(
            "debounce: {quiet: 1500ms, max_wait: 2m, edge: both, keep: all, max_events: 7, max_bytes: 512KiB, bypass: [a.*, b]}",
        );
        check("{debounce: {quiet: 5s}, types: {a.*: {debounce: off}, '*': {order: true}}}");
        check("{}");
    }

    #[test]
    fn what_holds_in_the_end_is_told_by_type() {
        let integration = read_flood("policy", "{order: true, debounce: {quiet: 5s}}").expect("settings");
        let connection =
            read_flood("policy", "{dedupe: false, types: {a.*: {debounce: off}}}").expect("settings");
        let told = effective_flood(&[&integration, &connection], &FloodPolicy::default());
        assert_eq!(told["dedupe"], json!(false));
        assert_eq!(told["order"], json!(true));
        assert_eq!(told["debounce"]["quiet"], json!("5s"));
        assert_eq!(told["debounce"]["max_wait"], json!("30s"));
        assert_eq!(told["debounce"]["max_bytes"], json!(1 << 20));
        assert_eq!(told["types"]["a.*"]["debounce"], json!("off"));
        assert_eq!(told["types"]["a.*"]["order"], json!(true));
    }
}
