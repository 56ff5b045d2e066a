//! How Kafka is reached, and the limits of what is sent to it and read from it, each with its default.
//! Plain values: nothing is read from files or the environment here, except the certificates that librdkafka opens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tidegate_schemas::{Secret, Topic};

use crate::embedded::PartitionCounts;
use crate::error::Error;

/// What [`Sasl::mechanism`] may say. OAUTHBEARER would have to fetch tokens, and librdkafka is built without curl.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// How Kafka is reached and used.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses of some brokers, `host:port`, with commas between them.
    pub bootstrap: String,
    /// What stands before the name of every topic and group.
    pub prefix: String,
    /// This process's name among its like, unique and the same after a restart (a StatefulSet's pod name): a restart
    /// within `session_timeout_ms` then moves no partition. Empty: partitions move at once.
    pub instance: String,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Copies of every partition, for topics that are created; fewer is refused at start.
    pub replication: u16,
    /// Copies that must have a message before it counts; fewer is refused at start.
    pub min_insync: u16,
    /// Bytes of a message in `requests`, `events` and `dead`: the largest body and 1 MiB of metadata.
    pub body_message_bytes_max: usize,
    /// Bytes of a message in `outcomes`, `attempts` and the journals.
    pub rows_message_bytes_max: usize,
    /// Hours that `requests` and `events` are kept.
    pub retention_hours: u64,
    /// Hours that `outcomes` and `attempts` are kept.
    pub rows_retention_hours: u64,
    /// Hours that `dead` is kept.
    pub dead_retention_hours: u64,
    /// Milliseconds that a batch waits for company before it is sent.
    pub linger_ms: u64,
    /// Bytes of a batch.
    pub batch_bytes_max: usize,
    /// Without a spill: milliseconds until a request that Kafka has not taken is given up, and its sender answered 503.
    pub request_timeout_ms: u64,
    /// Milliseconds until what an owner writes is given up, and its partition begins again from its journal.
    pub append_timeout_ms: u64,
    /// Bytes that may wait to be sent; of requests, more is spilled, or without a spill answered 503.
    pub queue_bytes_max: usize,
    /// Milliseconds without a sign of life after which a process's partitions go to others.
    pub session_timeout_ms: u64,
    /// Milliseconds that an owner may take to end when its partition goes to another process; then it is dropped.
    pub release_timeout_ms: u64,
    /// Bytes that are read ahead for one reader; a partition whose reader has so many pauses.
    pub read_ahead_bytes_max: usize,
    /// The same while an owner reads its journal: a partition that pauses gives back what was fetched of it, so pauses
    /// cost.
    pub journal_read_ahead_bytes_max: usize,
    /// The same for the registry, which each process reads as a whole when it starts.
    pub registry_read_ahead_bytes_max: usize,
    /// Milliseconds that Kafka may hold an empty answer back.
    pub fetch_wait_ms: u64,
    /// Milliseconds without progress, though there is something to read, after which a reader begins anew.
    pub stall_ms: u64,
    /// Milliseconds for a question to the cluster: metadata, offsets, topics.
    pub question_timeout_ms: u64,
    /// Milliseconds between two reports of librdkafka, which become metrics.
    pub statistics_interval_ms: u64,
    /// Partitions of each topic.
    pub partitions: PartitionCounts,
    /// `[broker.kafka.spill]`
    pub spill: Spill,
    /// `[broker.kafka.tls]`
    pub tls: Tls,
    /// `[broker.kafka.sasl]`
    pub sasl: Sasl,
    /// Further settings of librdkafka, for what has no key here, such as `client.rack=a`.
    pub properties: Vec<String>,
}

/// Where ingest keeps what it accepts while Kafka is away.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spill {
    /// Whether it does; without it a request that Kafka does not take in time is answered 503.
    pub enabled: bool,
    /// The folder, on this process's own disk; empty: the caller names one, or nothing is spilled.
    pub dir: PathBuf,
    /// Bytes that it may take on the disk, in whole segments; more is answered 503.
    pub bytes_max: u64,
    /// Milliseconds until a request that Kafka has not answered is given up there and spilled.
    pub timeout_ms: u64,
}

impl Default for Spill {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: PathBuf::new(),
            bytes_max: 4 * 1024 * 1024 * 1024,
            timeout_ms: 500,
        }
    }
}

/// Encryption of the connections.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Whether connections are encrypted.
    pub enabled: bool,
    /// A file with the certificates (PEM) that the brokers' are checked against; empty: the system's.
    pub ca: String,
    /// A file with this client's certificate (PEM).
    pub certificate: String,
    /// A file with this client's key (PEM).
    pub key: String,
}

/// Who this client says it is.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; empty: nobody is asked.
    pub mechanism: String,
    /// The user.
    pub user: String,
    /// The user's password.
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sasl")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Default for Sasl {
    fn default() -> Self {
        Self {
            mechanism: String::new(),
            user: String::new(),
            password: Secret::new(Vec::new()),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            prefix: "tidegate.".to_owned(),
            instance: String::new(),
            create_topics: true,
            replication: 1,
            min_insync: 1,
            body_message_bytes_max: 26 * 1024 * 1024,
            rows_message_bytes_max: 16 * 1024 * 1024,
            retention_hours: 7 * 24,
            rows_retention_hours: 14 * 24,
            dead_retention_hours: 30 * 24,
            linger_ms: 5,
            batch_bytes_max: 1_000_000,
            request_timeout_ms: 5_000,
            append_timeout_ms: 30_000,
            queue_bytes_max: 256 * 1024 * 1024,
            session_timeout_ms: 15_000,
            release_timeout_ms: 3_000,
            read_ahead_bytes_max: 2 * 1024 * 1024,
            journal_read_ahead_bytes_max: 16 * 1024 * 1024,
            registry_read_ahead_bytes_max: 64 * 1024 * 1024,
            fetch_wait_ms: 100,
            stall_ms: 30_000,
            question_timeout_ms: 10_000,
            statistics_interval_ms: 10_000,
            partitions: PartitionCounts::default(),
            spill: Spill::default(),
            tls: Tls::default(),
            sasl: Sasl::default(),
            properties: Vec::new(),
        }
    }
}

impl Config {
    /// Partitions of a topic.
    #[must_use]
    pub fn partitions_of(&self, topic: Topic) -> u32 {
        self.partitions.of(topic)
    }

    /// Bytes of key, metadata and value that a message of `topic` may have.
    #[must_use]
    pub fn message_bytes_max(&self, topic: Topic) -> usize {
        if topic.holds_bodies() {
            self.body_message_bytes_max
        } else {
            self.rows_message_bytes_max
        }
    }

    /// How long a topic is kept; `None` without limit.
    #[must_use]
    pub fn retention(&self, topic: Topic) -> Option<Duration> {
        let hours = match topic {
            Topic::Requests | Topic::Events => self.retention_hours,
            Topic::Outcomes | Topic::Attempts => self.rows_retention_hours,
            Topic::Dead => self.dead_retention_hours,
            Topic::State | Topic::Retries | Topic::Registry | Topic::Audit => return None,
        };
        Some(Duration::from_secs(hours.saturating_mul(3600)))
    }

    /// The folder of the spill, if there is one.
    #[must_use]
    pub fn spill_folder(&self) -> Option<&Path> {
        let is_there = self.spill.enabled && !self.spill.dir.as_os_str().is_empty();
        is_there.then_some(&self.spill.dir)
    }

    pub(crate) fn question_timeout(&self) -> Duration {
        Duration::from_millis(self.question_timeout_ms)
    }

    pub(crate) fn release_timeout(&self) -> Duration {
        Duration::from_millis(self.release_timeout_ms)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Config(what));
        if self.bootstrap.trim().is_empty() {
            return refuse("broker.kafka.bootstrap is empty: name some brokers, host:port".to_owned());
        }
        for topic in super::topics::USED {
            if self.partitions_of(topic) == 0 {
                return refuse(format!("{} needs at least one partition", topic.label()));
            }
        }
        if let Some(property) = self.properties.iter().find(|it| !it.contains('=')) {
            return refuse(format!(
                "broker.kafka.properties: {property:?} is no setting: write name=value"
            ));
        }
        if self.min_insync > self.replication {
            return refuse(format!(
                "broker.kafka.min_insync ({}) is above broker.kafka.replication ({}): nothing could be written",
                self.min_insync, self.replication
            ));
        }
        let timeouts = [
            self.request_timeout_ms,
            self.append_timeout_ms,
            self.spill.timeout_ms,
        ];
        if timeouts.iter().any(|timeout_ms| *timeout_ms <= self.linger_ms) {
            return refuse(format!(
                "broker.kafka.linger_ms ({}) must be below request_timeout_ms, append_timeout_ms and spill.timeout_ms",
                self.linger_ms
            ));
        }
        self.check_security().map_or(Ok(()), refuse)
    }

    /// What is wrong with how connections are secured.
    fn check_security(&self) -> Option<String> {
        let (tls, sasl) = (&self.tls, &self.sasl);
        let named = [
            ("ca", &tls.ca),
            ("certificate", &tls.certificate),
            ("key", &tls.key),
        ];
        if let Some((key, _)) = named.iter().find(|(_, file)| !tls.enabled && !file.is_empty()) {
            return Some(format!(
                "broker.kafka.tls.{key} is set and broker.kafka.tls.enabled is false: nothing would be encrypted"
            ));
        }
        if tls.certificate.is_empty() != tls.key.is_empty() {
            return Some(
                "broker.kafka.tls.certificate and broker.kafka.tls.key go together: set both or none"
                    .to_owned(),
            );
        }
        if sasl.mechanism.is_empty() {
            return (!sasl.user.is_empty())
                .then(|| "broker.kafka.sasl.user is set: set broker.kafka.sasl.mechanism too".to_owned());
        }
        if !MECHANISMS.contains(&sasl.mechanism.as_str()) {
            let known = MECHANISMS.join(", ");
            return Some(format!(
                "broker.kafka.sasl.mechanism is {:?}: it must be one of {known}",
                sasl.mechanism
            ));
        }
        (sasl.user.is_empty() || sasl.password.expose().is_empty()).then(|| {
            "broker.kafka.sasl.mechanism is set: set broker.kafka.sasl.user and broker.kafka.sasl.password too".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_security_is_refused_by_its_key() {
        let check = |change: fn(&mut Config), key: &str| {
            let mut config = Config::default();
            change(&mut config);
            let refused = config.check().expect_err("it cannot work").to_string();
            assert!(refused.contains(key), "{refused}");
        };
        assert!(Config::default().check().is_ok());
        check(|it| it.tls.ca = "ca.pem".to_owned(), "broker.kafka.tls.enabled");
        check(
            |it| (it.tls.enabled, it.tls.key) = (true, "key.pem".to_owned()),
            "broker.kafka.tls.certificate",
        );
        check(
            |it| it.sasl.user = "somebody".to_owned(),
            "broker.kafka.sasl.mechanism",
        );
        check(
            |it| it.sasl.mechanism = "PLAIN".to_owned(),
            "broker.kafka.sasl.password",
        );
        check(|it| it.sasl.mechanism = "OAUTHBEARER".to_owned(), "SCRAM-SHA-512");
    }
}
