//! What every client of Kafka in this process has in common: where the brokers are, who we are, what is logged and
//! counted. In: the [`Config`]. Out: librdkafka's settings for a producer, a reader or a member of a group.

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::config::Config;
use super::ends::Ends;
use super::trouble::{Trouble, in_our_words};
use crate::metrics;
use std::sync::Arc;

/// Bytes of a message beside its key, metadata and value, at most.
pub const OVERHEAD_BYTES: usize = 512;

/// What a consumer holds back at most, in KiB, beside what its readers' feeds hold.
const QUEUED_KBYTES: &str = "16384";

/// How often a member speaks up at the least: it hears of a rebalance only then, and a hand-over takes two of them.
const HEARTBEAT_MS_MAX: u64 = 500;

/// What librdkafka tells: log lines, errors, statistics.
#[derive(Clone)]
pub struct Told {
    /// Which client it is: a metric's label.
    pub client: &'static str,
    /// Where partitions end, as far as is known.
    pub ends: Arc<Ends>,
    /// What keeps clients from the cluster.
    pub trouble: Arc<Trouble>,
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        match level {
            // A journal is read from its start, wherever trimming has put that.
            _ if facility == "OFFSET" => tracing::debug!(client, facility, "{message}"),
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(client, facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(client, facility, "{message}"),
            RDKafkaLogLevel::Debug => tracing::debug!(client, facility, "{message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        for (name, topic) in &statistics.topics {
            for partition in topic.partitions.values() {
                self.ends.seen(
                    name,
                    partition.partition,
                    (partition.lo_offset, partition.hi_offset),
                );
            }
        }
        metrics::kafka_statistics(self.client, &statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        metrics::kafka_error(self.client);
        self.trouble.note(&error, reason);
        tracing::warn!(client = self.client, %error, "{}", in_our_words(reason));
    }
}

/// The settings of any client.
fn any(config: &Config) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &config.bootstrap)
        .set("client.id", "tidegate")
        .set("socket.nagle.disable", "true")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        .set(
            "statistics.interval.ms",
            config.statistics_interval_ms.to_string(),
        )
        .set_log_level(log_level(config));
    secure(config, &mut settings);
    for (name, value) in config.properties.iter().filter_map(|it| it.split_once('=')) {
        settings.set(name.trim(), value.trim());
    }
    settings
}

/// Warnings and worse: a broker that is away is told by the metrics, not by a line a second. Everything, where
/// `broker.kafka.properties` asks for it by `debug=cgrp` and the like; it is logged at the level debug.
fn log_level(config: &Config) -> RDKafkaLogLevel {
    let debugs = |property: &String| property.trim_start().starts_with("debug=");
    if config.properties.iter().any(debugs) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Warning
    }
}

fn secure(config: &Config, settings: &mut ClientConfig) {
    let has_user = !config.sasl.mechanism.is_empty();
    let protocol = match (config.tls.enabled, has_user) {
        (false, false) => "PLAINTEXT",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    settings.set("security.protocol", protocol);
    let files = [
        ("ssl.ca.location", &config.tls.ca),
        ("ssl.certificate.location", &config.tls.certificate),
        ("ssl.key.location", &config.tls.key),
    ];
    for (key, file) in files.into_iter().filter(|(_, file)| !file.is_empty()) {
        settings.set(key, file);
    }
    if has_user {
        let password = String::from_utf8_lossy(config.sasl.password.expose()).into_owned();
        settings
            .set("sasl.mechanism", &config.sasl.mechanism)
            .set("sasl.username", &config.sasl.user)
            .set("sasl.password", password);
    }
}

/// The settings of a producer whose messages are given up after `timeout_ms`.
pub fn producer(config: &Config, timeout_ms: u64) -> ClientConfig {
    let largest = config.body_message_bytes_max.max(config.rows_message_bytes_max);
    let mut settings = any(config);
    settings
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("linger.ms", config.linger_ms.to_string())
        .set("batch.size", config.batch_bytes_max.to_string())
        .set("message.max.bytes", (largest + OVERHEAD_BYTES).to_string())
        .set("message.timeout.ms", timeout_ms.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .set(
            "queue.buffering.max.kbytes",
            (config.queue_bytes_max / 1024).max(1).to_string(),
        );
    settings
}

/// The settings of a consumer that is told which partitions it reads.
pub fn reader(config: &Config) -> ClientConfig {
    let largest = config.body_message_bytes_max.max(config.rows_message_bytes_max) + OVERHEAD_BYTES;
    let fetch = largest.max(config.read_ahead_bytes_max);
    let mut settings = any(config);
    settings
        // Without a group's name librdkafka would keep its own events on a queue of their own. It never joins.
        .set("group.id", format!("{}readers", config.prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_uncommitted")
        .set("fetch.wait.max.ms", config.fetch_wait_ms.to_string())
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.max.bytes", fetch.to_string())
        .set("max.partition.fetch.bytes", (4 * 1024 * 1024).to_string())
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", QUEUED_KBYTES)
        .set("receive.message.max.bytes", (fetch + 1024 * 1024).to_string());
    settings
}

/// The settings of a member of `group`, which is given partitions and reads nothing itself.
pub fn member(config: &Config, group: &str) -> ClientConfig {
    let mut settings = reader(config);
    settings
        .set("group.id", format!("{}{group}", config.prefix))
        .set("auto.offset.reset", "latest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", config.session_timeout_ms.to_string())
        .set(
            "heartbeat.interval.ms",
            (config.session_timeout_ms / 5)
                .clamp(100, HEARTBEAT_MS_MAX)
                .to_string(),
        )
        .set(
            "max.poll.interval.ms",
            (config.session_timeout_ms + config.release_timeout_ms)
                .max(300_000)
                .to_string(),
        );
    if !config.instance.is_empty() {
        settings.set("group.instance.id", &config.instance);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &ClientConfig, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            assert_eq!(settings.get(name), Some(*value), "{name}");
        }
    }

    #[test]
    fn nothing_is_acknowledged_before_every_replica_has_it_once() {
        let config = Config::default();
        let expected = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("compression.type", "lz4"),
        ];
        check(&producer(&config, 5_000), &expected);
        // A reply waits for it, and a batch per partition wants company.
        assert!((5..=10).contains(&config.linger_ms));
    }

    #[test]
    fn offsets_are_kept_in_journals_and_by_nobody_else() {
        let config = Config::default();
        let own = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ];
        check(&reader(&config), &own);
        check(&member(&config, "processor"), &own);
    }

    #[test]
    fn a_member_keeps_its_partitions_through_a_restart_and_gives_up_no_more_than_it_must() {
        let mut config = Config::default();
        let shared = ("partition.assignment.strategy", "cooperative-sticky");
        check(
            &member(&config, "processor"),
            &[shared, ("group.id", "tidegate.processor")],
        );
        assert_eq!(member(&config, "processor").get("group.instance.id"), None);
        config.instance = "processor-0".to_owned();
        check(
            &member(&config, "processor"),
            &[shared, ("group.instance.id", "processor-0")],
        );
    }
}
