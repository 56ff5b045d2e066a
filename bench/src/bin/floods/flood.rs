//! The flood that goes through the whole processor: requests of one integration with its connections, and endpoints that want
//! none of it. In: `bench/data/floods.toml`. Out: a registry, and records for `requests`. Measures nothing.

use std::time::SystemTime;

use serde::Deserialize;
use tidegate_bench::{Failure, processing};
use tidegate_broker::Record;
use tidegate_providers::Sample;
use tidegate_registry::{
    Connection, Endpoint, Entity, Environment, FloodSettings, Integration, Registry, StoredSecret,
};
use tidegate_schemas::{Headers, Secret, UnixMillis};

use crate::AT;

/// The flood, as data.
#[derive(Deserialize)]
pub struct Flood {
    provider: String,
    header: String,
    secret: String,
    body: String,
    pub objects: u64,
}

impl Flood {
    /// The one that is measured.
    ///
    /// # Errors
    /// Its file is not what it should be.
    pub fn read() -> Result<Self, Failure> {
        Ok(toml::from_str(include_str!("../../../data/floods.toml"))?)
    }

    /// One integration with so many connections, named by their numbers, and an endpoint that wants another type of event.
    pub fn registry(
        &self,
        settings: FloodSettings,
        connections: u64,
    ) -> Result<(Integration, Registry), Failure> {
        let environment = Environment::new("bench", AT);
        let mut integration = Integration::new(environment.id, "bench", &self.provider, AT);
        integration.secrets = vec![StoredSecret::new(Secret::new(self.secret.as_bytes()))];
        integration.flood = settings;
        let mut endpoint = Endpoint::new(environment.id, "none", "https://example.com", AT);
        endpoint.types = vec!["nothing".to_owned()];
        let mut entities = vec![
            Entity::Environment(environment),
            Entity::Endpoint(endpoint),
            Entity::Integration(integration.clone()),
        ];
        let connection = |n: u64| Connection::new(integration.id, n.to_string(), AT);
        entities.extend((0..connections).map(connection).map(Entity::Connection));
        Ok((integration, Registry::of(entities)?))
    }

    /// The `n`th event, of this connection.
    pub fn record(&self, integration: &Integration, (connection, n): (u64, u64)) -> Record {
        let object = (n % self.objects).to_string();
        let body = self
            .body
            .replace("{connection}", &connection.to_string())
            .replace("{n}", &n.to_string())
            .replace("{object}", &object);
        let now = UnixMillis::from(SystemTime::now());
        let mut headers = Headers::default();
        headers.push(&self.header, self.secret.as_str());
        headers.push("content-type", "application/json");
        let sample = Sample {
            method: "POST".to_owned(),
            url: "https://hooks.test/webhook/bench/bench".to_owned(),
            headers,
            body: body.into(),
        };
        processing::request(&sample, integration, "/", now)
    }
}
