//! Giving freed memory back to the kernel on a thread of its own, instead of on whichever thread frees some next.
//!
//! mimalloc waits for a second after memory was freed, and then lets the next thread that frees a page give all of it back
//! (`madvise`). Beside large tables this holds the owner of a partition up for milliseconds at a time, and what is taken
//! again soon costs page faults besides (`bench` floods).
//!
//! In: an interval. What is freed stays with the process for at most that long, and is taken again from there meanwhile.

use std::ffi::c_long;
use std::time::Duration;

use libmimalloc_sys as mimalloc;

/// mimalloc's `mi_option_purge_delay`: after how many milliseconds any thread may give freed memory back; its place in
/// the `enum` of `mimalloc.h`, which the binding does not name.
pub const PURGE_DELAY: mimalloc::mi_option_t = 15;
/// After how many intervals other threads do what this one should have done.
const LATE: u32 = 10;

/// From now on freed memory goes back every `interval`, for as long as the process lives; with none as mimalloc does it
/// by itself. Its own variable holds in any case: with `MIMALLOC_PURGE_DELAY=-1` nothing ever goes back.
///
/// # Errors
/// When the system gives no thread.
pub fn purge_every(interval: Duration) -> std::io::Result<()> {
    if interval.is_zero() {
        return Ok(());
    }
    let thread = std::thread::Builder::new().name("memory".to_owned());
    thread.spawn(move || {
        loop {
            std::thread::sleep(interval);
            purge();
        }
    })?;
    let late = interval.saturating_mul(LATE).as_millis();
    set_purge_delay(c_long::try_from(late).unwrap_or(c_long::MAX));
    Ok(())
}

fn set_purge_delay(millis: c_long) {
    // SAFETY: takes two numbers; mimalloc refuses one that is no option of its own.
    #[allow(unsafe_code)]
    unsafe {
        mimalloc::mi_option_set_default(PURGE_DELAY, millis);
    }
}

fn purge() {
    // SAFETY: any thread may call it at any time: it gives back what is free, which mimalloc claims before.
    #[allow(unsafe_code)]
    unsafe {
        mimalloc::mi_collect(true);
    }
}
