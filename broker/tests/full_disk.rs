//! A full disk, and a failing one: appends are refused with a clear error, nothing acknowledged is lost, and it goes on
//! by itself when space returns; a failed sync or write ends the process. Shown on the disk in memory, and on a small
//! filesystem of the operating system.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use support::{Clock, host, open_sim, request, tiny_config};
use tidegate_broker::embedded::Config;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_broker::{AppendError, Broker};
use tidegate_schemas::Topic;

/// Appends until it is refused; returns how many were acknowledged.
async fn fill(broker: &Broker) -> u64 {
    for number in 0..100_000 {
        match broker.append(vec![request(0, &text(number))]).await {
            Ok(offsets) => assert_eq!(offsets, [number]),
            Err(AppendError::Full { .. }) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never filled");
}

fn text(number: u64) -> String {
    format!("{number} {}", "d".repeat(600))
}

async fn check_all(broker: &Broker, acknowledged: u64) {
    let all = support::read_all(broker, Topic::Requests, 0).await.unwrap();
    let expected: Vec<_> = (0..acknowledged).map(|number| (number, text(number))).collect();
    assert!(
        all == expected,
        "{} of {acknowledged} messages are there",
        all.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on_when_space_returns() {
    let disk = SimDisk::new();
    let broker = open_sim(&tiny_config(), &disk).await.unwrap();
    disk.limit_room(Some(60 * 1024));
    let acknowledged = fill(&broker).await;
    assert!(acknowledged > 40 && !broker.has_space());
    check_all(&broker, acknowledged).await;
    // A start on the full disk finds everything too.
    let killed = disk.killed();
    let reopened = open_sim(&tiny_config(), &killed).await.unwrap();
    check_all(&reopened, acknowledged).await;
    disk.limit_room(None);
    support::until("space is found", || broker.has_space()).await;
    broker
        .append(vec![request(0, &text(acknowledged))])
        .await
        .unwrap();
    check_all(&broker, acknowledged + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_or_write_ends_the_process_and_acknowledges_nothing() {
    for fail in [SimDisk::fail_syncs as fn(&SimDisk, bool), SimDisk::fail_writes] {
        let (disk, clock) = (SimDisk::new(), Clock::new());
        let (host, fatal) = host(&disk, &clock);
        let broker = Broker::open_on(&tiny_config(), host).await.unwrap();
        broker.append(vec![request(0, &text(0))]).await.unwrap();
        fail(&disk, true);
        let refused = broker.append(vec![request(0, &text(1))]).await;
        assert_eq!(refused, Err(AppendError::Closed));
        support::until("the end is called for", || fatal.load(Ordering::SeqCst) == 1).await;
        // The disk works again, but what it lost in between nobody knows.
        fail(&disk, false);
        assert_eq!(
            broker.append(vec![request(0, &text(1))]).await,
            Err(AppendError::Closed)
        );
        assert!(!broker.has_space());
        drop(broker);
        let reopened = open_sim(&tiny_config(), &disk.killed()).await.unwrap();
        let all = support::read_all(&reopened, Topic::Requests, 0).await.unwrap();
        assert!(all.first() == Some(&(0, text(0))) && all.len() <= 2);
    }
}

/// A filesystem of its own, taken down with the test.
struct SmallFilesystem(tempfile::TempDir);

impl SmallFilesystem {
    fn mount(bytes: u64) -> SmallFilesystem {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tidegate-test"])
            .arg(directory.path());
        let mounted = mount.output().expect("mount can be run: apt-get install mount");
        assert!(
            mounted.status.success(),
            "this test mounts a small tmpfs and needs root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        SmallFilesystem(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallFilesystem {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "cannot unmount {}",
            self.0.path().display()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_filesystem_refuses_and_goes_on_when_space_returns() {
    let filesystem = SmallFilesystem::mount(2 * 1024 * 1024);
    let ballast = filesystem.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let config = Config {
        segment_bytes: 128 * 1024,
        ..tiny_config()
    };
    let log = filesystem.path().join("log");
    let broker = Broker::open(&config, &log).await.unwrap();
    let acknowledged = fill(&broker).await;
    assert!(acknowledged > 100 && !broker.has_space());
    check_all(&broker, acknowledged).await;
    std::fs::remove_file(&ballast).unwrap();
    support::until("space is found", || broker.has_space()).await;
    broker
        .append(vec![request(0, &text(acknowledged))])
        .await
        .unwrap();
    check_all(&broker, acknowledged + 1).await;
    broker.close().await.unwrap();
    let broker = Broker::open(&config, &log).await.unwrap();
    check_all(&broker, acknowledged + 1).await;
    broker.close().await.unwrap();
}
