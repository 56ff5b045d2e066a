//! The log's housework off the hot path: writing segments ahead of use, and sealing full ones with an index file.
//!
//! A segment is written full of zeros and synced before it is used, so that an append never grows a file and a full
//! disk shows here, where nothing was promised yet. When there is no space, it tries again until there is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFile};
use super::index::{self, Index, IndexFile, Seal};
use super::log::Log;
use super::segment::{self, Segment};
use super::state::{Phase, State};
use crate::metrics;

/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(250);

enum Chore {
    Spare(u64),
    Seal(Arc<Segment>, Seal),
    Rest,
}

/// Runs until the log closes.
pub fn run(log: &Log) {
    loop {
        let mut state = log.lock();
        if state.phase != Phase::Open {
            return;
        }
        let chore = next_chore(log, &state);
        let done = match chore {
            Chore::Rest => {
                if state.short_of_space {
                    log.chore_wanted.wait_for(&mut state, RETRY);
                } else {
                    log.chore_wanted.wait(&mut state);
                }
                continue;
            }
            Chore::Spare(number) => {
                drop(state);
                write_ahead(log, number)
            }
            Chore::Seal(segment, seal) => {
                drop(state);
                seal_segment(log, &segment, &seal)
            }
        };
        if let Err(error) = done {
            pause(log, &error);
        }
    }
}

/// Waits a little after a chore failed; nothing that was promised depends on it.
fn pause(log: &Log, error: &io::Error) {
    let mut state = log.lock();
    if !state.short_of_space {
        tracing::debug!("log cannot write a segment ahead or seal one: {error}; it keeps trying");
        metrics::short_of_space();
    }
    state.short_of_space = true;
    log.note_space(&state);
    log.room.notify_waiters();
    log.retention_wanted.notify_all();
    if state.phase == Phase::Open {
        log.chore_wanted.wait_for(&mut state, RETRY);
    }
}

fn next_chore(log: &Log, state: &State) -> Chore {
    let full = state
        .unsealed
        .front()
        .filter(|(_, seal)| seal.last_sequence <= state.written);
    let seal = full.map(|(segment, seal)| Chore::Seal(Arc::clone(segment), seal.clone()));
    let wanted = log.config.spare_segments.saturating_sub(state.spares.len());
    // Without space no spare can be had, and only what is sealed can be freed.
    let seal_first = state.spares.len() > 1 || state.short_of_space;
    if wanted == 0 || (seal.is_some() && seal_first) {
        return seal.unwrap_or(Chore::Rest);
    }
    let last = state
        .spares
        .back()
        .map_or(state.active.segment.number, |(number, _)| *number);
    Chore::Spare(last + 1)
}

/// Makes segment `number` ready for use.
fn write_ahead(log: &Log, number: u64) -> io::Result<()> {
    let bytes = log.config.segment_bytes;
    let used = log.lock().used_bytes;
    if used + bytes > log.config.disk_bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "broker.embedded.disk_bytes_max is reached",
        ));
    }
    let file = create_blank(&*log.host.disk, number, bytes)?;
    let mut state = log.lock();
    state.spares.push_back((number, file));
    state.used_bytes += bytes;
    metrics::used(state.used_bytes);
    // Not before all of them are there again: with fewer, the next look might find none.
    state.short_of_space &= state.spares.len() < log.config.spare_segments;
    log.note_space(&state);
    drop(state);
    log.room.notify_waiters();
    log.retention_wanted.notify_all();
    Ok(())
}

/// Writes a segment full of zeros; it is there whole or not at all.
pub fn create_blank(disk: &dyn Disk, number: u64, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
    let name = segment::file_name(number);
    let unfinished = format!("{name}.tmp");
    let file = match disk.create_blank(&unfinished, bytes) {
        Ok(file) => file,
        Err(error) => match disk.remove(&unfinished) {
            Err(unremoved) if unremoved.kind() != io::ErrorKind::NotFound => return Err(unremoved),
            _ => return Err(error),
        },
    };
    disk.rename(&unfinished, &name)?;
    disk.sync_names()?;
    Ok(file)
}

/// Writes a full segment's index and lets it go from memory.
pub fn seal_segment(log: &Log, segment: &Segment, seal: &Seal) -> io::Result<()> {
    // Only `durability = "fsync"` has synced it already; an index must never stand beside frames that may be lost.
    segment.file.sync()?;
    segment.file.end_appends();
    let name = segment::index_name(segment.number);
    let bytes = match &*segment.index.read() {
        Index::Memory(index) => index.encode(seal),
        Index::File(_) => return Ok(()),
    };
    let disk = &*log.host.disk;
    index::write(disk, &name, &bytes)?;
    let Some((file, _)) = IndexFile::open(disk, &name)? else {
        return Err(io::Error::other(format!("{name} cannot be read back")));
    };
    *segment.index.write() = Index::File(file);
    log.lock()
        .unsealed
        .retain(|(unsealed, _)| unsealed.number != segment.number);
    Ok(())
}
