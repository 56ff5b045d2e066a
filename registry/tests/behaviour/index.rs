//! The index of connections against the plainest model there is: a list that is searched from end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tidegate_registry::{Change, Connection, Entity, EntityRef, KEY_BYTES, Keyring, Tables};
use tidegate_schemas::{IntegrationId, Secret, UnixMillis};
use uuid::Uuid;

#[derive(Debug, Clone)]
enum Step {
    Put {
        integration: u8,
        id: u8,
        properties: Vec<(u8, Vec<u8>)>,
    },
    Delete {
        integration: u8,
        id: u8,
    },
    DeleteAll {
        integration: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let properties = proptest::collection::vec((0u8..3, proptest::collection::vec(0u8..4, 0..4)), 0..4);
    prop_oneof![
        10 => (0u8..3, 0u8..8, properties)
            .prop_map(|(integration, id, properties)| Step::Put { integration, id, properties }),
        4 => (0u8..3, 0u8..8).prop_map(|(integration, id)| Step::Delete { integration, id }),
        1 => (0u8..3).prop_map(|integration| Step::DeleteAll { integration }),
    ]
}

fn integration_id(number: u8) -> IntegrationId {
    IntegrationId(Uuid::from_u128(u128::from(number) + 1))
}

/// Value 0 is the empty one, which matches nothing.
fn text(value: u8) -> String {
    "v".repeat(value as usize * 9)
}

type Model = BTreeMap<(u8, String), BTreeSet<(String, String)>>;

fn take(step: Step, tables: &mut Tables, model: &mut Model) {
    let change = match step {
        Step::Put {
            integration,
            id,
            properties,
        } => {
            let mut connection =
                Connection::new(integration_id(integration), format!("c{id}"), UnixMillis(5));
            let mut pairs = BTreeSet::new();
            for (property, values) in properties {
                for value in values {
                    connection = connection.with_property(&format!("p{property}"), &text(value));
                    pairs.insert((format!("p{property}"), text(value)));
                }
            }
            model.insert((integration, format!("c{id}")), pairs);
            Change::put(Entity::Connection(connection))
        }
        Step::Delete { integration, id } => {
            model.remove(&(integration, format!("c{id}")));
            Change::Delete(EntityRef::Connection(
                integration_id(integration),
                format!("c{id}"),
            ))
        }
        Step::DeleteAll { integration } => {
            model.retain(|(other, _), _| *other != integration);
            Change::Delete(EntityRef::Integration(integration_id(integration)))
        }
    };
    tables.apply(change).expect("no secrets to open");
}

fn compare(tables: &Tables, model: &Model) {
    assert_eq!(tables.connections_count(), model.len());
    for integration in 0..3 {
        let id = integration_id(integration);
        for value in 0..4 {
            for property in ["p0", "p1", "p2", "unknown"] {
                let mut found: Vec<&str> = tables
                    .connections_by(&id, property, &text(value))
                    .map(|it| it.id())
                    .collect();
                found.sort_unstable();
                let pair = (property.to_owned(), text(value));
                let expected = model
                    .iter()
                    .filter(|((of, _), pairs)| *of == integration && pairs.contains(&pair));
                let expected: Vec<&str> = expected
                    .map(|((_, id), _)| id.as_str())
                    .filter(|_| value > 0)
                    .collect();
                assert_eq!(found, expected, "integration {integration}, {property} = {value}");
            }
        }
        let mut of: Vec<String> = tables.connections_of(id).map(|it| it.id().to_owned()).collect();
        of.sort_unstable();
        let expected: Vec<String> = model
            .keys()
            .filter(|(of, _)| *of == integration)
            .map(|(_, id)| id.clone())
            .collect();
        assert_eq!(of, expected);
    }
    for ((integration, id), pairs) in model {
        let connection = tables
            .connection(&integration_id(*integration), id)
            .expect("is in the model");
        let read: BTreeSet<_> = connection
            .properties()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let expected: BTreeSet<_> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .cloned()
            .collect();
        assert_eq!(read, expected);
    }
}

proptest! {
    #[test]
    fn lookups_agree_with_a_search_from_end_to_end(steps in proptest::collection::vec(step(), 1..80)) {
        let keyring = Keyring::new(&[Secret::new([1; KEY_BYTES])]).expect("32 bytes");
        let mut tables = Tables::new(Arc::new(keyring), true);
        let mut model = Model::new();
        for step in steps {
            take(step, &mut tables, &mut model);
            compare(&tables, &model);
        }
    }
}
