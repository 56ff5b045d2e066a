//! Reading a topic from its beginning to where it ended when the reading began, for commands that only look: in no group,
//! committing nothing, making nothing. In: how the cluster is reached, a topic. Out: its messages, each partition's in
//! order. Blocks until all are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::Topic;

use super::client::{self, Told};
use super::config::Config;
use super::ends::Ends;
use super::message::decode;
use super::topics::Names;
use super::trouble::Trouble;
use crate::error::Error;
use crate::message::Message;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Hands every message of `topic` to `take`.
///
/// # Errors
/// [`Error::Config`] when the configuration cannot work; [`Error::Kafka`] when the cluster does not answer, has no such
/// topic, or stops answering before the end.
pub fn browse(config: &Config, topic: Topic, take: impl FnMut(Message)) -> Result<(), Error> {
    config.check()?;
    let names = Names::new(&config.prefix);
    let trouble = Arc::new(Trouble::default());
    let told = Told {
        client: "browser",
        ends: Arc::new(Ends::new(names.clone(), &config.partitions)),
        trouble: trouble.clone(),
    };
    let name = names.of(topic);
    read(config, told, (topic, name, take)).map_err(|failed| {
        let why = failed.to_string();
        let why = trouble
            .last()
            .map_or(why.clone(), |(trouble, _)| format!("{why} ({trouble})"));
        Error::kafka(format!("read {name}"), &why)
    })
}

/// Why a topic is not read to its end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("the cluster stopped answering before the end")]
    Silent,
}

fn read(
    config: &Config,
    told: Told,
    (topic, name, mut take): (Topic, &str, impl FnMut(Message)),
) -> Result<(), Failed> {
    let mut settings = client::reader(config);
    // Where a partition ends in a mark of a transaction, no message says that its end is reached.
    settings
        .set("enable.partition.eof", "true")
        .set("statistics.interval.ms", "0");
    let consumer: BaseConsumer<Told> = settings.create_with_context(told)?;
    let mut rest = ends(&consumer, name, config)?;
    if rest.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    for partition in rest.keys() {
        list.add_partition_offset(name, *partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut read_at = Instant::now();
    while !rest.is_empty() {
        let is_late = read_at.elapsed() > config.question_timeout();
        match consumer.poll(POLL) {
            None if is_late => return Err(Failed::Silent),
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(rest.remove(&partition)),
            Some(Err(error)) if is_late => return Err(error.into()),
            // It is tried again by itself.
            Some(Err(error)) => tracing::debug!(%error, "a topic is browsed"),
            Some(Ok(message)) => {
                read_at = Instant::now();
                let (partition, offset) = (message.partition(), message.offset());
                let end = rest.get(&partition).copied().unwrap_or_default();
                if offset < end
                    && let Some(message) = decode(topic, &message)
                {
                    take(message);
                }
                if offset + 1 >= end {
                    rest.remove(&partition);
                }
            }
        }
    }
    Ok(())
}

/// Where the partitions end that hold anything.
fn ends(
    consumer: &BaseConsumer<Told>,
    name: &str,
    config: &Config,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let timeout = config.question_timeout();
    let metadata = consumer.fetch_metadata(Some(name), timeout)?;
    let mut ends = BTreeMap::new();
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    if let Some(error) = topic.and_then(|topic| topic.error()) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    for partition in topic.into_iter().flat_map(|topic| topic.partitions()) {
        let (first, end) = consumer.fetch_watermarks(name, partition.id(), timeout)?;
        if first < end {
            ends.insert(partition.id(), end);
        }
    }
    Ok(ends)
}
