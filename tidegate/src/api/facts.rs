//! What a provider's definition demands of an integration, in the registry's words: the registry knows no definitions.

use std::collections::BTreeMap;

use tidegate_providers::{Catalogue, Definition};
use tidegate_registry::manifest::{CfgFact, FloodFacts, ProviderFacts, SecretAt};

/// The facts of every definition.
pub fn facts(catalogue: &Catalogue) -> BTreeMap<String, ProviderFacts> {
    catalogue
        .definitions()
        .map(|definition| (definition.name().to_owned(), facts_of(definition)))
        .collect()
}

fn facts_of(definition: &Definition) -> ProviderFacts {
    ProviderFacts {
        needs_secret: definition.needs_secret(),
        secret_at: at(definition.secret_at()),
        stores_secret: definition.stores_secret().map(at),
        properties: definition
            .properties()
            .filter(|property| property != "connection")
            .collect(),
        cfg: definition
            .cfg()
            .iter()
            .map(|rule| CfgFact {
                name: rule.name.clone(),
                required: rule.required && rule.default.is_none(),
                secret: rule.secret,
            })
            .collect(),
        has_route: definition.has_route(),
        early_check_required: definition.early_check_required(),
        flood: FloodFacts {
            delivery_id: definition.tells_repeats(),
            object_key: definition.names_objects(),
            rank: definition.ranks_versions(),
            content: definition.carries_content(),
        },
    }
}

fn at(place: tidegate_providers::SecretAt) -> SecretAt {
    match place {
        tidegate_providers::SecretAt::Integration => SecretAt::Integration,
        tidegate_providers::SecretAt::Connection => SecretAt::Connection,
    }
}
