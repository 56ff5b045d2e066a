//! The broker's metrics, counted per sync group or report of Kafka's client, never per message.
//! In: numbers. Out: counters and gauges of the process's recorder.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use rdkafka::statistics::Statistics;

use crate::kafka::{Spilled, Standing};

const GROUPS: &str = "tidegate_broker_groups_total";
const FRAMES: &str = "tidegate_broker_frames_total";
const WRITTEN_BYTES: &str = "tidegate_broker_written_bytes_total";
const SEGMENTS_BYTES: &str = "tidegate_broker_segments_bytes";
const FREED_SEGMENTS: &str = "tidegate_broker_freed_segments_total";
const KEPT_MESSAGES: &str = "tidegate_broker_kept_messages_total";
const UNREAD_DROPPED: &str = "tidegate_broker_unread_messages_dropped_total";
const SHORT_OF_SPACE: &str = "tidegate_broker_short_of_space_total";
const JOURNAL_UNREAD: &str = "tidegate_broker_journal_unread_messages";

const KAFKA_WAITING_MESSAGES: &str = "tidegate_broker_kafka_waiting_messages";
const KAFKA_WAITING_BYTES: &str = "tidegate_broker_kafka_waiting_bytes";
const KAFKA_BATCH_BYTES: &str = "tidegate_broker_kafka_batch_bytes";
const KAFKA_BATCH_MESSAGES: &str = "tidegate_broker_kafka_batch_messages";
const KAFKA_LAG: &str = "tidegate_broker_kafka_lag_messages";
const KAFKA_ANSWER: &str = "tidegate_broker_kafka_answer_p99_seconds";
const KAFKA_ERRORS: &str = "tidegate_broker_kafka_errors_total";
const KAFKA_STALLS: &str = "tidegate_broker_kafka_stalls_total";
const KAFKA_UNREAD: &str = "tidegate_broker_kafka_unread_messages";
const KAFKA_UNREAD_AGE: &str = "tidegate_broker_kafka_oldest_unread_seconds";
const KAFKA_RETENTION_USED: &str = "tidegate_broker_kafka_retention_used_ratio";
const KAFKA_REBALANCED: &str = "tidegate_broker_kafka_rebalanced_partitions_total";

const SPILL_REQUESTS: &str = "tidegate_broker_spill_requests";
const SPILL_BYTES: &str = "tidegate_broker_spill_bytes";
const SPILL_OLDEST: &str = "tidegate_broker_spill_oldest_seconds";
const SPILLED: &str = "tidegate_broker_spilled_requests_total";
const SPILL_REFUSED: &str = "tidegate_broker_spill_refused_requests_total";
const DRAINED: &str = "tidegate_broker_spill_drained_requests_total";

/// Tells the recorder what these metrics mean.
pub fn describe() {
    describe_counter!(GROUPS, "sync groups that were written");
    describe_counter!(FRAMES, "batches that were written, each one frame");
    describe_counter!(WRITTEN_BYTES, "bytes that were written to the log");
    describe_gauge!(SEGMENTS_BYTES, "bytes that the segments take on the disk");
    describe_counter!(FREED_SEGMENTS, "segments that were freed");
    describe_counter!(
        KEPT_MESSAGES,
        "messages that were appended again because they outlive their segment"
    );
    describe_counter!(
        UNREAD_DROPPED,
        "messages that the audit had not read when the disk budget was reached"
    );
    describe_counter!(
        SHORT_OF_SPACE,
        "segments that could not be written ahead for want of space"
    );
    describe_gauge!(
        JOURNAL_UNREAD,
        "messages of a journal that its new owner has still to read"
    );
    describe_kafka();
}

fn describe_kafka() {
    describe_gauge!(
        KAFKA_WAITING_MESSAGES,
        "messages that wait to be sent to Kafka, or for its answer"
    );
    describe_gauge!(
        KAFKA_WAITING_BYTES,
        "bytes of messages that wait to be sent to Kafka, or for its answer"
    );
    describe_gauge!(KAFKA_BATCH_BYTES, "bytes of a batch sent to Kafka, on average");
    describe_gauge!(
        KAFKA_BATCH_MESSAGES,
        "messages of a batch sent to Kafka, on average"
    );
    describe_gauge!(
        KAFKA_LAG,
        "messages that readers of this process have not been given yet"
    );
    describe_gauge!(
        KAFKA_ANSWER,
        "the time in which Kafka answers 99 of 100 questions"
    );
    describe_gauge!(
        KAFKA_UNREAD,
        "messages that a group has not reached, whether or not any process of it runs"
    );
    describe_gauge!(
        KAFKA_UNREAD_AGE,
        "how long the oldest message that a group has not reached has been waiting"
    );
    describe_gauge!(
        KAFKA_RETENTION_USED,
        "how much of the time that Kafka keeps a group's topic its oldest unread message has been waiting; lost at 1"
    );
    describe_counter!(
        KAFKA_ERRORS,
        "errors that a client of Kafka was told of; it tries again"
    );
    describe_counter!(KAFKA_STALLS, "readers of Kafka that stood still and began anew");
    describe_counter!(
        KAFKA_REBALANCED,
        "partitions that a group gave to this process or took from it"
    );
    describe_spill();
}

fn describe_spill() {
    describe_gauge!(
        SPILL_REQUESTS,
        "requests that lie in this process's spill because Kafka is away"
    );
    describe_gauge!(SPILL_BYTES, "bytes of the requests in this process's spill");
    describe_gauge!(
        SPILL_OLDEST,
        "the age of the oldest request in this process's spill"
    );
    describe_counter!(
        SPILLED,
        "requests that went into the spill; of those in doubt Kafka may have one too"
    );
    describe_counter!(SPILL_REFUSED, "requests that found no room in the spill");
    describe_counter!(
        DRAINED,
        "requests that were sent on from the spill, and acknowledged"
    );
}

/// A sync group was written.
pub fn flushed(frames: usize, bytes: usize) {
    counter!(GROUPS).increment(1);
    counter!(FRAMES).increment(frames as u64);
    counter!(WRITTEN_BYTES).increment(bytes as u64);
}

/// Bytes of all segments.
pub fn used(bytes: u64) {
    gauge!(SEGMENTS_BYTES).set(bytes as f64);
}

/// A segment was freed, after `messages` of it were appended again.
pub fn freed(messages: usize) {
    counter!(FREED_SEGMENTS).increment(1);
    counter!(KEPT_MESSAGES).increment(messages as u64);
}

/// Messages that were wanted, but not as much as the space they took.
pub fn given_up(messages: usize) {
    counter!(UNREAD_DROPPED).increment(messages as u64);
}

/// A new owner has so many messages of its journal still to read.
pub fn journal_unread((topic, partition): (&'static str, u32), messages: u64) {
    gauge!(JOURNAL_UNREAD, "topic" => topic, "partition" => partition.to_string()).set(messages as f64);
}

/// No segment could be written ahead.
pub fn short_of_space() {
    counter!(SHORT_OF_SPACE).increment(1);
}

/// What a client of Kafka reports now and then.
pub fn kafka_statistics(client: &'static str, statistics: &Statistics) {
    gauge!(KAFKA_WAITING_MESSAGES, "client" => client).set(statistics.msg_cnt as f64);
    gauge!(KAFKA_WAITING_BYTES, "client" => client).set(statistics.msg_size as f64);
    for (name, topic) in statistics
        .topics
        .iter()
        .filter(|(_, topic)| topic.batchcnt.cnt > 0)
    {
        gauge!(KAFKA_BATCH_BYTES, "topic" => name.clone()).set(topic.batchsize.avg as f64);
        gauge!(KAFKA_BATCH_MESSAGES, "topic" => name.clone()).set(topic.batchcnt.avg as f64);
    }
    for (name, topic) in &statistics.topics {
        let lag = topic
            .partitions
            .values()
            .map(|partition| partition.consumer_lag.max(0));
        let lag: i64 = lag.sum();
        if client == "reader" {
            gauge!(KAFKA_LAG, "topic" => name.clone()).set(lag as f64);
        }
    }
    let brokers = statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
    for broker in brokers {
        if let Some(answered) = broker.rtt.as_ref().filter(|rtt| rtt.cnt > 0) {
            let labels = [
                ("client", client.to_owned()),
                ("broker", broker.nodeid.to_string()),
            ];
            gauge!(KAFKA_ANSWER, &labels).set(answered.p99 as f64 / 1e6);
        }
    }
}

/// What lies in the spill, and how old the oldest of it is.
pub fn spill(standing: &Spilled, oldest: Duration) {
    gauge!(SPILL_REQUESTS).set(standing.requests as f64);
    gauge!(SPILL_BYTES).set(standing.bytes as f64);
    gauge!(SPILL_OLDEST).set(oldest.as_secs_f64());
}

/// Requests went into the spill: those that were never sent, and those that were not answered.
pub fn spilled(never_sent: usize, in_doubt: usize) {
    counter!(SPILLED, "in_doubt" => "no").increment(never_sent as u64);
    counter!(SPILLED, "in_doubt" => "yes").increment(in_doubt as u64);
}

/// Requests found no room in the spill.
pub fn spill_refused(requests: usize) {
    counter!(SPILL_REFUSED).increment(requests as u64);
}

/// Requests of the spill are in Kafka.
pub fn drained(requests: usize) {
    counter!(DRAINED).increment(requests as u64);
}

/// A client of Kafka was told of an error; it tries again by itself.
pub fn kafka_error(client: &'static str) {
    counter!(KAFKA_ERRORS, "client" => client).increment(1);
}

/// A reader stood still though there was something to read, and began anew.
pub fn kafka_stall() {
    counter!(KAFKA_STALLS).increment(1);
}

/// Partitions were gained or lost.
pub fn kafka_rebalanced(change: &'static str, partitions: usize) {
    counter!(KAFKA_REBALANCED, "change" => change).increment(partitions as u64);
}

/// How far a group is behind.
pub fn kafka_standing(standing: &Standing) {
    let group = || standing.group.clone();
    gauge!(KAFKA_UNREAD, "group" => group()).set(standing.waiting as f64);
    gauge!(KAFKA_UNREAD_AGE, "group" => group()).set(standing.oldest.as_secs_f64());
    gauge!(KAFKA_RETENTION_USED, "group" => group()).set(standing.used());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use parking_lot::Mutex;
    use rdkafka::statistics::{Broker, Partition, Topic, Window};

    use super::*;

    /// Gauges by name and labels.
    #[derive(Default)]
    struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

    struct Set(Arc<Mutex<BTreeMap<String, f64>>>, String);

    impl GaugeFn for Set {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            self.0.lock().insert(self.1.clone(), value);
        }
    }

    impl Recorder for Gauges {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let labels = key
                .labels()
                .map(|label| format!(" {}={}", label.key(), label.value()));
            let name = format!("{}{}", key.name(), labels.collect::<String>());
            Gauge::from_arc(Arc::new(Set(self.0.clone(), name)))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    /// What a client reports: two partitions read, one of them of nobody's interest, and two nodes, one never asked.
    fn report() -> Statistics {
        let partition = |consumer_lag| Partition {
            consumer_lag,
            ..Partition::default()
        };
        let topic = Topic {
            batchsize: Window {
                avg: 1000,
                ..Window::default()
            },
            batchcnt: Window {
                avg: 7,
                cnt: 3,
                ..Window::default()
            },
            partitions: [(0, partition(5)), (1, partition(-1)), (2, partition(8))].into(),
            ..Topic::default()
        };
        let node = |nodeid, cnt| Broker {
            nodeid,
            rtt: Some(Window {
                p99: 2500,
                cnt,
                ..Window::default()
            }),
            ..Broker::default()
        };
        Statistics {
            msg_cnt: 11,
            msg_size: 2200,
            topics: [("t.requests".to_owned(), topic)].into(),
            brokers: [
                ("a".to_owned(), node(1, 9)),
                ("b".to_owned(), node(2, 0)),
                ("c".to_owned(), node(-1, 9)),
            ]
            .into(),
            ..Statistics::default()
        }
    }

    fn check(client: &'static str, expected: &[(&str, f64)]) {
        let gauges = Gauges::default();
        metrics::with_local_recorder(&gauges, || kafka_statistics(client, &report()));
        let found = gauges.0.lock().clone();
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), *value));
        assert_eq!(found, expected.collect(), "{client}");
    }

    #[test]
    fn a_clients_report_becomes_metrics_and_only_a_readers_lag_counts() {
        let sent = [
            ("tidegate_broker_kafka_waiting_messages client=owners", 11.0),
            ("tidegate_broker_kafka_waiting_bytes client=owners", 2200.0),
            ("tidegate_broker_kafka_batch_bytes topic=t.requests", 1000.0),
            ("tidegate_broker_kafka_batch_messages topic=t.requests", 7.0),
            (
                "tidegate_broker_kafka_answer_p99_seconds client=owners broker=1",
                0.0025,
            ),
        ];
        check("owners", &sent);
        let read = sent.map(|(name, value)| (name.replace("owners", "reader"), value));
        let mut read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        read.push(("tidegate_broker_kafka_lag_messages topic=t.requests", 13.0));
        check("reader", &read);
    }
}
