//! What must be written so that there is what a file wants.
//! In: the tables, a manifest, what the providers demand. Out: steps for people, and the writes they stand for. Writes
//! nothing.

use std::collections::BTreeMap;

use tidegate_schemas::{EnvironmentId, IntegrationId, UnixMillis};

use super::difference::difference;
use super::facts::{check_connection, check_integration};
use super::read::{WantedConnection, WantedEndpoint, WantedEnvironment, WantedIntegration};
use super::{Manifest, ManifestError, ProviderFacts};
use crate::entity::{
    Connection, Endpoint, EndpointState, Entity, EntityRef, Environment, Integration, StoredSecret,
};
use crate::tables::{ReadError, Tables};
use crate::writer::Write;

/// What a plan is made with.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    /// Names the file in errors.
    pub file: &'a str,
    /// What each provider demands.
    pub providers: &'a BTreeMap<String, ProviderFacts>,
    /// Whether to delete what the file does not name (see the module).
    pub prune: bool,
    /// The time of new entities.
    pub now: UnixMillis,
}

/// What will be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// For people.
    pub steps: Vec<Step>,
    /// For the writer, one for each step.
    pub writes: Vec<Write>,
}

/// One entity that will change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What happens to it.
    pub action: Action,
    /// Which entity, in words.
    pub entity: String,
    /// Its fields that change, secrets by their hints.
    pub changes: Vec<String>,
}

/// What happens to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes, with everything inside it.
    Delete,
}

impl Plan {
    /// Whether everything is as the file wants it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

/// As `tidegate apply` prints it.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for step in &self.steps {
            let sign = match step.action {
                Action::Create => '+',
                Action::Update => '~',
                Action::Delete => '-',
            };
            writeln!(f, "{sign} {}", step.entity)?;
            for change in &step.changes {
                writeln!(f, "    {change}")?;
            }
        }
        let [create, update, delete] =
            [Action::Create, Action::Update, Action::Delete].map(|it| self.count(it));
        if self.is_empty() {
            return writeln!(f, "nothing to do: everything is as the file says");
        }
        writeln!(f, "{create} to create, {update} to update, {delete} to delete")
    }
}

impl Manifest {
    /// What must be written so that the tables hold what this file wants.
    ///
    /// # Errors
    /// [`ManifestError`] naming every line that a provider or an existing entity does not allow.
    pub fn plan(&self, tables: &Tables, planning: &Planning<'_>) -> Result<Plan, ManifestError> {
        let mut planner = Planner::new(tables, planning);
        for environment in &self.environments {
            planner.environment(environment);
        }
        planner.end()
    }
}

/// A plan that is being made.
pub(super) struct Planner<'a> {
    tables: &'a Tables,
    planning: &'a Planning<'a>,
    plan: Plan,
    deletes: Plan,
    wrongs: Vec<(usize, String)>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(tables: &'a Tables, planning: &'a Planning<'a>) -> Self {
        Self {
            tables,
            planning,
            plan: Plan::default(),
            deletes: Plan::default(),
            wrongs: Vec::new(),
        }
    }

    /// The plan, what is deleted last.
    pub(super) fn end(self) -> Result<Plan, ManifestError> {
        if !self.wrongs.is_empty() {
            return Err(ManifestError::new(self.planning.file, self.wrongs));
        }
        let mut plan = self.plan;
        plan.steps.extend(self.deletes.steps);
        plan.writes.extend(self.deletes.writes);
        Ok(plan)
    }

    fn environment(&mut self, wanted: &WantedEnvironment) {
        let current = self.tables.environment_by_name(&wanted.name);
        let mut environment = current.map_or_else(
            || Environment::new(&wanted.name, self.planning.now),
            |environment| environment.as_ref().clone(),
        );
        if let Some(id) = wanted.id {
            if current.is_some() && environment.id != id {
                let problem = format!(
                    "environment `{}` has the id {}, which cannot be changed to {id}: leave `id` out",
                    wanted.name, environment.id
                );
                self.wrongs.push((wanted.line, problem));
            }
            environment.id = id;
        }
        replace_secrets(&mut environment.signing_keys, wanted.signing_keys.as_ref());
        let id = environment.id;
        let current = current.map(|it| Entity::Environment(it.as_ref().clone()));
        self.step(
            format!("environment `{}`", wanted.name),
            current,
            Entity::Environment(environment),
        );
        for integration in &wanted.integrations {
            self.integration(id, integration, &wanted.name);
        }
        for endpoint in &wanted.endpoints {
            self.endpoint(id, endpoint, &wanted.name);
        }
        if self.planning.prune {
            self.prune(id, wanted);
        }
    }

    pub(super) fn integration(&mut self, environment: EnvironmentId, wanted: &WantedIntegration, name: &str) {
        let current = self.tables.integration(&environment, &wanted.integration.key);
        let mut integration = wanted.integration.clone();
        integration.environment = environment;
        match current {
            None => integration.id = IntegrationId::new(self.planning.now),
            Some(current) => self.keep(&mut integration, current, wanted.line),
        }
        replace_secrets(&mut integration.secrets, wanted.secrets.as_ref());
        let facts = self.planning.providers.get(&integration.provider);
        for fact in facts
            .iter()
            .flat_map(|facts| &facts.cfg)
            .filter(|fact| fact.secret)
        {
            integration.hide_cfg(&fact.name, current.map(AsRef::as_ref));
        }
        // Once a handshake has stored one, the file must not open the door again.
        integration.awaits_secret &= integration.secrets.is_empty();
        for (_, problem) in check_integration(&integration, self.planning.providers) {
            self.wrongs.push((wanted.line, problem));
        }
        let (id, provider) = (integration.id, integration.provider.clone());
        let words = format!("integration `{}` in `{name}`", integration.key);
        let current = current.map(|it| Entity::Integration(it.as_ref().clone()));
        self.step(words.clone(), current, Entity::Integration(integration));
        for connection in wanted.connections.iter().flatten() {
            self.connection((id, &provider), connection, &words);
        }
    }

    /// Takes over from `current` what the file has no say in.
    fn keep(&mut self, integration: &mut Integration, current: &Integration, line: usize) {
        let fixed = [
            ("provider", integration.provider != current.provider),
            ("spread", integration.spread != current.spread),
        ];
        for (field, _) in fixed.iter().filter(|(_, changed)| *changed) {
            let key = &integration.key;
            let problem =
                format!("`{field}` of integration `{key}` cannot be changed: give the new one another key");
            self.wrongs.push((line, problem));
        }
        integration.id = current.id;
        integration.version = current.version;
        integration.created_at = current.created_at;
        integration.updated_at = current.updated_at;
        integration.secrets.clone_from(&current.secrets);
        integration.partitions.clone_from(&current.partitions);
        integration.spread_generation = current.spread_generation;
    }

    pub(super) fn connection(
        &mut self,
        (integration, provider): (IntegrationId, &str),
        wanted: &WantedConnection,
        within: &str,
    ) {
        let mut connection = wanted.connection.clone();
        connection.integration = integration;
        let current = match self.current_connection(integration, &connection.id) {
            Ok(current) => current,
            Err(error) => return self.wrongs.push((wanted.line, error.to_string())),
        };
        if let Some(current) = &current {
            connection.version = current.version;
            connection.created_at = current.created_at;
            connection.updated_at = current.updated_at;
            connection.details = current.details.clone();
        }
        let details = &mut connection.details;
        replace_secrets(&mut details.secrets, wanted.secrets.as_ref());
        details.metadata = wanted
            .metadata
            .clone()
            .unwrap_or(std::mem::take(&mut details.metadata));
        details.tags = wanted.tags.clone().unwrap_or(std::mem::take(&mut details.tags));
        details.flood = wanted.flood.clone().unwrap_or(std::mem::take(&mut details.flood));
        connection.awaits_secret &= connection.details.secrets.is_empty();
        if let Some(facts) = self.planning.providers.get(provider) {
            for problem in check_connection(&connection, (provider, facts)) {
                self.wrongs.push((wanted.line, problem));
            }
        }
        let words = format!("connection `{}` of {within}", connection.id);
        self.step(
            words,
            current.map(Entity::Connection),
            Entity::Connection(connection),
        );
    }

    fn current_connection(
        &self,
        integration: IntegrationId,
        id: &str,
    ) -> Result<Option<Connection>, ReadError> {
        let connection = self.tables.connection(&integration, id);
        connection
            .map(|connection| connection.to_connection())
            .transpose()
    }

    fn endpoint(&mut self, environment: EnvironmentId, wanted: &WantedEndpoint, name: &str) {
        let current = self.tables.endpoint_by_name(&environment, &wanted.endpoint.name);
        let new = || {
            Endpoint::new(
                environment,
                &wanted.endpoint.name,
                &wanted.endpoint.url,
                self.planning.now,
            )
        };
        let base = current.map_or_else(new, |endpoint| endpoint.as_ref().clone());
        let mut endpoint = Endpoint {
            id: base.id,
            environment,
            version: base.version,
            created_at: base.created_at,
            updated_at: base.updated_at,
            state: wanted.state.unwrap_or(base.state),
            secrets: base.secrets,
            ..wanted.endpoint.clone()
        };
        if endpoint.state == EndpointState::DisabledByUser && base.state == EndpointState::DisabledGone {
            endpoint.state = base.state;
        }
        replace_secrets(&mut endpoint.secrets, wanted.secrets.as_ref());
        let words = format!("endpoint `{}` in `{name}`", endpoint.name);
        let current = current.map(|it| Entity::Endpoint(it.as_ref().clone()));
        self.step(words, current, Entity::Endpoint(endpoint));
    }

    fn prune(&mut self, id: EnvironmentId, wanted: &WantedEnvironment) {
        let tables = self.tables;
        for integration in tables.integrations_of(&id) {
            let within = format!("integration `{}` in `{}`", integration.key, wanted.name);
            match wanted
                .integrations
                .iter()
                .find(|it| it.integration.key == integration.key)
            {
                Some(WantedIntegration {
                    connections: Some(connections),
                    ..
                }) => {
                    for connection in tables.connections_of(integration.id) {
                        if !connections.iter().any(|it| it.connection.id == connection.id()) {
                            let reference = EntityRef::Connection(integration.id, connection.id().to_owned());
                            let words = format!("connection `{}` of {within}", connection.id());
                            self.delete(words, reference, connection.version());
                        }
                    }
                }
                Some(_) => {}
                None => {
                    let inside = tables.connections_of(integration.id).count();
                    let words = format!("{within}, with its {inside} connections");
                    self.delete(words, EntityRef::Integration(integration.id), integration.version);
                }
            }
        }
        for endpoint in tables.endpoints_of(&id) {
            if !wanted
                .endpoints
                .iter()
                .any(|it| it.endpoint.name == endpoint.name)
            {
                let words = format!("endpoint `{}` in `{}`", endpoint.name, wanted.name);
                self.delete(words, EntityRef::Endpoint(endpoint.id), endpoint.version);
            }
        }
    }

    fn step(&mut self, entity: String, current: Option<Entity>, wanted: Entity) {
        let (action, changes) = match &current {
            Some(current) if *current == wanted => return,
            Some(current) => (Action::Update, difference(current, &wanted)),
            None => (Action::Create, Vec::new()),
        };
        self.plan.steps.push(Step {
            action,
            entity,
            changes,
        });
        self.plan.writes.push(Write::put(wanted));
    }

    fn delete(&mut self, words: String, entity: EntityRef, version: u64) {
        self.deletes.steps.push(Step {
            action: Action::Delete,
            entity: words,
            changes: Vec::new(),
        });
        self.deletes.writes.push(Write::Delete {
            entity,
            version: Some(version),
        });
    }
}

/// Puts the wanted secrets in place of the current ones, which stay as they are where they are the same.
fn replace_secrets(current: &mut Vec<StoredSecret>, wanted: Option<&Vec<StoredSecret>>) {
    if let Some(wanted) = wanted
        && wanted != current
    {
        current.clone_from(wanted);
    }
}
