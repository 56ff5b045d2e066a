//! What the spill needs of Kafka, and Kafka itself. In: records of `requests`. Out: whether they are in the topic, and
//! whether a partition can be written at all. Tests put a Kafka in memory in its place.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::Topic;

use super::super::producer::Producer;
use super::super::pump::Pump;
use super::super::topics::Names;
use crate::error::AppendError;
use crate::message::Record;

/// Where requests go.
pub trait Outlet: Send + Sync + 'static {
    /// Appends records, in order within each partition and behind earlier calls.
    fn send(&self, batch: &[Record]) -> impl Future<Output = Result<Vec<u64>, AppendError>> + Send;

    /// Gives up everything under way: each call that waits ends at once, unanswered.
    fn purge(&self);

    /// Whether the leader of a partition answers. Asks, and changes nothing: what is sent to somebody who does not answer
    /// may come twice.
    fn answers(&self, partition: u32) -> impl Future<Output = bool> + Send;
}

/// The real Kafka.
pub struct Wire {
    pub producer: Arc<Producer>,
    pub asker: Arc<Pump>,
    pub names: Names,
    /// How long a question may take.
    pub patience: Duration,
}

impl Outlet for Wire {
    async fn send(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        self.producer.append(batch).await
    }

    fn purge(&self) {
        self.producer.purge();
    }

    async fn answers(&self, partition: u32) -> bool {
        let (asker, patience) = (self.asker.clone(), self.patience);
        let mut list = TopicPartitionList::with_capacity(1);
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let named = list.add_partition_offset(self.names.of(Topic::Requests), partition, Offset::End);
        let asked = tokio::task::spawn_blocking(move || {
            named?;
            let answer = asker.consumer().offsets_for_times(list, patience)?;
            answer.elements().iter().try_for_each(|element| element.error())
        });
        matches!(asked.await, Ok(Ok(())))
    }
}
