//! The CPU time that a process has spent, user and system, all threads. In: a process id. Out: durations. The kernel
//! counts other processes in hundredths of a second, this one in nanoseconds. Knows nothing of what they did meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// What this process has spent.
///
/// # Panics
/// Never: CPU time is not negative.
#[must_use]
pub fn own() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.try_into().expect("CPU time is never negative")
}

/// What this thread has spent.
///
/// # Panics
/// Never: CPU time is not negative.
#[must_use]
pub fn of_thread() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.try_into().expect("CPU time is never negative")
}

/// CPU-µs that this thread spends on a call, after a tenth of the calls to warm up.
///
/// # Panics
/// Never: CPU time is not negative.
pub fn micros_of_thread(times: u64, mut act: impl FnMut()) -> f64 {
    (0..times / 10).for_each(|_| act());
    let before = of_thread();
    (0..times).for_each(|_| act());
    crate::micros_each(of_thread().saturating_sub(before), times)
}

/// What a process has spent.
///
/// # Errors
/// When there is no such process.
pub fn of(pid: u32) -> Result<Duration, Failure> {
    stat(&Path::new("/proc").join(pid.to_string()).join("stat"))
}

/// What the threads that a process has now have spent, summed up by their names (digits at the end left out).
///
/// # Errors
/// When there is no such process.
pub fn by_thread(pid: u32) -> Result<BTreeMap<String, Duration>, Failure> {
    let mut spent = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let (Ok(name), Ok(time)) = (
            std::fs::read_to_string(task.join("comm")),
            stat(&task.join("stat")),
        ) else {
            continue; // It ended meanwhile.
        };
        let name = name
            .trim()
            .trim_end_matches(|end: char| end.is_ascii_digit() || end == '-');
        *spent.entry(name.to_owned()).or_default() += time;
    }
    Ok(spent)
}

/// The children of a process.
///
/// # Errors
/// When there is no such process.
pub fn children(pid: u32) -> Result<Vec<u32>, Failure> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(listed) = std::fs::read_to_string(task?.path().join("children")) else {
            continue; // It ended meanwhile.
        };
        children.extend(
            listed
                .split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

fn stat(path: &Path) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(path)?;
    let (_, fields) = stat.rsplit_once(')').ok_or("a stat has a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| -> Result<u64, Failure> { Ok(fields.get(index).ok_or("a short stat")?.parse()?) };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
