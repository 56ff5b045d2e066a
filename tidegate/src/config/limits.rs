//! Limits that hang together: what one room may write, the next must be able to take. In: a configuration and the broker's
//! message limits. Out: nothing, or every pair that does not fit, with both keys. Asked once, at the start of a server,
//! so that nobody learns of it from the first message that is too large.

use tidegate_registry::MAX_WAIT_MAX;
use tidegate_schemas::Topic;

use super::{BrokerKind, Config};

/// What a message holds beside the body.
const META_BYTES: u64 = 1 << 20;
/// A message of `attempts` is closed once it has this many bytes; its last row may come on top.
const ATTEMPTS_BYTES: u64 = 512 << 10;
/// Bytes that a text may take for one of its own when it is written as JSON (`\u0000`).
const JSON_BYTES: u64 = 6;
/// Texts of a provider's in a row of `outcomes`, each cut at `processor.text_bytes_max`.
const ROW_TEXTS: u64 = 9;
/// What a row holds beside such texts.
const ROW_BYTES: u64 = 64 << 10;
/// How long an unattributed event may wait at most, in milliseconds.
const WAIT_MAX_MS: u64 = 600_000;

/// How long a delivery id must be remembered at least, in milliseconds.
const DEDUPE_TTL_MIN_MS: u64 = 1_000;

const HOUR_MS: u64 = 3_600_000;

/// Two limits of which the first must fit into the second.
struct Pair {
    key: &'static str,
    /// What the first is set to.
    is: u64,
    /// What the second must therefore allow: more, where something comes on top.
    needs: u64,
    /// The second, and what it is set to.
    within: (&'static str, u64),
    why: &'static str,
}

/// Some limits do not fit one another; each line names a pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration's limits do not fit one another:\n{}", .0.join("\n"))]
pub struct Misfits(pub Vec<String>);

impl Config {
    /// Checks every pair of limits of which one must fit into the other.
    ///
    /// # Errors
    /// [`Misfits`], with all that do not.
    pub fn check_limits(&self, message_bytes_max: impl Fn(Topic) -> usize) -> Result<(), Misfits> {
        let limit = |topic| bytes(message_bytes_max(topic));
        let pairs = [
            self.messages_of_bodies(&limit),
            self.messages_of_rows(&limit),
            self.sizes(),
            self.times(),
            self.retention(),
        ];
        let misfits: Vec<_> = pairs.iter().flatten().filter_map(Pair::misfit).collect();
        if misfits.is_empty() {
            Ok(())
        } else {
            Err(Misfits(misfits))
        }
    }

    fn messages_of_bodies(&self, limit: &impl Fn(Topic) -> u64) -> Vec<Pair> {
        let (body, headers) = (self.ingest.body_bytes_max, self.ingest.header_bytes_max);
        let bodies = limit(Topic::Requests).min(limit(Topic::Events));
        let changes = bytes(self.processor.batch_changes_bytes_max);
        let body_message = (self.broker.kind.keys().0, bodies);
        let mut pairs = vec![
            Pair::new(("ingest.body_bytes_max", bytes(body)), body_message)
                .needs(bytes(body) + META_BYTES)
                .because("a body and its metadata are one message"),
            Pair::new(
                ("ingest.header_bytes_max", bytes(headers)),
                ("a message's metadata", META_BYTES),
            )
            .needs(bytes(headers) * JSON_BYTES)
            .because("headers stand in it, escaped"),
        ];
        if self.broker.kind == BrokerKind::Embedded {
            let segment = (
                "broker.embedded.segment_bytes",
                self.broker.embedded.segment_bytes,
            );
            pairs.push(
                Pair::new(("ingest.body_bytes_max", bytes(body)), segment)
                    .needs(bytes(body) + META_BYTES + changes)
                    .because("an event and its batch's changes are one append, in one segment"),
            );
        }
        pairs
    }

    fn messages_of_rows(&self, limit: &impl Fn(Topic) -> u64) -> Vec<Pair> {
        let (processor, forward) = (&self.processor, &self.forward);
        let (_, whole_key, half_key) = self.broker.kind.keys();
        let rows = |topic| (whole_key, limit(topic));
        let half = |topic| (half_key, limit(topic) / 2);
        let payload = bytes(processor.row_payload_bytes_max);
        let row = payload + bytes(processor.text_bytes_max) * ROW_TEXTS;
        let message = bytes(processor.outcomes_message_bytes_max);
        let changes = bytes(processor.batch_changes_bytes_max);
        let excerpt = bytes(forward.excerpt_bytes);
        let write = bytes(self.registry.write_bytes_max);
        vec![
            Pair::new(
                ("processor.outcomes_message_bytes_max", message),
                rows(Topic::Outcomes),
            )
            .because("rows are appended in messages of that size"),
            Pair::new(
                ("processor.row_payload_bytes_max", payload),
                rows(Topic::Outcomes),
            )
            .needs(row * JSON_BYTES + ROW_BYTES)
            .because("a row is never cut, and its texts are escaped"),
            Pair::new(("forward.excerpt_bytes", excerpt), rows(Topic::Attempts))
                .needs(ATTEMPTS_BYTES + excerpt * JSON_BYTES + ROW_BYTES)
                .because("512 KiB of rows and one more are a message of attempts"),
            Pair::new(("processor.batch_changes_bytes_max", changes), half(Topic::State))
                .because("a batch's changes are one message, and its last request comes on top"),
            Pair::new(("registry.write_bytes_max", write), half(Topic::Registry))
                .because("a write is one message, with slices of the whole beside it"),
        ]
    }

    fn sizes(&self) -> Vec<Pair> {
        let (ingest, forward, registry) = (&self.ingest, &self.forward, &self.registry);
        let body = ("ingest.body_bytes_max", bytes(ingest.body_bytes_max));
        let in_flight = u64::from(forward.endpoint_in_flight_max);
        let of_endpoint = ("forward.endpoint_in_flight_max", in_flight);
        let within = |key, size| (key, bytes(size));
        let pair = |key, is: usize, within| Pair::new((key, bytes(is)), within);
        vec![
            Pair::new(
                body,
                within("ingest.inflight_bytes_max", ingest.inflight_bytes_max),
            )
            .because("a larger body would never be taken"),
            pair(
                "ingest.refusal_body_bytes_max",
                ingest.refusal_body_bytes_max,
                body,
            )
            .because("a refused body is kept in a message too"),
            pair(
                "registry.entity_bytes_max",
                registry.entity_bytes_max,
                within("registry.write_bytes_max", registry.write_bytes_max),
            )
            .because("an entity is written whole"),
            pair(
                "forward.excerpt_bytes",
                forward.excerpt_bytes,
                within("forward.answer_bytes_max", forward.answer_bytes_max),
            )
            .because("only what is read can be kept"),
            Pair::new(
                of_endpoint,
                within("forward.in_flight_max", forward.in_flight_max),
            )
            .because("one endpoint cannot have more than all"),
        ]
    }

    /// On Kafka the topics' settings end what is not delivered by then; the log keeps it.
    fn retention(&self) -> Vec<Pair> {
        if self.broker.kind != BrokerKind::Kafka {
            return Vec::new();
        }
        let schedule = self.forward.schedule_ms.iter().sum::<u64>().div_ceil(HOUR_MS);
        let within = ("broker.kafka.retention_hours", self.broker.kafka.retention_hours);
        let pair = Pair::new(("the hours of forward.schedule_ms", schedule), within);
        let window = u64::try_from(MAX_WAIT_MAX.as_millis()).unwrap_or(u64::MAX) / HOUR_MS;
        vec![
            pair.needs(schedule + 24)
                .because("events are read again until their schedule is over"),
            Pair::new(("the hours of the longest debounce.max_wait", window), within)
                .needs(10 * window)
                .because("requests are read again when their windows end"),
        ]
    }

    fn times(&self) -> Vec<Pair> {
        let (processor, forward, audit) = (&self.processor, &self.forward, &self.clickhouse);
        let keys = &processor.keys;
        let days = |key, days: u32| (key, u64::from(days));
        vec![
            Pair::new(
                ("processor.unattributed_wait_ms", processor.unattributed_wait_ms),
                ("the longest wait", WAIT_MAX_MS),
            )
            .because("an event may wait 10 minutes for its connection"),
            Pair::new(
                ("the shortest TTL, in milliseconds", DEDUPE_TTL_MIN_MS),
                ("processor.flood.dedupe_ttl_ms", processor.flood.dedupe_ttl_ms),
            )
            .because("deliveries are repeated within seconds"),
            Pair::new(
                ("processor.keys.fresh_ms", keys.fresh_ms),
                ("processor.keys.stale_ms", keys.stale_ms),
            )
            .because("a fresh key set is not too old to be used"),
            Pair::new(
                ("processor.keys.retry_after_ms", keys.retry_after_ms),
                ("processor.keys.refetch_after_ms", keys.refetch_after_ms),
            )
            .because("waits double from the one to the other"),
            Pair::new(
                ("forward.breaker_open_ms", forward.breaker_open_ms),
                ("forward.breaker_open_max_ms", forward.breaker_open_max_ms),
            )
            .because("it doubles from the one to the other"),
            Pair::new(
                ("clickhouse.retry_wait_ms", audit.retry_wait_ms),
                ("clickhouse.retry_wait_max_ms", audit.retry_wait_max_ms),
            )
            .because("waits double from the one to the other"),
            Pair::new(
                days("clickhouse.body_ttl_days", audit.body_ttl_days),
                days("clickhouse.rows_ttl_days", audit.rows_ttl_days),
            )
            .because("a body goes with its row"),
        ]
    }
}

impl BrokerKind {
    /// The keys of an engine's message limits: bodies, rows, and half of the latter.
    const fn keys(self) -> (&'static str, &'static str, &'static str) {
        match self {
            BrokerKind::Embedded => (
                "broker.embedded.body_message_bytes_max",
                "broker.embedded.rows_message_bytes_max",
                "half of broker.embedded.rows_message_bytes_max",
            ),
            BrokerKind::Kafka => (
                "broker.kafka.body_message_bytes_max",
                "broker.kafka.rows_message_bytes_max",
                "half of broker.kafka.rows_message_bytes_max",
            ),
        }
    }
}

impl Pair {
    fn new((key, is): (&'static str, u64), within: (&'static str, u64)) -> Self {
        Self {
            key,
            is,
            needs: is,
            within,
            why: "",
        }
    }

    fn needs(self, needs: u64) -> Self {
        Self { needs, ..self }
    }

    fn because(self, why: &'static str) -> Self {
        Self { why, ..self }
    }

    fn misfit(&self) -> Option<String> {
        let Pair {
            key, is, needs, why, ..
        } = self;
        let (within, allows) = self.within;
        let on_top = if needs == is {
            String::new()
        } else {
            format!(", which needs {needs}")
        };
        (*needs > allows).then(|| {
            format!(
                "`{key}` is {is}{on_top}, but {within} is {allows}: {why}; lower the one or raise the other"
            )
        })
    }
}

/// Sizes are far below the end of the numbers, so that they can be added and multiplied.
fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX).min(1 << 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings, and the keys that must be named; none: the settings fit.
    const SETTINGS: &[(&str, &[&str])] = &[
        ("", &[]),
        (
            "[processor]\noutcomes_message_bytes_max = 16777217",
            &[
                "processor.outcomes_message_bytes_max",
                "broker.embedded.rows_message_bytes_max",
            ],
        ),
        ("[processor]\noutcomes_message_bytes_max = 16777216", &[]),
        (
            "[broker.embedded]\nrows_message_bytes_max = 5242880",
            &[
                "processor.outcomes_message_bytes_max",
                "processor.row_payload_bytes_max",
                "processor.batch_changes_bytes_max",
                "registry.write_bytes_max",
            ],
        ),
        (
            "[ingest]\nbody_bytes_max = 26214401",
            &["ingest.body_bytes_max", "broker.embedded.body_message_bytes_max"],
        ),
        (
            "[ingest]\nheader_bytes_max = 200000",
            &["ingest.header_bytes_max"],
        ),
        (
            "[ingest]\ninflight_bytes_max = 1000000",
            &["ingest.body_bytes_max", "ingest.inflight_bytes_max"],
        ),
        (
            "[broker.embedded]\nsegment_bytes = 31457279",
            &["broker.embedded.segment_bytes"],
        ),
        (
            "[registry]\nentity_bytes_max = 4194305",
            &["registry.entity_bytes_max"],
        ),
        (
            "[processor]\nunattributed_wait_ms = 600001",
            &["processor.unattributed_wait_ms"],
        ),
        (
            "[processor.flood]\ndedupe_ttl_ms = 999",
            &["processor.flood.dedupe_ttl_ms"],
        ),
        (
            "[broker]\nkind = 'kafka'\n[broker.kafka]\nretention_hours = 9\n[forward]\nschedule_ms = []",
            &["debounce.max_wait", "broker.kafka.retention_hours"],
        ),
        (
            "[processor.keys]\nfresh_ms = 86400001",
            &["processor.keys.fresh_ms"],
        ),
        (
            "[forward]\nexcerpt_bytes = 4000000",
            &["forward.excerpt_bytes", "forward.answer_bytes_max"],
        ),
        (
            "[forward]\nendpoint_in_flight_max = 4096",
            &["forward.endpoint_in_flight_max"],
        ),
        (
            "[forward]\nbreaker_open_ms = 300001",
            &["forward.breaker_open_ms"],
        ),
        (
            "[broker]\nkind = 'kafka'\n[broker.kafka]\nretention_hours = 76",
            &["forward.schedule_ms", "broker.kafka.retention_hours"],
        ),
        (
            "[broker]\nkind = 'kafka'\n[broker.kafka]\nretention_hours = 9\n[forward]\nschedule_ms = []",
            &["max_wait", "broker.kafka.retention_hours", "forward.schedule_ms"],
        ),
        (
            "[broker]\nkind = 'kafka'\n[broker.kafka]\nretention_hours = 24\n[forward]\nschedule_ms = []",
            &[],
        ),
        ("[broker]\nkind = 'kafka'", &[]),
        (
            "[broker]\nkind = 'kafka'\n[broker.kafka]\nrows_message_bytes_max = 5242880\nbody_message_bytes_max = 10485760",
            &[
                "broker.kafka.body_message_bytes_max is 10485760",
                "broker.kafka.rows_message_bytes_max is 5242880",
                "half of broker.kafka.rows_message_bytes_max",
            ],
        ),
        // What the other engine is set to does not matter.
        (
            "[broker]\nkind = 'kafka'\n[broker.embedded]\nsegment_bytes = 31457279\nrows_message_bytes_max = 1",
            &[],
        ),
        (
            "[clickhouse]\nbody_ttl_days = 91",
            &["clickhouse.body_ttl_days", "clickhouse.rows_ttl_days"],
        ),
    ];

    #[test]
    fn limits_that_do_not_fit_are_named_with_both_keys() {
        for (settings, keys) in SETTINGS {
            let config: Config = toml::from_str(settings).expect(settings);
            let checked = config.check_limits(|topic| match config.broker.kind {
                BrokerKind::Embedded => config.broker.embedded.message_bytes_max(topic),
                BrokerKind::Kafka => config.broker.kafka.message_bytes_max(topic),
            });
            let said = checked
                .err()
                .map(|misfits| misfits.to_string())
                .unwrap_or_default();
            assert_eq!(said.is_empty(), keys.is_empty(), "{settings}: {said}");
            for key in *keys {
                assert!(said.contains(key), "{settings}: {key} is not named in {said}");
            }
        }
    }
}
