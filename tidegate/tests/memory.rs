//! Freed memory goes back to the kernel while no thread frees anything, and the place of mimalloc's option is still the
//! one that is set. Runs alone in its process, on the binary's allocator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1 << 20;
/// What mimalloc sets the option to by itself, in milliseconds.
const DELAY_DEFAULT: std::ffi::c_long = 1_000;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() << 10
}

fn purge_delay() -> std::ffi::c_long {
    // SAFETY: takes a number, gives one.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_get(tidegate::memory::PURGE_DELAY)
    }
}

#[test]
fn freed_memory_goes_back_without_anybodys_help() {
    assert_eq!(purge_delay(), DELAY_DEFAULT);
    tidegate::memory::purge_every(Duration::from_secs(1)).unwrap();
    assert_eq!(purge_delay(), 10_000);
    let blocks: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; 256 << 10]).collect();
    let held = resident_bytes();
    assert!(held > 256 * MIB, "{held} bytes");
    drop(blocks);
    let mut looks = 0;
    while resident_bytes() > held - 192 * MIB {
        looks += 1;
        assert!(looks < 600, "{} of {held} bytes after a minute", resident_bytes());
        std::thread::sleep(Duration::from_millis(100));
    }
}
