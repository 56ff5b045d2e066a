//! The flusher: one thread that writes the open group and makes it durable, over and over.
//!
//! While it syncs, appends fill the next group, so a sync group is whatever came meanwhile. A disk error ends the
//! process: after a failed `fdatasync` nobody knows what is on the disk.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Durability;
use super::group::{Group, Sleep, Write};
use super::log::Log;
use super::segment::Segment;
use super::state::{Phase, State};
use crate::metrics;

/// Appends that must have come together before a group is kept open for more of them.
const COMPANY: usize = 4;

/// Runs until the log closes and everything is written.
pub fn run(log: &Log) {
    let mut flusher = Flusher {
        log,
        company: false,
        synced_at: Instant::now(),
        unsynced: Vec::new(),
    };
    if let Err(error) = flusher.run() {
        log.fail("write and sync", &error);
    }
}

struct Flusher<'a> {
    log: &'a Log,
    /// Whether the last group was shared by several appends.
    company: bool,
    synced_at: Instant,
    /// Segments that were written to since they were last synced.
    unsynced: Vec<Arc<Segment>>,
}

/// What the flusher does next.
enum Step {
    Flush(Group),
    Sync,
    End,
}

impl Flusher<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.next_step() {
                Step::Flush(group) => self.flush(&group)?,
                Step::Sync => self.sync()?,
                Step::End => return self.sync(),
            }
        }
    }

    /// Waits until there is something to do. Ends when the log has closed and nothing is left to write.
    fn next_step(&mut self) -> Step {
        let log = self.log;
        let mut state = log.lock();
        loop {
            if state.phase == Phase::Failed
                || (state.phase == Phase::Closing && state.group.writes.is_empty())
            {
                return Step::End;
            }
            let now = Instant::now();
            let group_due = self.group_due(&state);
            if group_due.is_some_and(|(due, _)| due <= now) {
                break;
            }
            let sync_due = self.sync_due();
            if sync_due.is_some_and(|due| due <= now) {
                return Step::Sync;
            }
            state.sleep = group_due.map_or(Sleep::UntilFrame, |(_, sleep)| sleep);
            match group_due.map(|(due, _)| due).into_iter().chain(sync_due).min() {
                Some(due) => drop(log.flush_wanted.wait_until(&mut state, due)),
                None => log.flush_wanted.wait(&mut state),
            }
            state.sleep = Sleep::Awake;
        }
        let group = std::mem::take(&mut state.group);
        drop(state);
        log.room.notify_waiters();
        Step::Flush(group)
    }

    /// When the open group must be taken, and what may hasten it.
    fn group_due(&self, state: &State) -> Option<(Instant, Sleep)> {
        let config = &self.log.config;
        let since = state.group.since?;
        if state.phase != Phase::Open || state.group.is_full(config) {
            return Some((since, Sleep::UntilFull));
        }
        if state.group.awaited == 0 {
            return Some((
                since + Duration::from_millis(config.idle_wait_max_ms),
                Sleep::UntilAwaited,
            ));
        }
        let wait = if self.company {
            Duration::from_millis(config.group_wait_max_ms)
        } else {
            Duration::ZERO
        };
        Some((since + wait, Sleep::UntilFull))
    }

    /// When written segments must be synced although no group asks for it.
    fn sync_due(&self) -> Option<Instant> {
        let config = &self.log.config;
        let waits = config.durability == Durability::Interval && !self.unsynced.is_empty();
        waits.then(|| self.synced_at + Duration::from_millis(config.sync_interval_ms))
    }

    fn flush(&mut self, group: &Group) -> io::Result<()> {
        self.company = group.awaited >= COMPANY;
        for writes in group
            .writes
            .chunk_by(|one, next| Arc::ptr_eq(&one.segment, &next.segment))
        {
            let segment = &writes[0].segment;
            for run in writes.chunk_by(|one, next| one.position + one.bytes.len() as u64 == next.position) {
                self.write(segment, run)?;
            }
            self.note_written(segment)?;
        }
        self.finish(group);
        Ok(())
    }

    fn note_written(&mut self, segment: &Arc<Segment>) -> io::Result<()> {
        if self.log.config.durability == Durability::Fsync {
            // Segment by segment, so that nothing in a later one is durable before what came earlier.
            return segment.file.sync();
        }
        if !self
            .unsynced
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, segment))
        {
            self.unsynced.push(Arc::clone(segment));
        }
        if self.log.config.durability == Durability::Os {
            // The system writes back when it likes; a segment left behind is synced when it is sealed.
            self.unsynced.truncate(1);
            self.unsynced[0] = Arc::clone(segment);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        for segment in self.unsynced.drain(..) {
            segment.file.sync()?;
        }
        self.synced_at = Instant::now();
        if self.log.config.durability == Durability::Interval {
            let mut state = self.log.lock();
            state.synced = state.written;
        }
        Ok(())
    }

    /// Writes neighbouring frames. Waits while the disk is full: they are in the chain already.
    fn write(&self, segment: &Segment, run: &[Write]) -> io::Result<()> {
        let parts: Vec<&[u8]> = run.iter().map(|write| &write.bytes[..]).collect();
        let write = || match self.log.config.durability {
            Durability::Fsync => segment.file.append_at(&parts, run[0].position),
            // The page cache is what makes these cheap.
            Durability::Interval | Durability::Os => segment.file.write_at(&parts, run[0].position),
        };
        while let Err(error) = write() {
            if error.kind() != io::ErrorKind::StorageFull {
                return Err(error);
            }
            let mut state = self.log.lock();
            state.short_of_space = true;
            self.log.note_space(&state);
            self.log
                .flush_wanted
                .wait_for(&mut state, Duration::from_millis(100));
            if state.phase != Phase::Open {
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(&self, group: &Group) {
        let log = self.log;
        let mut state = log.lock();
        state.written = group.last_sequence;
        if log.config.durability == Durability::Fsync {
            state.synced = group.last_sequence;
        }
        for (slot, end) in &group.readable {
            state.partitions[*slot].readable = *end;
        }
        let gone = state.shrink_tail(log.config.tail_bytes_max);
        let chores = !state.unsealed.is_empty();
        drop(state);
        log.durable.reach(group.last_sequence);
        drop(gone);
        let mut woken = None;
        for (slot, _) in &group.readable {
            if woken.replace(*slot) != Some(*slot) {
                log.readable[*slot].notify_waiters();
            }
        }
        log.room.notify_waiters();
        log.retention_wanted.notify_all();
        if chores {
            log.chore_wanted.notify_one();
        }
        metrics::flushed(group.writes.len(), group.bytes);
    }
}
