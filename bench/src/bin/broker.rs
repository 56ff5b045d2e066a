//! What an append costs: CPU time of the whole process per append of 2 KB, by two single-threaded runtimes with many
//! concurrent appends each, on a real disk. Beside it stands the floor: the same bytes written over a file that was
//! written before, and synced, a group at a time. Prints; asserts nothing.
//!
//! Run: `cargo run --release -p tidegate-bench --bin broker -- DIRECTORY [APPENDS] [TASKS]`.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_broker::embedded::Config;
use tidegate_broker::{Broker, Record};
use tidegate_schemas::Topic;
// Its allocator.
use tidegate_bench as _;

const RUNTIMES: u64 = 2;
/// Bytes of an append's frame.
const FRAME_BYTES: usize = 2112;
/// Appends in a sync group of the floor.
const GROUP: u64 = 128;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .expect("the first argument is a directory on the disk to measure");
    let mut number = |default: u64| {
        arguments
            .next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (appends, tasks) = (number(1_000_000), number(128));
    let floor = floor(directory.as_ref(), appends) / appends as f64;
    println!("floor: {floor:.2} µs CPU each to write and sync {FRAME_BYTES} bytes, {GROUP} at a time");
    let main = runtime();
    let config = Config {
        disk_bytes_max: 200 << 30,
        ..Config::default()
    };
    let broker = main
        .block_on(Broker::open(&config, directory.as_ref()))
        .expect("the log opens");
    let (cpu, began) = (cpu_time(), Instant::now());
    let threads: Vec<_> = (0..RUNTIMES)
        .map(|number| {
            let broker = broker.clone();
            std::thread::spawn(move || append(&broker, number, (appends / RUNTIMES, tasks)))
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("the appends succeed"));
    let (cpu, took) = (cpu_time() - cpu, began.elapsed());
    let each = cpu.as_secs_f64() * 1e6 / appends as f64;
    let rate = appends as f64 / took.as_secs_f64();
    println!(
        "{appends} appends of 2 KB, {} concurrent: {each:.2} µs CPU each, {rate:.0} a second",
        tasks * RUNTIMES
    );
    main.block_on(broker.close()).expect("the log closes");
}

/// CPU time in µs of writing `appends` frames twice, first ahead of use and then with their syncs.
fn floor(directory: &std::path::Path, appends: u64) -> f64 {
    std::fs::create_dir_all(directory).expect("the directory can be made");
    let path = directory.join("floor");
    let file = std::fs::File::create(&path).expect("the disk can be written");
    let group = vec![b'f'; FRAME_BYTES * GROUP as usize];
    let began = cpu_time();
    for sync in [false, true] {
        for number in 0..appends / GROUP {
            file.write_all_at(&group, number * group.len() as u64)
                .expect("the disk has room");
            if sync {
                file.sync_data().expect("the disk works");
            }
        }
    }
    let cpu = cpu_time() - began;
    std::fs::remove_file(&path).expect("it was made above");
    cpu.as_secs_f64() * 1e6
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
}

fn append(broker: &Broker, number: u64, (appends, tasks): (u64, u64)) {
    let value = Bytes::from(vec![b'v'; 1800]);
    runtime().block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (broker, value) = (broker.clone(), value.clone());
            running.spawn(async move {
                for _ in 0..appends / tasks {
                    let record = Record {
                        topic: Topic::Requests,
                        partition: ((number * tasks + task) % 32) as u32,
                        key: Bytes::from_static(b"integration"),
                        meta: Bytes::from_static(&[b'm'; 200]),
                        value: value.clone(),
                    };
                    broker.append(vec![record]).await.expect("the disk has room");
                }
            });
        }
        while running.join_next().await.is_some() {}
    });
}

/// User and system time of the process so far, from `/proc/self/stat` in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
        .sum();
    Duration::from_millis(ticks * 10)
}
