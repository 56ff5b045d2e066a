//! One consumer without a group, polled by one thread: it reads the partitions it is told to, each into the [`Feed`] of
//! its reader, and pauses those whose reader is behind. The main queue alone is polled: split partition queues and
//! streams have lost wake-ups. In: what to read and from where. Out: messages in feeds. Commits nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate_schemas::Topic;

use super::client::{self, Told};
use super::config::Config;
use super::feed::{After, Feed};
use super::message::decode;
use super::topics::Names;
use crate::error::Error;
use crate::metrics;

/// How long one poll waits; an idle thread looks up so often.
const POLL: Duration = Duration::from_millis(100);
/// How often feeds are looked at for a stall.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl ConsumerContext for Told {}

/// Reads partitions into feeds.
pub struct Pump {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    consumer: BaseConsumer<Told>,
    names: Names,
    told: Told,
    feeds: Mutex<HashMap<(Topic, u32), Fed>>,
    stop: AtomicBool,
    stall: Duration,
}

struct Fed {
    feed: Arc<Feed>,
    /// Messages that had come when it was last seen to move, and when that was.
    moved: (u64, Instant),
}

impl Fed {
    /// Whether nothing has come for so long though the partition goes on to `end`; it is then counted anew.
    fn stands_still(&mut self, now: Instant, (end, stall): (u64, Duration)) -> bool {
        let (taken_in, next, paused) = self.feed.standing();
        let waits = paused || end <= next || taken_in != self.moved.0;
        let stands_still = !waits && now.duration_since(self.moved.1) >= stall;
        if waits || stands_still {
            self.moved = (taken_in, now);
        }
        stands_still
    }
}

impl Pump {
    pub fn start(config: &Config, names: Names, told: Told) -> Result<Self, Error> {
        let consumer = client::reader(config)
            .create_with_context(told.clone())
            .map_err(|error| Error::kafka("make a reader (broker.kafka)", &error))?;
        let shared = Arc::new(Shared {
            consumer,
            names,
            told,
            feeds: Mutex::default(),
            stop: AtomicBool::new(false),
            stall: Duration::from_millis(config.stall_ms),
        });
        let polled = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || polled.run())
            .map_err(Error::io("start a thread that reads Kafka"))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The consumer, for questions; its thread serves what it logs.
    pub fn consumer(&self) -> &BaseConsumer<Told> {
        &self.shared.consumer
    }

    /// Begins to read a partition into `feed`, unless this pump reads it for somebody else already.
    pub fn attach(&self, place: (Topic, u32), from: u64, feed: &Arc<Feed>) -> Result<bool, Error> {
        let mut feeds = self.shared.feeds.lock();
        if feeds.contains_key(&place) {
            return Ok(false);
        }
        self.shared.assign(place, from)?;
        let fed = Fed {
            feed: feed.clone(),
            moved: (0, Instant::now()),
        };
        feeds.insert(place, fed);
        Ok(true)
    }

    /// Stops reading a partition.
    pub fn detach(&self, place: (Topic, u32)) {
        let mut feeds = self.shared.feeds.lock();
        feeds.remove(&place);
        self.shared.unassign(place);
    }

    /// Goes on reading a partition that was paused, unless it has been paused again since.
    pub fn resume(&self, place: (Topic, u32)) {
        // The lock under which it is paused: a pause of before must not come after this.
        let feeds = self.shared.feeds.lock();
        let is_paused = |fed: &Fed| fed.feed.standing().2;
        if feeds.get(&place).is_some_and(|fed| !is_paused(fed)) {
            self.shared.resume(place);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads Kafka panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut looked = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            match self.consumer.poll(POLL) {
                None => {}
                Some(Ok(read)) => self.take(&read),
                Some(Err(error)) => self.note(&error),
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look_after_stalls(looked);
            }
        }
    }

    fn take(&self, read: &BorrowedMessage<'_>) {
        let topic = self.names.topic(read.topic());
        let Some(message) = topic.and_then(|topic| decode(topic, read)) else {
            return tracing::error!(topic = read.topic(), "a message came that nobody asked for");
        };
        let place = (message.topic, message.partition);
        self.told.ends.reached(place.0, place.1, message.offset);
        let feeds = self.feeds.lock();
        // What was read ahead for a reader that has gone is dropped.
        let Some(fed) = feeds.get(&place) else { return };
        match fed.feed.put(message) {
            After::Nothing => {}
            After::Pause => self.pause(place),
            After::BeginAnew => self.begin_anew(place, fed),
        }
    }

    /// Errors of a consumer pass: librdkafka tries again by itself, and a stall that stays is seen below.
    fn note(&self, error: &KafkaError) {
        metrics::kafka_error(self.told.client);
        tracing::debug!(%error, "a reader of Kafka was told of an error");
    }

    /// Begins anew where nothing comes though there is something.
    fn look_after_stalls(&self, now: Instant) {
        let mut feeds = self.feeds.lock();
        for (place, fed) in &mut *feeds {
            let end = self.told.ends.get(place.0, place.1).end;
            if !fed.stands_still(now, (end, self.stall)) {
                continue;
            }
            let (_, next, _) = fed.feed.standing();
            metrics::kafka_stall();
            tracing::warn!(topic = %place.0, partition = place.1, next, "a reader stood still and begins anew");
            self.begin_anew(*place, fed);
        }
    }

    /// Reads a partition from the next offset of its feed again. On the thread that polls: no message is on its way.
    fn begin_anew(&self, place: (Topic, u32), fed: &Fed) {
        let (_, next, paused) = fed.feed.standing();
        self.unassign(place);
        if let Err(error) = self.assign(place, next) {
            tracing::warn!(%error, "a reader cannot begin anew yet");
        } else if paused {
            self.pause(place);
        }
    }

    fn assign(&self, place: (Topic, u32), from: u64) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        let partition = i32::try_from(place.1).unwrap_or(i32::MAX);
        list.add_partition_offset(self.names.of(place.0), partition, offset)
            .and_then(|()| self.consumer.incremental_assign(&list))
            .map_err(|error| Error::kafka(format!("read {} partition {}", place.0, place.1), &error))?;
        // A partition that was paused when it was last given up would stay so.
        self.resume(place);
        Ok(())
    }

    fn pause(&self, place: (Topic, u32)) {
        if let Err(error) = self.consumer.pause(&self.list(place)) {
            tracing::warn!(%error, "a partition whose reader is behind is not paused");
        }
    }

    fn resume(&self, place: (Topic, u32)) {
        if let Err(error) = self.consumer.resume(&self.list(place)) {
            tracing::warn!(%error, "a partition that was paused is not read on");
        }
    }

    fn unassign(&self, place: (Topic, u32)) {
        if let Err(error) = self.consumer.incremental_unassign(&self.list(place)) {
            tracing::warn!(%error, "a partition is still read though nobody asks for it");
        }
    }

    fn list(&self, (topic, partition): (Topic, u32)) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(self.names.of(topic), i32::try_from(partition).unwrap_or(i32::MAX));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::tests::message;
    use super::*;

    #[test]
    fn a_reader_stands_still_only_where_there_is_more_and_nobody_is_behind() {
        const STALL: Duration = Duration::from_secs(30);
        let (began, feed) = (Instant::now(), Arc::new(Feed::new(0, 100)));
        let mut fed = Fed {
            feed: feed.clone(),
            moved: (0, began),
        };
        let mut check = |seconds: u64, end: u64, expected: bool| {
            let now = began + Duration::from_secs(seconds);
            assert_eq!(fed.stands_still(now, (end, STALL)), expected, "after {seconds} s");
        };
        check(100, 0, false); // There is nothing to read.
        check(129, 1, false); // There is, for 29 s.
        check(130, 1, true);
        check(159, 1, false); // It began anew at 130.
        feed.put(message(0, 1));
        check(165, 2, false); // Something came.
        check(194, 2, false);
        check(195, 2, true);
        feed.put(message(1, 200));
        check(240, 3, false); // Something came,
        check(300, 3, false); // and its reader is behind: the partition is paused.
    }
}
