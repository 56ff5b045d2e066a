//! The broker's metrics, counted per sync group or report of Kafka's client, never per message.
//! In: numbers. Out: counters and gauges of the process's recorder.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use rdkafka::statistics::Statistics;

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
const KAFKA_REBALANCED: &str = "tidegate_broker_kafka_rebalanced_partitions_total";

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
    describe_counter!(
        KAFKA_ERRORS,
        "errors that a client of Kafka was told of; it tries again"
    );
    describe_counter!(KAFKA_STALLS, "readers of Kafka that stood still and began anew");
    describe_counter!(
        KAFKA_REBALANCED,
        "partitions that a group gave to this process or took from it"
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
