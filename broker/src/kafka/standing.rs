//! How far groups are behind, and how much of the time that Kafka keeps their topics is used up by that. In: groups and
//! their topics. Out: for each how much waits, and since when. Asks as nobody's member: no partition moves.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use tidegate_schemas::{Pointer, Topic, UnixMillis};

use super::client::{self, Told};
use super::cluster::Cluster;
use super::topics;
use crate::error::Error;
use crate::metrics;

/// A group, and how far behind it is in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The group, without the prefix.
    pub group: String,
    /// Its topic.
    pub topic: Topic,
    /// Messages that it has not reached.
    pub waiting: u64,
    /// Messages that Kafka has deleted before the group reached them.
    pub lost: u64,
    /// How long the oldest message has been waiting.
    pub oldest: Duration,
    /// How long the topic is kept; `None` without limit.
    pub kept: Option<Duration>,
}

impl Standing {
    /// How much of the time that the topic is kept the oldest message has been waiting: 1 and it is deleted.
    #[must_use]
    pub fn used(&self) -> f64 {
        self.kept.map_or(0.0, |kept| {
            self.oldest.as_secs_f64() / kept.as_secs_f64().max(1.0)
        })
    }
}

/// How each of these groups stands; one that has never reached anything is passed over.
pub async fn standings(cluster: &Arc<Cluster>, groups: &[(Topic, &str)]) -> Result<Vec<Standing>, Error> {
    let kept = topics::kept(cluster).await?;
    let mut standings = Vec::new();
    for (topic, group) in groups {
        let Some(committed) = committed(cluster, *topic, group).await? else {
            continue;
        };
        let there = cluster.latest(*topic).await?;
        let (mut waiting, mut lost, mut first) = (0, 0, Vec::new());
        for (partition, offset) in committed {
            let Some(range) = there.get(partition as usize) else {
                continue;
            };
            lost += range.start.saturating_sub(offset);
            let offset = offset.max(range.start);
            if offset < range.end {
                waiting += range.end - offset;
                first.push(Pointer { partition, offset });
            }
        }
        let read = cluster.read(*topic, &first).await?;
        let oldest = read.iter().flatten().map(|message| message.timestamp).min();
        let now = UnixMillis::from(std::time::SystemTime::now());
        let standing = Standing {
            group: (*group).to_owned(),
            topic: *topic,
            waiting,
            lost,
            oldest: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            kept: kept
                .iter()
                .find(|(at, _)| at == topic)
                .and_then(|(_, kept)| *kept),
        };
        metrics::kafka_standing(&standing);
        standings.push(standing);
    }
    Ok(standings)
}

/// The offsets that a group has committed, by partition; `None` when it has committed nothing yet.
async fn committed(
    cluster: &Arc<Cluster>,
    topic: Topic,
    group: &str,
) -> Result<Option<Vec<(u32, u64)>>, Error> {
    let (config, name) = (&cluster.config, cluster.name(topic).to_owned());
    let failed = |error: KafkaError| Error::kafka(format!("ask how far the group {group} is"), &error);
    let mut settings = client::reader(config);
    settings
        .set("group.id", format!("{}{group}", config.prefix))
        // Nobody polls this client, so that its reports would only pile up.
        .set("statistics.interval.ms", "0");
    let asker: BaseConsumer<Told> = settings
        .create_with_context(cluster.told("asker"))
        .map_err(failed)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..config.partitions_of(topic) {
        list.add_partition(&name, i32::try_from(partition).unwrap_or(i32::MAX));
    }
    let timeout = config.question_timeout();
    let asked = tokio::task::spawn_blocking(move || asker.committed_offsets(list, timeout)).await;
    let answer = asked.map_err(|_| Error::Closed)?.map_err(failed)?;
    let mut committed = Vec::new();
    for element in answer.elements() {
        element.error().map_err(failed)?;
        let offset = element.offset().to_raw().map(u64::try_from);
        if let (Ok(partition), Some(Ok(offset))) = (u32::try_from(element.partition()), offset) {
            committed.push((partition, offset));
        }
    }
    Ok((!committed.is_empty()).then_some(committed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_uses_up_the_time_that_its_topic_is_kept() {
        let check = |oldest, kept: Option<u64>, used: f64| {
            let standing = Standing {
                group: "g".to_owned(),
                topic: Topic::Requests,
                waiting: 1,
                lost: 0,
                oldest: Duration::from_secs(oldest),
                kept: kept.map(Duration::from_secs),
            };
            assert!((standing.used() - used).abs() < 1e-9, "{standing:?}");
        };
        check(0, Some(100), 0.0);
        check(50, Some(100), 0.5);
        check(50, None, 0.0);
        check(50, Some(0), 50.0);
    }
}
