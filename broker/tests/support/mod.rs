//! What the broker's tests share: a log small enough to fill, and records to fill it with.
//! Starts nothing.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod numbers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_broker::embedded::{Config, Host, PartitionCounts};
use tidegate_broker::{Broker, Error, Record};
use tidegate_schemas::{Topic, UnixMillis};

/// A log of 64 KiB segments.
pub fn small_config() -> Config {
    Config {
        segment_bytes: 64 * 1024,
        disk_bytes_max: 64 * 1024 * 1024,
        group_bytes_max: 256 * 1024,
        group_wait_max_ms: 0,
        idle_wait_max_ms: 1,
        tail_bytes_max: 16 * 1024,
        body_message_bytes_max: 16 * 1024,
        rows_message_bytes_max: 16 * 1024,
        retention_interval_s: 1,
        partitions: PartitionCounts {
            requests: 2,
            events: 2,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        ..Config::default()
    }
}

/// A record of any topic.
pub fn record(topic: Topic, partition: u32, text: &str) -> Record {
    Record {
        topic,
        partition,
        key: Bytes::from_static(b"key"),
        meta: Bytes::from_static(b"{\"v\":1}"),
        value: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A request.
pub fn request(partition: u32, text: &str) -> Record {
    record(Topic::Requests, partition, text)
}

/// A batch of outcome rows.
pub fn outcome(text: &str) -> Record {
    record(Topic::Outcomes, 0, text)
}

/// The smallest log that still rotates: 8 KiB segments.
pub fn tiny_config() -> Config {
    Config {
        segment_bytes: 8 * 1024,
        group_bytes_max: 64 * 1024,
        tail_bytes_max: 1024,
        body_message_bytes_max: 1024,
        rows_message_bytes_max: 1024,
        ..small_config()
    }
}

/// A clock that a test moves.
#[derive(Clone, Default)]
pub struct Clock {
    millis: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that stands at some day.
    pub fn new() -> Clock {
        Clock {
            millis: Arc::new(AtomicU64::new(1_700_000_000_000)),
        }
    }

    /// Days since it was made.
    pub fn day(&self) -> u64 {
        (self.millis.load(Ordering::SeqCst) - 1_700_000_000_000) / 86_400_000
    }

    /// Moves it.
    pub fn advance_hours(&self, hours: u64) {
        self.millis.fetch_add(hours * 3_600_000, Ordering::SeqCst);
    }
}

/// A host on a disk in memory; a disk error is counted instead of ending the process.
pub fn host(disk: &SimDisk, clock: &Clock) -> (Host, Arc<AtomicU64>) {
    let fatal = Arc::new(AtomicU64::new(0));
    let (count, millis) = (Arc::clone(&fatal), Arc::clone(&clock.millis));
    let host = Host {
        disk: Arc::new(disk.clone()),
        fatal: Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }),
        now: Arc::new(move || UnixMillis(millis.load(Ordering::SeqCst))),
    };
    (host, fatal)
}

/// Opens a log on a disk in memory.
pub async fn open_sim(config: &Config, disk: &SimDisk) -> Result<Broker, Error> {
    Broker::open_on(config, host(disk, &Clock::new()).0).await
}

/// Everything in a partition, offset and text, in order.
pub async fn read_all(broker: &Broker, topic: Topic, partition: u32) -> Result<Vec<(u64, String)>, Error> {
    let end = broker.offsets(topic, partition).end;
    let mut reader = broker.reader(topic, partition, 0);
    let mut all = Vec::new();
    while !broker.offsets(topic, partition).is_empty() && all.last().is_none_or(|(last, _)| last + 1 < end) {
        for message in reader.next(10, 4096).await? {
            all.push((message.offset, String::from_utf8(message.value.to_vec()).unwrap()));
        }
    }
    Ok(all)
}

/// Waits until `done` holds; panics with `what` after a minute.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("waited a minute in vain until {what}");
}

/// Numbers from a seed (xorshift64*).
pub struct Chance(u64);

impl Chance {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// One of `0..count`.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % count
    }
}
