//! A member of a group, as its client calls it on the thread that polls: what is given to this process, and what is taken
//! away once its owners have ended. In: rebalances, and that owners have ended. Out: changes for the role, one message
//! each. It must never wait longer than owners may take: the group waits for every member.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::client::Told;
use crate::assignments::Assignment;
use crate::metrics;

/// How much longer than its owners may take a revoke waits: they are dropped on other threads.
const DROPPED_WITHIN: Duration = Duration::from_secs(2);

/// The owners that run in this process, by partition.
#[derive(Default)]
pub struct Held {
    owners: Mutex<HashMap<u32, usize>>,
    released: Condvar,
}

impl Held {
    pub fn gain(&self, partition: u32) {
        *self.owners.lock().entry(partition).or_default() += 1;
    }

    pub fn release(&self, partition: u32) {
        let mut owners = self.owners.lock();
        if let Some(count) = owners.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                owners.remove(&partition);
            }
        }
        self.released.notify_all();
    }

    pub fn release_all(&self) {
        self.owners.lock().clear();
        self.released.notify_all();
    }

    /// Waits until no owner of these partitions runs any more; `false` when that takes longer than `timeout`.
    fn wait_for(&self, partitions: &[u32], timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut owners = self.owners.lock();
        while partitions.iter().any(|partition| owners.contains_key(partition)) {
            if self.released.wait_until(&mut owners, until).timed_out() {
                return false;
            }
        }
        true
    }
}

/// Hears of rebalances on the thread that polls.
#[derive(Clone)]
pub struct Member {
    pub told: Told,
    /// The group's whole name.
    pub group: Arc<str>,
    pub held: Arc<Held>,
    pub changes: mpsc::Sender<Assignment>,
    /// How long an owner may go on that has lost its partition.
    pub grace: Duration,
    /// What the group has given to this process.
    pub assigned: Arc<Mutex<BTreeSet<u32>>>,
    /// Of one client alone: whether another has taken its place.
    pub former: Arc<AtomicBool>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.told.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.told.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.told.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        change: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let changed = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.gain(consumer, list),
            _ => self.give_up(consumer, list),
        };
        if let Err(error) = changed {
            tracing::error!(group = &*self.group, %error, "a member could not take a change of its group in");
        }
    }
}

impl Member {
    /// The same for another client.
    pub fn anew(&self) -> Member {
        Member {
            former: Arc::default(),
            ..self.clone()
        }
    }

    /// Another client takes this one's place: everything is lost, and what this one hears while it closes is no news.
    pub fn retire(&self) {
        self.former.store(true, Ordering::Release);
        let all: Vec<u32> = self.assigned.lock().iter().copied().collect();
        self.lose(&all);
    }

    fn is_former(&self) -> bool {
        self.former.load(Ordering::Acquire)
    }

    /// These are ours from now on.
    fn gain(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        // Nothing is read here. Without a place to begin the client would ask the coordinator for committed offsets, and one
        // that is told just then that the coordinator has moved waits for them for ever (librdkafka #5586).
        list.set_all_offsets(Offset::End)?;
        consumer.incremental_assign(list)?;
        if let Err(error) = consumer.pause(list) {
            tracing::warn!(group = &*self.group, %error, "a member of a group reads what nobody takes");
        }
        if self.is_former() {
            return Ok(());
        }
        let partitions = partitions(list);
        metrics::kafka_rebalanced("gained", partitions.len());
        for partition in partitions {
            self.assigned.lock().insert(partition);
            self.held.gain(partition);
            self.tell(Assignment::Gained(partition));
        }
        Ok(())
    }

    /// These are somebody else's once their owners have ended, or have had time enough.
    fn give_up(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let partitions = partitions(list);
        if !self.is_former() {
            self.lose(&partitions);
            // Partitions that were lost belong to others already, whose journals' epochs keep ours out.
            if !consumer.assignment_lost() && !self.held.wait_for(&partitions, self.grace + DROPPED_WITHIN) {
                tracing::warn!(
                    group = &*self.group,
                    ?partitions,
                    "owners did not end in time (broker.kafka.release_timeout_ms); others take their partitions over"
                );
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            // It has not joined yet.
            _ => consumer.unassign(),
        }
    }

    /// These are somebody else's now; what is not ours is not told again.
    fn lose(&self, partitions: &[u32]) {
        let ours: Vec<u32> = {
            let mut assigned = self.assigned.lock();
            let ours = partitions.iter().filter(|partition| assigned.remove(partition));
            ours.copied().collect()
        };
        metrics::kafka_rebalanced("lost", ours.len());
        ours.iter()
            .for_each(|partition| self.tell(Assignment::Lost(*partition)));
    }

    fn tell(&self, change: Assignment) {
        // Nobody listens any more when the role has ended: then nothing is owned either.
        let _ = self.changes.blocking_send(change);
    }
}

/// The partitions of a list of the client's.
pub fn partitions(list: &TopicPartitionList) -> Vec<u32> {
    let elements = list.elements();
    let partitions = elements.iter().map(|element| u32::try_from(element.partition()));
    partitions.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoke_waits_for_all_owners_of_a_partition_and_no_longer_than_it_may() {
        let held = Arc::new(Held::default());
        held.gain(1);
        held.gain(1);
        assert!(held.wait_for(&[2], Duration::ZERO), "nobody owns it");
        held.release(1);
        assert!(!held.wait_for(&[1], Duration::ZERO), "a former owner still runs");
        let releasing = held.clone();
        let thread = std::thread::spawn(move || releasing.release(1));
        assert!(held.wait_for(&[1], Duration::from_secs(60)));
        thread.join().expect("it only releases");
    }
}
