//! Retention: space comes back by whole segments, oldest first.
//!
//! A segment goes when it was left behind longer ago than requests are kept, or when there is no space. What must
//! outlive it is appended again at the tail under its own offset and made durable first: journals above their trim,
//! `dead` within its time, and whatever a [`Keeper`] names. Only then the file is removed, so a crash at any step
//! leaves a message twice at worst, never nowhere. Nothing is freed before every keeper is registered.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_schemas::{Topic, UnixMillis};

use super::config::Durability;
use super::index::{Entry, Extent, Index};
use super::log::Log;
use super::reader::{Located, read_located};
use super::recover;
use super::segment::{self, Segment};
use super::state::Phase;
use crate::error::{AppendError, Error};
use crate::metrics;

/// Bytes of messages that are appended again in one frame, unless one is larger.
const BATCH_BYTES: usize = 1024 * 1024;

/// Says which offsets of a range must outlive their segment.
#[derive(Clone)]
pub struct Keeper {
    wanted: Arc<Wanted>,
    yields: bool,
}

type Wanted = dyn Fn(Range<u64>) -> Vec<u64> + Send + Sync;

impl Keeper {
    /// A keeper whose messages are never given up.
    pub fn new(wanted: impl Fn(Range<u64>) -> Vec<u64> + Send + Sync + 'static) -> Keeper {
        Keeper {
            wanted: Arc::new(wanted),
            yields: false,
        }
    }

    /// A keeper whose messages are given up, counted, when the disk budget is reached.
    pub fn yielding(wanted: impl Fn(Range<u64>) -> Vec<u64> + Send + Sync + 'static) -> Keeper {
        Keeper {
            wanted: Arc::new(wanted),
            yields: true,
        }
    }
}

/// All keepers, by slot.
#[derive(Default)]
pub struct Keepers {
    by_slot: Mutex<HashMap<usize, Vec<Keeper>>>,
    started: AtomicBool,
}

impl Keepers {
    /// All keepers are there.
    pub fn start(&self) {
        self.started.store(true, Relaxed);
    }

    /// Adds a keeper of a partition.
    pub fn add(&self, slot: usize, keeper: Keeper) {
        self.by_slot.lock().entry(slot).or_default().push(keeper);
    }

    fn of(&self, slot: usize) -> Vec<Keeper> {
        self.by_slot.lock().get(&slot).cloned().unwrap_or_default()
    }
}

/// Runs until the log closes.
pub fn run(log: &Log) {
    let interval = Duration::from_secs(log.config.retention_interval_s);
    let mut looked_at: Option<Instant> = None;
    loop {
        {
            let mut state = log.lock();
            let looked = looked_at.is_some_and(|at| at.elapsed() < interval);
            let wanted = log.keepers.started.load(Relaxed) && (state.short_of_space || !looked);
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
    Age,
    Space,
}

/// Why a segment was not freed.
#[derive(Debug, thiserror::Error)]
enum Unfreed {
    #[error(transparent)]
    Read(#[from] Error),
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
    let why = if aged {
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
    let gains_little = |live: &Live| why == Why::Space && live.bytes() * 4 > file_bytes * 3;
    let mut given_up = 0;
    if gains_little(&live) {
        let before = live.located.len();
        live = Live::find(log, segment, false)?;
        given_up = before - live.located.len();
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
    metrics::freed(live.located.len());
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

/// What must outlive a segment.
struct Live {
    located: Vec<(Topic, Located)>,
}

impl Live {
    /// Finds what must outlive `segment`; without the yielding keepers if they are not heard.
    fn find(log: &Log, segment: &Arc<Segment>, yielding_too: bool) -> Result<Live, Error> {
        let mut located = Vec::new();
        let extents = segment.index.read().extents();
        for extent in extents {
            let place = (extent.topic, extent.partition);
            let Some(slot) = log.layout.slot(extent.topic, extent.partition) else {
                continue;
            };
            let wanted = Wish {
                log,
                slot,
                extent: &extent,
                yielding_too,
            };
            let mut entries = Vec::new();
            {
                let index = segment.index.read();
                let failed = || Error::io(format!("read {}", segment::index_name(segment.number)));
                let (fresh, kept) = (extent.fresh(), extent.kept_span.clone());
                entries.extend(
                    wanted
                        .select(fresh.clone(), || index.fresh(place, fresh, usize::MAX))
                        .map_err(failed())?,
                );
                entries.extend(
                    wanted
                        .select(kept.clone(), || index.kept(place, kept, usize::MAX))
                        .map_err(failed())?,
                );
            }
            let again = appended_again(log, segment.number, slot, &extent)?;
            entries.retain(|entry| !entry.is_given_up() && !again.contains(&entry.offset));
            let place = |entry| {
                (
                    extent.topic,
                    Located {
                        segment: Arc::clone(segment),
                        entry,
                    },
                )
            };
            located.extend(entries.into_iter().map(place));
        }
        located.sort_by_key(|(topic, located)| (*topic, located.entry.position));
        Ok(Live { located })
    }

    fn bytes(&self) -> u64 {
        self.located
            .iter()
            .map(|(_, located)| u64::from(located.entry.length))
            .sum()
    }

    fn append_again(&self, log: &Log) -> Result<(), Unfreed> {
        let now = (log.host.now)();
        for run in self.located.chunk_by(|one, next| one.0 == next.0) {
            let topic = run[0].0;
            let mut rest = run.iter().map(|(_, located)| located.clone()).collect::<Vec<_>>();
            while !rest.is_empty() {
                let mut messages = read_located((topic, None), &rest, BATCH_BYTES)?;
                rest.drain(..messages.len());
                let age_max = if topic == Topic::Dead {
                    log.config.message_age_max(topic)
                } else {
                    None
                };
                messages.retain(|message| age_max.is_none_or(|age| message.timestamp.after(age) > now));
                if !messages.is_empty() {
                    log.append_kept(&messages)?;
                }
            }
        }
        Ok(())
    }
}

/// Which of a partition's messages in a segment are still wanted.
struct Wish<'a> {
    log: &'a Log,
    slot: usize,
    extent: &'a Extent,
    yielding_too: bool,
}

impl Wish<'_> {
    fn select(
        &self,
        range: Range<u64>,
        entries: impl FnOnce() -> std::io::Result<Vec<Entry>>,
    ) -> std::io::Result<Vec<Entry>> {
        let trimmed = self.log.lock().partitions[self.slot].trimmed;
        let range = range.start.max(trimmed)..range.end;
        if range.is_empty() || self.is_past(self.extent.newest) {
            return Ok(Vec::new());
        }
        let wanted = self.wanted(range.clone());
        if wanted.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(Vec::new());
        }
        let mut entries = entries()?;
        entries.retain(|entry| {
            range.contains(&entry.offset)
                && wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.contains(&entry.offset))
        });
        Ok(entries)
    }

    fn is_past(&self, newest: UnixMillis) -> bool {
        let age_max = self.log.config.dead_retention_hours.saturating_mul(3600);
        self.extent.topic == Topic::Dead
            && newest.after(Duration::from_secs(age_max)) <= (self.log.host.now)()
    }

    /// The offsets wanted; `None` for all of them.
    fn wanted(&self, range: Range<u64>) -> Option<BTreeSet<u64>> {
        if self.extent.topic.is_journal() || self.extent.topic == Topic::Dead {
            return None;
        }
        let keepers = self.log.keepers.of(self.slot);
        let heard = keepers
            .iter()
            .filter(|keeper| self.yielding_too || !keeper.yields);
        Some(heard.flat_map(|keeper| (keeper.wanted)(range.clone())).collect())
    }
}

/// Messages of `extent` that a newer segment holds again: an earlier try got that far.
fn appended_again(log: &Log, segment: u64, slot: usize, extent: &Extent) -> Result<BTreeSet<u64>, Error> {
    let state = log.lock();
    let newer = state.partitions[slot]
        .kept
        .iter()
        .filter(|(_, number)| *number > segment);
    let newer: Vec<_> = newer
        .filter_map(|(_, number)| state.segments.get(number).cloned())
        .collect();
    drop(state);
    let mut offsets = BTreeSet::new();
    for newer in newer {
        for span in [extent.fresh(), extent.kept_span.clone()] {
            let kept = newer
                .index
                .read()
                .kept((extent.topic, extent.partition), span, usize::MAX);
            let kept = kept.map_err(Error::io(format!("read {}", segment::index_name(newer.number))))?;
            offsets.extend(kept.into_iter().map(|entry| entry.offset));
        }
    }
    Ok(offsets)
}
