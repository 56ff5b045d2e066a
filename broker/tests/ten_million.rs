//! Ten million messages, opened after a clean stop: less than a hundredth of the bytes is read and at most 64 MiB are
//! held, both counted; and any of them is one read of the log away.
//!
//! A second process of this test binary opens the log, so that what it holds is its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use support::record;
use tidegate_broker::Broker;
use tidegate_broker::embedded::disk::{Disk, OsDisk};
use tidegate_broker::embedded::{Config, Durability, Host};
use tidegate_schemas::{Pointer, Topic};

const MESSAGES: u64 = 10_000_000;
const BATCH: u64 = 10_000;
const PARTITIONS: u32 = 8;
const HELD_BYTES_MAX: u64 = 64 * 1024 * 1024;
const DIRECTORY: &str = "TIDEGATE_TEST_TEN_MILLION_DIRECTORY";

fn config() -> Config {
    // The time is for opening, not for writing: nothing here tests the sync.
    Config {
        durability: Durability::Os,
        tail_bytes_max: 1024 * 1024,
        ..Config::default()
    }
}

#[test]
fn opening_reads_under_a_hundredth_of_the_bytes_and_holds_at_most_64_mib() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return runtime.block_on(open_and_count(directory.as_ref()));
    }
    let directory = tempfile::tempdir().unwrap();
    runtime.block_on(write(directory.path()));
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "opening_reads_under_a_hundredth_of_the_bytes_and_holds_at_most_64_mib",
            "--nocapture",
        ])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

async fn write(directory: &Path) {
    let broker = Broker::open(&config(), directory).await.unwrap();
    let mut number = 0;
    while number < MESSAGES {
        let batch = (0..BATCH)
            .map(|at| record(Topic::Events, (at % u64::from(PARTITIONS)) as u32, "m"))
            .collect();
        broker.append(batch).await.unwrap();
        number += BATCH;
    }
    broker.close().await.unwrap();
}

async fn open_and_count(directory: &Path) {
    let bytes: u64 = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(directory));
    let held_before = held_bytes();
    let broker = Broker::open_on(&config(), Host::new(Arc::clone(&disk)))
        .await
        .unwrap();
    let (read, held) = (
        disk.counters().read_bytes.load(Relaxed),
        held_bytes().saturating_sub(held_before),
    );
    println!("{bytes} bytes on disk, {read} read and {held} held to open {MESSAGES} messages");
    assert!(read * 100 < bytes, "{read} of {bytes} bytes were read");
    assert!(held <= HELD_BYTES_MAX, "{held} bytes are held");
    let each = MESSAGES / u64::from(PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(broker.offsets(Topic::Events, partition), 0..each);
    }
    let reads = disk.counters().reads.load(Relaxed);
    let pointers = [0, 1, 777_777, each - 1].map(|offset| Pointer { partition: 3, offset });
    let found = broker.read(Topic::Events, &pointers).await.unwrap();
    assert!(
        found
            .iter()
            .zip(pointers)
            .all(|(found, pointer)| found.as_ref().unwrap().pointer() == pointer)
    );
    // One read of an index and at most one of the log for each.
    assert!(disk.counters().reads.load(Relaxed) - reads <= 2 * pointers.len() as u64);
}

/// The most memory that this process ever had resident.
fn held_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}
