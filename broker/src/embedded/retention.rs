//! Retention: space comes back by whole segments, oldest first.
//!
//! A segment goes when everything in it was trimmed, when it was left behind longer ago than requests are kept, or when
//! there is no space. What must outlive it is appended again at the tail under its own offset and made durable first: journals above their trim,
//! `dead` within its time, and whatever a [keeper](super::Keeper) names. Only then the file is removed, so a crash at any step
//! leaves a message twice at worst, never nowhere. Nothing is freed before every keeper is registered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Durability;
use super::index::Index;
use super::live::Live;
use super::log::Log;
use super::recover;
use super::segment::Segment;
use super::state::Phase;
use crate::error::{AppendError, Error};
use crate::metrics;

/// Runs until the log closes.
pub fn run(log: &Log) {
    let interval = Duration::from_secs(log.config.retention_interval_s);
    let mut looked_at: Option<Instant> = None;
    loop {
        {
            let mut state = log.lock();
            let looked = looked_at.is_some_and(|at| at.elapsed() < interval);
            let wanted = log.keepers.are_complete() && (state.short_of_space || !looked);
            if state.phase != Phase::Open {
                return;
            }
            if !wanted || looked_at.is_some_and(|at| at.elapsed() < interval.min(Duration::from_millis(100)))
            {
                log.retention_wanted.wait_for(
                    &mut state,
                    interval.clamp(Duration::from_millis(10), Duration::from_secs(1)),
                );
                continue;
            }
        }
        looked_at = Some(Instant::now());
        while let Some((oldest, why)) = candidate(log) {
            match free(log, &oldest, why) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Unfreed::Append(AppendError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(
                        "log cannot free segment {}: {error}; it tries again",
                        oldest.number
                    );
                    break;
                }
            }
        }
    }
}

/// Why a segment may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Empty,
    Age,
    Space,
}

/// Why a segment was not freed.
#[derive(Debug, thiserror::Error)]
pub enum Unfreed {
    /// Its messages cannot be read.
    #[error(transparent)]
    Read(#[from] Error),
    /// There is no room to append them again.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The oldest segment, if it may go.
fn candidate(log: &Log) -> Option<(Arc<Segment>, Why)> {
    let state = log.lock();
    let mut segments = state.segments.values();
    let (oldest, next) = (segments.next()?, segments.next()?);
    if matches!(*oldest.index.read(), Index::Memory(_)) || state.phase != Phase::Open {
        return None;
    }
    let kept_for = Duration::from_secs(log.config.retention_hours.saturating_mul(3600));
    let aged = next.created.after(kept_for) <= (log.host.now)();
    let mut partitions = state.partitions.iter();
    let why = if partitions.all(|partition| partition.has_nothing_in(oldest.number)) {
        Some(Why::Empty)
    } else if aged {
        Some(Why::Age)
    } else {
        state.short_of_space.then_some(Why::Space)
    };
    why.map(|why| (Arc::clone(oldest), why))
}

/// Frees a segment; false when that would gain next to nothing.
fn free(log: &Log, segment: &Arc<Segment>, why: Why) -> Result<bool, Unfreed> {
    let file_bytes = segment.file.length().map_err(Error::io("look at a segment"))?;
    let mut live = Live::find(log, segment, true)?;
    let gains_little = |live: &Live| why == Why::Space && live.cost_bytes(log) * 4 > file_bytes * 3;
    let mut given_up = 0;
    if gains_little(&live) {
        let before = live.messages();
        live = Live::find(log, segment, false)?;
        given_up = before - live.messages();
    }
    if gains_little(&live) {
        return Ok(false);
    }
    live.append_again(log)?;
    if given_up > 0 {
        tracing::warn!("disk budget reached: {given_up} messages that were not read yet are given up");
        metrics::given_up(given_up);
    }
    // What an earlier try appended again is durable only now, perhaps.
    log.wait_for_all()?;
    forget(log, segment, file_bytes)?;
    metrics::freed(live.messages());
    Ok(true)
}

fn forget(log: &Log, segment: &Segment, file_bytes: u64) -> Result<(), Error> {
    if log.config.durability != Durability::Fsync {
        let segments: Vec<_> = log.lock().segments.values().rev().take(3).cloned().collect();
        for newer in segments {
            newer.file.sync().map_err(Error::io("sync a segment"))?;
        }
    }
    {
        let mut state = log.lock();
        state.segments.remove(&segment.number);
        state
            .partitions
            .iter_mut()
            .for_each(|partition| partition.forget(segment.number));
        state.used_bytes = state.used_bytes.saturating_sub(file_bytes);
        metrics::used(state.used_bytes);
    }
    recover::remove_segment(&*log.host.disk, segment.number)?;
    log.host
        .disk
        .sync_names()
        .map_err(Error::io("sync the log's directory"))?;
    log.chore_wanted.notify_one();
    Ok(())
}
