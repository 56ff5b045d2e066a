//! One integration or connection as the API takes it: the fields of a declarative file as JSON, read and checked by the same
//! code. In: the fields, and what there is; what exists is changed as a merge patch (RFC 7396) says. Out: the write that it
//! comes to, if anything changes, or every mistake. Writes nothing.

use serde_json::{Map, Value};

use super::ManifestError;
use super::fields::{Fields, Reading};
use super::plan::{Plan, Planner, Planning};
use super::read;
use super::written::{connection_fields, fields_with};
use super::yaml::{Kind, Node};
use crate::entity::{Connection, Environment, Integration};
use crate::tables::Tables;

/// The fields that a connection keeps when a file leaves them out, so that a patch must say that they are empty.
const KEPT_WHEN_LEFT_OUT: [&str; 3] = ["metadata", "tags", "flood"];

/// The integration `key` with these fields: made of them, or changed by them where it exists.
///
/// # Errors
/// [`ManifestError`] with everything that is wrong with the fields, or does not fit the provider.
pub fn plan_integration(
    (tables, planning): (&Tables, &Planning<'_>),
    (environment, key): (&Environment, &str),
    given: Map<String, Value>,
) -> Result<Plan, ManifestError> {
    let current = tables.integration(&environment.id, key);
    let fields = current.map_or_else(Map::new, |current| {
        fields_with(current, current.constants().clone())
    });
    let read = |fields: Fields, reading: &mut Reading<'_>| read::integration(key.to_owned(), fields, reading);
    let mut wanted = read_fields(planning.file, (merged(fields, given), "an integration"), read)?;
    if wanted.connections.take().is_some() {
        let problem = "an integration has no key `connections` here: each connection is written by itself";
        return Err(ManifestError::new(
            planning.file,
            vec![(wanted.line, problem.to_owned())],
        ));
    }
    let mut planner = Planner::new(tables, planning);
    planner.integration(environment.id, &wanted, &environment.name);
    planner.end()
}

/// The connection `id` of an integration with these fields: made of them, or changed by them where it exists as `current`.
///
/// # Errors
/// As [`plan_integration`].
pub fn plan_connection(
    (tables, planning): (&Tables, &Planning<'_>),
    (integration, id, current): (&Integration, &str, Option<&Connection>),
    given: Map<String, Value>,
) -> Result<Plan, ManifestError> {
    let mut fields = merged(current.map_or_else(Map::new, connection_fields), given);
    for name in KEPT_WHEN_LEFT_OUT {
        fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    let read = |fields: Fields, reading: &mut Reading<'_>| {
        read::connection((id.to_owned(), &integration.flood), fields, reading)
    };
    let wanted = read_fields(planning.file, (fields, "a connection"), read)?;
    let mut planner = Planner::new(tables, planning);
    let within = format!("integration `{}`", integration.key);
    planner.connection((integration.id, &integration.provider), &wanted, &within);
    planner.end()
}

fn read_fields<T>(
    file: &str,
    (fields, what): (Map<String, Value>, &str),
    read: impl FnOnce(Fields, &mut Reading<'_>) -> T,
) -> Result<T, ManifestError> {
    let mut reading = Reading {
        lookup: &|_| None,
        wrongs: Vec::new(),
    };
    let fields = reading.fields(node(Value::Object(fields)), what);
    let wanted = read(fields, &mut reading);
    if reading.wrongs.is_empty() {
        return Ok(wanted);
    }
    Err(ManifestError::new(file, reading.wrongs))
}

/// Fields with a patch over them: a map changes what it names, `null` takes away, anything else takes the place.
fn merged(mut fields: Map<String, Value>, patch: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in patch {
        match value {
            Value::Null => {
                fields.remove(&name);
            }
            Value::Object(patch) => {
                let inner = match fields.remove(&name) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                fields.insert(name, Value::Object(merged(inner, patch)));
            }
            value => {
                fields.insert(name, value);
            }
        }
    }
    fields
}

/// JSON as a node of a declarative file.
fn node(value: Value) -> Node {
    let scalar = |text: String, quoted| Kind::Scalar { text, quoted };
    let kind = match value {
        Value::Null => scalar("null".to_owned(), false),
        Value::Bool(on) => scalar(on.to_string(), false),
        Value::Number(number) => scalar(number.to_string(), false),
        // Only a file's texts name variables.
        Value::String(text) => scalar(text.replace("${", "$${"), true),
        Value::Array(elements) => Kind::List(elements.into_iter().map(node).collect()),
        Value::Object(fields) => Kind::Map(
            fields
                .into_iter()
                .map(|(key, value)| (key, node(value)))
                .collect(),
        ),
    };
    Node { line: 1, kind }
}

/// The mistakes without the place in a file, for whoever gave no file.
impl ManifestError {
    /// Every problem, parted by `; `.
    #[must_use]
    pub fn problems(&self) -> String {
        let problems: Vec<&str> = self
            .mistakes
            .iter()
            .map(|mistake| mistake.problem.as_str())
            .collect();
        problems.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tidegate_schemas::UnixMillis;

    use super::super::{FloodFacts, ProviderFacts, connection_fields, integration_fields};
    use super::*;
    use crate::entity::Entity;
    use crate::registry::Registry;
    use crate::writer::Write;

    fn fields(json: Value) -> Map<String, Value> {
        let Value::Object(fields) = json else {
            panic!("{json} is no object");
        };
        fields
    }

    fn providers() -> BTreeMap<String, ProviderFacts> {
        let facts = ProviderFacts {
            flood: FloodFacts {
                object_key: true,
                ..FloodFacts::default()
            },
            ..ProviderFacts::default()
        };
        BTreeMap::from([("crm".to_owned(), facts)])
    }

    fn planning(providers: &BTreeMap<String, ProviderFacts>) -> Planning<'_> {
        Planning {
            file: "",
            providers,
            prune: false,
            now: UnixMillis(1),
        }
    }

    fn environment() -> Environment {
        Environment::new("tests", UnixMillis(1))
    }

    /// What becomes of an integration when these fields are given one after the other.
    fn patched(patches: &[Value]) -> Result<Integration, String> {
        let (providers, environment) = (providers(), environment());
        let planning = planning(&providers);
        let mut current: Option<Integration> = None;
        for patch in patches {
            let of_current = current.clone().map(Entity::Integration);
            let entities = of_current
                .into_iter()
                .chain([Entity::Environment(environment.clone())]);
            let registry = Registry::of(entities).expect("a registry of its own key");
            let tables = registry.read();
            let given = fields(patch.clone());
            let planned = plan_integration((&tables, &planning), (&environment, "mine"), given);
            let plan = planned.map_err(|error| error.problems())?;
            for write in plan.writes {
                if let Write::Put(entity) = write
                    && let Entity::Integration(integration) = *entity
                {
                    current = Some(integration);
                }
            }
        }
        Ok(current.expect("something was given"))
    }

    #[test]
    fn what_is_given_is_changed_and_the_rest_stays() {
        let made = json!({"provider": "crm", "secret": "s3cret-${HOME}", "flood": {"debounce": {"quiet": "5s"}, "dedupe": false}});
        let integration =
            patched(&[made, json!({"flood": {"debounce": {"max_wait": "1m"}}})]).expect("it fits");
        let shown = integration_fields(&integration);
        assert_eq!(
            shown["flood"],
            json!({"dedupe": false, "debounce": {"quiet": "5s", "max_wait": "1m"}})
        );
        let secret = &integration.secrets[0];
        assert_eq!(
            secret.secret().expose(),
            b"s3cret-${HOME}",
            "no variable is filled in"
        );
        let made = json!({"provider": "crm", "flood": {"dedupe": false}, "rate_limit": {"per_second": 5}});
        let integration =
            patched(&[made, json!({"flood": {"dedupe": null}, "rate_limit": null})]).expect("it fits");
        assert!(integration.flood.is_empty() && integration.rate_limit.is_none());
    }

    #[test]
    fn what_cannot_be_says_which_field_its_range_and_the_reason() {
        let check = |flood: Value, expected: &[&str]| {
            let problem = patched(&[json!({"provider": "crm", "flood": flood})]).expect_err("it is refused");
            for expected in expected {
                assert!(problem.contains(expected), "{problem}: {expected}");
            }
        };
        check(
            json!({"debounce": {"quiet": "fast"}}),
            &["`quiet` is `fast`", "write a number and its unit"],
        );
        check(
            json!({"debounce": {"quiet": "40s"}}),
            &[
                "`flood.debounce.quiet`",
                "between 1 ms and `max_wait`, which is 30000 ms",
            ],
        );
        check(
            json!({"order": true}),
            &["`flood.order` cannot be", "`crm`", "carry no version or time"],
        );
        check(
            json!({"debonce": "on"}),
            &["`flood` has no key `debonce`: did you mean `debounce`?"],
        );
        check(
            json!({"rate": {"burst": 5}}),
            &["`rate` needs `per_second: NUMBER`"],
        );
        let problem =
            patched(&[json!({"provider": "crm"}), json!({"provider": "other"})]).expect_err("it is fixed");
        assert!(
            problem.contains("`provider` of integration `mine` cannot be changed"),
            "{problem}"
        );
        let problem = patched(&[json!({"provider": "crm", "connections": {"a": {}}})]).expect_err("not here");
        assert!(problem.contains("`connections`"), "{problem}");
    }

    #[test]
    fn a_connection_is_patched_too() {
        let (providers, environment) = (providers(), environment());
        let planning = planning(&providers);
        let integration = Integration::new(environment.id, "mine", "crm", UnixMillis(1));
        let registry = Registry::of([]).expect("a registry of its own key");
        let tables = registry.read();
        let plan = |current: Option<&Connection>, given: Value| {
            let at = (&integration, "acme", current);
            plan_connection((&tables, &planning), at, fields(given))
        };
        let made = plan(
            None,
            json!({"properties": {"account": 4711}, "flood": {"debounce": "on"}, "tags": {"a": "b"}}),
        );
        let writes = made.expect("it fits").writes;
        let [Write::Put(entity)] = &writes[..] else {
            panic!("{writes:?}");
        };
        let Entity::Connection(connection) = &**entity else {
            panic!("{entity:?}");
        };
        assert_eq!(connection.properties["account"], ["4711"]);
        let fields = connection_fields(connection);
        assert_eq!(fields["flood"], json!({"debounce": "on"}));
        let refused =
            plan(Some(connection), json!({"flood": {"detect_changes": true}})).expect_err("it only notifies");
        assert!(
            refused.problems().contains("`flood.detect_changes` cannot be"),
            "{refused}"
        );
    }
}
