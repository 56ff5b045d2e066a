//! A write before it is committed: each of its entities checked against what there is, and against those before it.
//! In: the tables, puts and deletes. Out: sealed changes for the journal. Commits nothing.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_schemas::{EnvironmentId, Secret, UnixMillis};

use super::load::Loads;
use super::{Write, WriteError, rules};
use crate::change::Change;
use crate::config::Config;
use crate::entity::{Endpoint, Entity, EntityRef, Environment, FloodSettings, Integration, StoredSecret};
use crate::keyring::Keyring;
use crate::tables::Tables;

/// What a draft is made against.
pub(super) struct Ground<'a> {
    pub(super) tables: &'a Tables,
    pub(super) keyring: &'a Keyring,
    pub(super) config: &'a Config,
    pub(super) partitions: u32,
    pub(super) now: UnixMillis,
}

/// A write as far as it is checked.
pub(super) struct Draft<'a> {
    ground: Ground<'a>,
    /// What the write has made of each entity so far; `None`: deleted.
    entities: HashMap<EntityRef, Option<Entity>>,
    names: HashMap<Name, EntityRef>,
    loads: Option<Loads>,
    changes: Vec<Change>,
    generated: Vec<(EntityRef, StoredSecret)>,
}

/// A checked write.
pub(super) struct Checked {
    pub(super) changes: Vec<Change>,
    /// The version of each entity afterwards; 0 for a deleted one.
    pub(super) versions: Vec<u64>,
    /// Secrets that nobody has seen yet.
    pub(super) generated: Vec<(EntityRef, StoredSecret)>,
}

/// A name that one entity alone may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    what: &'static str,
    environment: Option<EnvironmentId>,
    text: String,
}

impl<'a> Draft<'a> {
    pub(super) fn new(ground: Ground<'a>) -> Self {
        Self {
            ground,
            entities: HashMap::new(),
            names: HashMap::new(),
            loads: None,
            changes: Vec::new(),
            generated: Vec::new(),
        }
    }

    /// Checks all of a write.
    pub(super) fn check(mut self, writes: Vec<Write>) -> Result<Checked, WriteError> {
        let mut versions = Vec::with_capacity(writes.len());
        for write in writes {
            versions.push(match write {
                Write::Put(entity) => self.put(*entity)?,
                Write::Delete { entity, version } => self.delete(entity, version)?,
            });
        }
        Ok(Checked {
            changes: self.changes,
            versions,
            generated: self.generated,
        })
    }

    fn put(&mut self, mut entity: Entity) -> Result<u64, WriteError> {
        let reference = entity.reference();
        let existing = self.existing(&reference)?;
        self.check_version(&entity, existing.as_ref())?;
        self.check_parent(&entity)?;
        match &existing {
            Some(existing) => keep_fixed(&mut entity, existing)?,
            None => self.complete(&mut entity)?,
        }
        let wider = self.wider_floods(&entity)?;
        rules::check(&mut entity, &wider, self.ground.config)?;
        if let Entity::Connection(connection) = &mut entity {
            connection.normalise();
        }
        self.claim_name(&entity)?;
        let version = entity.version() + 1;
        let created_at = existing.as_ref().and_then(Entity::created_at);
        entity.stamp(version, created_at, self.ground.now);
        self.ground.keyring.unseal_outdated(&mut entity);
        self.ground.keyring.seal(&mut entity);
        let change = Change::put(entity.clone());
        self.check_size(&reference, &change)?;
        self.changes.push(change);
        self.entities.insert(reference, Some(entity));
        Ok(version)
    }

    fn delete(&mut self, entity: EntityRef, version: Option<u64>) -> Result<u64, WriteError> {
        let Some(existing) = self.existing(&entity)? else {
            return Err(WriteError::NotFound { entity });
        };
        if let Some(expected) = version
            && expected != existing.version()
        {
            return Err(WriteError::Conflict {
                entity,
                expected,
                found: existing.version(),
            });
        }
        self.changes.push(Change::Delete(entity.clone()));
        self.entities.insert(entity, None);
        Ok(0)
    }

    /// An entity as it will be once what is drafted so far has happened.
    fn existing(&self, reference: &EntityRef) -> Result<Option<Entity>, WriteError> {
        if let Some(drafted) = self.entities.get(reference) {
            return Ok(drafted.clone());
        }
        let Some(entity) = self.ground.tables.entity(reference)? else {
            return Ok(None);
        };
        let parent_is_gone = parent(&entity).is_some_and(|parent| !self.exists(&parent));
        Ok((!parent_is_gone).then_some(entity))
    }

    /// Whether an environment or integration will be there.
    fn exists(&self, reference: &EntityRef) -> bool {
        if let Some(drafted) = self.entities.get(reference) {
            return drafted.is_some();
        }
        match reference {
            EntityRef::Environment(id) => self.ground.tables.environment(id).is_some(),
            EntityRef::Integration(id) => {
                let integration = self.ground.tables.integration_by_id(id);
                integration.is_some_and(|it| self.exists(&EntityRef::Environment(it.environment)))
            }
            _ => false,
        }
    }

    /// How the integration of a connection with settings of its own controls floods.
    fn wider_floods(&self, entity: &Entity) -> Result<FloodSettings, WriteError> {
        let integration = match entity {
            Entity::Connection(connection) if !connection.details.flood.is_empty() => {
                self.existing(&EntityRef::Integration(connection.integration))?
            }
            _ => None,
        };
        Ok(match integration {
            Some(Entity::Integration(integration)) => integration.flood,
            _ => FloodSettings::default(),
        })
    }

    fn check_version(&self, entity: &Entity, existing: Option<&Entity>) -> Result<(), WriteError> {
        let (reference, expected) = (entity.reference(), entity.version());
        match existing {
            Some(existing) if existing.version() != expected => Err(WriteError::Conflict {
                entity: reference,
                expected,
                found: existing.version(),
            }),
            None if expected != 0 => Err(WriteError::NotFound { entity: reference }),
            _ => Ok(()),
        }
    }

    fn check_parent(&self, entity: &Entity) -> Result<(), WriteError> {
        match parent(entity) {
            Some(parent) if !self.exists(&parent) => Err(WriteError::NotFound { entity: parent }),
            _ => Ok(()),
        }
    }

    /// Gives a new entity what the writer chooses.
    fn complete(&mut self, entity: &mut Entity) -> Result<(), WriteError> {
        let reference = entity.reference();
        match entity {
            Entity::Integration(integration) => self.choose_partitions(integration),
            Entity::Environment(Environment { signing_keys, .. }) if signing_keys.is_empty() => {
                let key = StoredSecret::new(Secret::new(hex::encode(random())));
                signing_keys.push(key.clone());
                self.generated.push((reference, key));
                Ok(())
            }
            Entity::Endpoint(Endpoint { secrets, .. }) if secrets.is_empty() => {
                let secret = format!("whsec_{}", STANDARD.encode(random()));
                let secret = StoredSecret::new(Secret::new(secret));
                secrets.push(secret.clone());
                self.generated.push((reference, secret));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn choose_partitions(&mut self, integration: &mut Integration) -> Result<(), WriteError> {
        let Ground {
            tables, partitions, ..
        } = self.ground;
        if integration.spread == 0 || integration.spread > partitions {
            return Err(WriteError::Invalid {
                entity: EntityRef::Integration(integration.id),
                field: "spread".into(),
                problem: format!(
                    "is {}: give 1 to {partitions}, the number of partitions",
                    integration.spread
                ),
            });
        }
        let loads = self
            .loads
            .get_or_insert_with(|| Loads::of(partitions, tables.integrations().map(AsRef::as_ref)));
        integration.partitions = loads.choose(integration.spread);
        integration.spread_generation = 0;
        Ok(())
    }

    fn claim_name(&mut self, entity: &Entity) -> Result<(), WriteError> {
        let Some(name) = name_of(entity) else {
            return Ok(());
        };
        let reference = entity.reference();
        match self.holder(&name) {
            Some(holder) if holder != reference => Err(WriteError::Taken {
                what: name.what,
                name: name.text,
                holder,
            }),
            _ => {
                self.names.insert(name, reference);
                Ok(())
            }
        }
    }

    /// Who will have a name.
    fn holder(&self, name: &Name) -> Option<EntityRef> {
        let has_it = |entity: &Option<Entity>| entity.as_ref().and_then(name_of).as_ref() == Some(name);
        if let Some(claimed) = self.names.get(name)
            && self.entities.get(claimed).is_some_and(has_it)
        {
            return Some(claimed.clone());
        }
        let tables = self.ground.tables;
        let holder = match (name.what, &name.environment) {
            ("environment name", _) => tables
                .environment_by_name(&name.text)
                .map(|it| EntityRef::Environment(it.id)),
            ("integration key", Some(id)) => tables
                .integration(id, &name.text)
                .map(|it| EntityRef::Integration(it.id)),
            ("endpoint name", Some(id)) => tables
                .endpoint_by_name(id, &name.text)
                .map(|it| EntityRef::Endpoint(it.id)),
            (_, environment) => {
                let mut keys = tables.api_keys();
                let key = keys.find(|key| key.environment == *environment && key.name == name.text);
                key.map(|key| EntityRef::ApiKey(key.id))
            }
        };
        holder.filter(|holder| !self.entities.contains_key(holder))
    }

    fn check_size(&self, reference: &EntityRef, change: &Change) -> Result<(), WriteError> {
        let (bytes, limit) = (change.encode().len(), self.ground.config.entity_bytes_max);
        if bytes <= limit {
            return Ok(());
        }
        Err(WriteError::Invalid {
            entity: reference.clone(),
            field: "the whole".into(),
            problem: format!("has {bytes} bytes, at most {limit} are taken"),
        })
    }
}

/// What must not change, and what the writer alone decides.
fn keep_fixed(entity: &mut Entity, existing: &Entity) -> Result<(), WriteError> {
    let reference = entity.reference();
    let fixed = |field: &str| WriteError::Invalid {
        entity: reference.clone(),
        field: field.to_owned(),
        problem: "cannot be changed: delete the entity and make a new one".into(),
    };
    match (entity, existing) {
        (Entity::Integration(new), Entity::Integration(old)) => {
            (new.partitions, new.spread_generation) = (old.partitions.clone(), old.spread_generation);
            let changed = [
                ("environment", new.environment != old.environment),
                ("key", new.key != old.key),
                ("provider", new.provider != old.provider),
                ("spread", new.spread != old.spread),
            ];
            changed
                .iter()
                .find(|(_, changed)| *changed)
                .map_or(Ok(()), |(field, _)| Err(fixed(field)))
        }
        (Entity::Endpoint(new), Entity::Endpoint(old)) if new.environment != old.environment => {
            Err(fixed("environment"))
        }
        (Entity::ApiKey(new), Entity::ApiKey(old)) if new.environment != old.environment => {
            Err(fixed("environment"))
        }
        _ => Ok(()),
    }
}

fn parent(entity: &Entity) -> Option<EntityRef> {
    match entity {
        Entity::Layout(_) | Entity::Environment(_) => None,
        Entity::Integration(integration) => Some(EntityRef::Environment(integration.environment)),
        Entity::Connection(connection) => Some(EntityRef::Integration(connection.integration)),
        Entity::Endpoint(endpoint) => Some(EntityRef::Environment(endpoint.environment)),
        Entity::ApiKey(key) => key.environment.map(EntityRef::Environment),
    }
}

fn name_of(entity: &Entity) -> Option<Name> {
    let (what, environment, text) = match entity {
        Entity::Layout(_) | Entity::Connection(_) => return None,
        Entity::Environment(it) => ("environment name", None, &it.name),
        Entity::Integration(it) => ("integration key", Some(it.environment), &it.key),
        Entity::Endpoint(it) => ("endpoint name", Some(it.environment), &it.name),
        Entity::ApiKey(it) => ("API key name", it.environment, &it.name),
    };
    Some(Name {
        what,
        environment,
        text: text.clone(),
    })
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
