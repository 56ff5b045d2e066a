//! What differs between two states of an entity, for people to read. Secrets are shown by their hints alone.
//! In: two entities of one kind. Out: a line for each field that differs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::entity::Entity;

/// Fields that a plan has no say in.
const PASSED_OVER: [&str; 9] = [
    "id",
    "environment",
    "integration",
    "key",
    "version",
    "created_at",
    "updated_at",
    "partitions",
    "spread_generation",
];
/// Parts what is shown of a secret from what only tells it apart.
const HIDDEN: char = '\0';

/// `field: old → new`, one for each field that differs.
pub(super) fn difference(old: &Entity, new: &Entity) -> Vec<String> {
    let (old, new) = (leaves(old), leaves(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = paths.into_iter().filter(|path| old.get(*path) != new.get(*path));
    let lines = differing.map(|path| {
        let (old, new) = (old.get(path), new.get(path));
        // A constant that has become a secret was none before: neither is shown.
        let is_secret = [old, new].into_iter().flatten().any(is_secret);
        let show = |leaf: Option<&Value>| match leaf {
            None => "nothing".to_owned(),
            Some(leaf) if is_secret && !self::is_secret(leaf) => "…".to_owned(),
            Some(leaf) => shown(leaf),
        };
        format!("{path}: {} → {}", show(old), show(new))
    });
    lines.collect()
}

/// Every field of an entity by its path, lists whole.
fn leaves(entity: &Entity) -> BTreeMap<String, Value> {
    let mut entity = entity.clone();
    for (_, secret) in entity.secrets_mut() {
        let digest = hex::encode(Sha256::digest(secret.secret().expose()));
        secret.sealed = format!("{}{HIDDEN}{digest}", secret.hint());
    }
    let json = serde_json::to_value(&entity).expect("entities have only text keys");
    let mut leaves = BTreeMap::new();
    let Some((_, Value::Object(fields))) = json.as_object().and_then(|kinds| kinds.iter().next()) else {
        return leaves;
    };
    for (name, value) in fields
        .iter()
        .filter(|(name, _)| !PASSED_OVER.contains(&name.as_str()))
    {
        // The constants are one map to whoever writes them.
        let name = if name == "secret_cfg" { "cfg" } else { name };
        collect(name, value, &mut leaves);
    }
    leaves
}

fn is_secret(leaf: &Value) -> bool {
    leaf.as_str().is_some_and(|text| text.contains(HIDDEN))
}

fn collect(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("sealed") => {
            leaves.insert(path.to_owned(), fields["sealed"].clone());
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(&format!("{path}.{name}"), value, leaves);
            }
        }
        Value::Array(elements) if elements.is_empty() => {}
        _ => {
            leaves.insert(path.to_owned(), value.clone());
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.split(HIDDEN).next().unwrap_or_default().to_owned(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(shown).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match name.as_str() {
                "sealed" | "name" | "value" => shown(value),
                _ => format!("{name} {}", shown(value)),
            });
            fields.collect::<Vec<String>>().join(" ")
        }
        other => other.to_string(),
    }
}
