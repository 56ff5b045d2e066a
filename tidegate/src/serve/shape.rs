//! Which roles a process runs. In: `--roles` and the configuration. Out: a [`Shape`], or why it cannot work.
//! Starts nothing.

use anyhow::ensure;
use clap::ValueEnum;

use crate::config::{BrokerKind, Config};

/// A part of the work that a process can do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Takes webhooks.
    Ingest,
    /// Decides what becomes of every event.
    Processor,
    /// Sends to endpoints.
    Forward,
    /// Writes rows to ClickHouse.
    Audit,
    /// Answers the API and writes the registry.
    Api,
}

/// The roles of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    roles: Vec<RoleName>,
}

impl Default for Shape {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Shape {
    /// These roles; all of them when none is named.
    #[must_use]
    pub fn of(named: &[RoleName]) -> Self {
        let all = RoleName::value_variants();
        Self {
            roles: if named.is_empty() { all } else { named }.to_vec(),
        }
    }

    /// Whether the process has this role.
    #[must_use]
    pub fn has(&self, role: RoleName) -> bool {
        self.roles.contains(&role)
    }

    /// Whether it runs a ClickHouse of its own when none is configured.
    #[must_use]
    pub fn needs_clickhouse(&self) -> bool {
        self.has(RoleName::Audit) || self.has(RoleName::Api)
    }

    fn is_whole(&self) -> bool {
        RoleName::value_variants().iter().all(|role| self.has(*role))
    }

    /// Whether the configuration fits: roles apart meet in Kafka and in one ClickHouse, and on Kafka every process needs
    /// the same keys.
    ///
    /// # Errors
    /// Which key is missing.
    pub fn check(&self, config: &Config) -> anyhow::Result<()> {
        let is_kafka = config.broker.kind == BrokerKind::Kafka;
        ensure!(
            self.is_whole() || is_kafka,
            "roles apart need a broker that they share: set broker.kind = \"kafka\" and broker.kafka.bootstrap"
        );
        ensure!(
            self.is_whole() || !self.needs_clickhouse() || !config.clickhouse.url.is_empty(),
            "roles apart need a ClickHouse that they share: set clickhouse.url"
        );
        ensure!(
            !is_kafka || config.server.key_file.is_some(),
            "with Kafka every process needs the same keys: set server.key_file"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_apart_are_refused_where_they_cannot_meet() {
        let check =
            |roles: &[RoleName], (kind, url, keys): (BrokerKind, &str, bool), missing: Option<&str>| {
                let mut config = Config::default();
                config.broker.kind = kind;
                config.clickhouse.url = url.to_owned();
                config.server.key_file = keys.then(|| "keys".into());
                let checked = Shape::of(roles).check(&config).map_err(|error| error.to_string());
                match missing {
                    None => assert_eq!(checked, Ok(()), "{roles:?}"),
                    Some(key) => assert!(
                        checked.is_err_and(|error| error.contains(key)),
                        "{roles:?}: {key}"
                    ),
                }
            };
        use BrokerKind::{Embedded, Kafka};
        check(&[], (Embedded, "", false), None);
        check(&[RoleName::Ingest], (Embedded, "", false), Some("broker.kind"));
        check(&[], (Kafka, "", true), None);
        check(&[], (Kafka, "", false), Some("server.key_file"));
        check(&[RoleName::Ingest, RoleName::Processor], (Kafka, "", true), None);
        check(&[RoleName::Audit], (Kafka, "", true), Some("clickhouse.url"));
        check(&[RoleName::Api], (Kafka, "http://clickhouse:8123", true), None);
    }
}
