//! The log itself: appends, and what its threads and readers share.
//!
//! An append is encoded and summed outside the lock, gets its place under it ([`super::state`]), and is written by
//! the flusher. In: batches. Out: offsets, once the batch counts as done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tidegate_schemas::{Topic, UnixMillis};
use tokio::sync::Notify;

use super::config::{Config, Layout};
use super::disk::Disk;
use super::draft::Draft;
use super::durable::Durable;
use super::frame::Mark;
use super::group::Sleep;
use super::keepers::{Keeper, Keepers};
use super::state::{Ask, Class, InPlace, NoPlace, Phase, Rules, State};
use crate::error::AppendError;
use crate::message::{Message, Record};

/// How long the retention thread waits before it looks again by itself.
const RETENTION_LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// What the log needs of the world around it.
#[derive(Clone)]
pub struct Host {
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
    /// Called once when the disk failed and what was written can no longer be trusted; must not let the process go on.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
    /// The clock.
    pub now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
}

impl Host {
    /// The real world: `fatal` ends the process.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Host {
        Host {
            disk,
            fatal: Arc::new(|_| std::process::abort()),
            now: Arc::new(|| std::time::SystemTime::now().into()),
        }
    }
}

/// An open log.
pub struct Log {
    pub(super) config: Config,
    pub(super) layout: Layout,
    pub(super) host: Host,
    pub(super) mark: Mark,
    pub(super) state: Mutex<State>,
    pub(super) durable: Durable,
    /// Wakes the flusher.
    pub(super) flush_wanted: Condvar,
    /// Wakes the thread that writes segments ahead and seals them.
    pub(super) chore_wanted: Condvar,
    /// Wakes the thread that frees segments.
    pub(super) retention_wanted: Condvar,
    /// Wakes appends that wait for a group or a segment.
    pub(super) room: Notify,
    /// Wakes readers, by slot.
    pub(crate) readable: Vec<Notify>,
    pub(crate) has_space: AtomicBool,
    pub(super) keepers: Keepers,
}

/// What an append asks for besides its records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Condition {
    /// The partition whose next message this batch must hold, and the offset that it must get.
    pub expected: Option<(Topic, u32, u64)>,
}

impl Log {
    /// Appends a batch as one frame.
    pub async fn append(&self, batch: &[Record], condition: Condition) -> Result<Vec<u64>, AppendError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let draft = self.draft(batch)?;
        let waits = batch.iter().any(|record| record.topic.waits_for_sync());
        let intake = batch.iter().any(|record| record.topic == Topic::Requests);
        let class = if intake { Class::Intake } else { Class::Work };
        let expected = match condition.expected {
            Some((topic, partition, offset)) => Some((self.slot(topic, partition)?, offset)),
            None => None,
        };
        let ask = Ask {
            class,
            now: (self.host.now)(),
            expected,
            awaited: waits,
        };
        let placed = self.place(draft, ask).await?;
        if waits && !self.durable.wait(placed.sequence).await {
            return Err(AppendError::Closed);
        }
        Ok(placed.records.iter().map(|record| record.offset).collect())
    }

    /// Moves a partition's start; resolves once ordered into the log.
    pub async fn trim(&self, topic: Topic, partition: u32, start: u64) -> Result<(), AppendError> {
        self.place_trim((topic, partition), start, false).await.map(drop)
    }

    /// As [`Log::trim`], but resolves once no crash can take it back.
    pub async fn trim_durably(&self, topic: Topic, partition: u32, start: u64) -> Result<(), AppendError> {
        match self.place_trim((topic, partition), start, true).await? {
            Some(sequence) if !self.durable.wait(sequence).await => Err(AppendError::Closed),
            _ => Ok(()),
        }
    }

    /// The sequence of the trim's frame, unless the partition was trimmed so far before.
    async fn place_trim(
        &self,
        (topic, partition): (Topic, u32),
        start: u64,
        awaited: bool,
    ) -> Result<Option<u64>, AppendError> {
        let slot = self.slot(topic, partition)?;
        if self.lock().partitions[slot].trimmed >= start {
            return Ok(None);
        }
        let mut draft = Draft::new(1, 0);
        draft.push_trim(topic, partition, start);
        let ask = Ask {
            class: Class::Retention,
            now: (self.host.now)(),
            expected: None,
            awaited,
        };
        Ok(Some(self.place(draft, ask).await?.sequence))
    }

    /// Appends messages again under their own offsets and waits until that is durable; for the retention thread.
    pub(super) fn append_kept(&self, messages: &[Message]) -> Result<(), AppendError> {
        let bytes = messages.iter().map(Message::len_bytes).sum();
        let mut draft = Draft::new(messages.len(), bytes);
        messages.iter().for_each(|message| draft.push_kept(message));
        let ask = Ask {
            class: Class::Retention,
            now: (self.host.now)(),
            expected: None,
            awaited: true,
        };
        let mut draft = Some(draft);
        loop {
            match self.try_place(&mut draft, &ask)? {
                Some(placed) => return self.wait_blocking(placed.sequence),
                None => {
                    let mut state = self.lock();
                    self.retention_wanted.wait_for(&mut state, RETENTION_LOOK);
                }
            }
        }
    }

    /// Waits until everything placed so far is written.
    pub(super) fn wait_for_all(&self) -> Result<(), AppendError> {
        let sequence = self.lock().sequence;
        self.wait_blocking(sequence)
    }

    fn wait_blocking(&self, sequence: u64) -> Result<(), AppendError> {
        let mut state = self.lock();
        while state.written < sequence {
            if state.phase != Phase::Open {
                return Err(AppendError::Closed);
            }
            self.retention_wanted.wait_for(&mut state, RETENTION_LOOK);
        }
        Ok(())
    }

    fn draft(&self, batch: &[Record]) -> Result<Draft, AppendError> {
        let mut bytes = 0;
        for record in batch {
            self.slot(record.topic, record.partition)?;
            let length = record.key.len() + record.meta.len() + record.value.len();
            check_size(record.topic, length, self.config.message_bytes_max(record.topic))?;
            bytes += length;
        }
        let needed = bytes + batch.len() * super::frame::RECORD_HEADER + 64;
        check_size(batch[0].topic, needed, self.frame_bytes_max())?;
        let mut draft = Draft::new(batch.len(), bytes);
        batch.iter().for_each(|record| draft.push(record));
        Ok(draft)
    }

    /// Bytes that one batch may have at most, headers included.
    pub fn frame_bytes_max(&self) -> usize {
        let room = self.config.segment_bytes - self.layout.standing_bytes() - 4096;
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes that all segments take on the disk, those written ahead included.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.lock().used_bytes
    }

    pub(crate) fn now(&self) -> UnixMillis {
        (self.host.now)()
    }

    pub(crate) fn offsets(&self, slot: usize) -> std::ops::Range<u64> {
        let state = self.lock();
        let partition = &state.partitions[slot];
        partition.start().min(partition.readable)..partition.readable
    }

    pub(crate) fn add_keeper(&self, slot: usize, keeper: Keeper) {
        self.keepers.add(slot, keeper);
    }

    pub(crate) fn start_retention(&self) {
        self.keepers.start();
        self.retention_wanted.notify_all();
    }

    async fn place(&self, draft: Draft, ask: Ask) -> Result<InPlace, AppendError> {
        let mut draft = Some(draft);
        match self.try_place(&mut draft, &ask)? {
            Some(placed) => Ok(placed),
            // Apart, so that whoever waits for an append does not carry what only this needs.
            None => Box::pin(self.place_later(draft, ask)).await,
        }
    }

    async fn place_later(&self, mut draft: Option<Draft>, ask: Ask) -> Result<InPlace, AppendError> {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(placed) = self.try_place(&mut draft, &ask)? {
                return Ok(placed);
            }
            room.await;
        }
    }

    fn try_place(&self, draft: &mut Option<Draft>, ask: &Ask) -> Result<Option<InPlace>, AppendError> {
        let mut state = self.lock();
        let placed = state.place(&self.rules(), draft, ask);
        let placed = match placed {
            Ok(placed) => placed,
            Err(NoPlace::Wait) => return Ok(None),
            Err(refused) => return Err(self.refusal(&state, refused)),
        };
        if state.short_of_space {
            self.note_space(&state);
        }
        let wake = match state.sleep {
            Sleep::Awake => false,
            Sleep::UntilFrame => true,
            Sleep::UntilAwaited => ask.awaited || state.group.is_full(&self.config),
            Sleep::UntilFull => state.group.is_full(&self.config),
        };
        if wake {
            state.sleep = Sleep::Awake;
        }
        drop(state);
        if wake {
            self.flush_wanted.notify_one();
        }
        for slot in &placed.readable {
            self.readable[*slot].notify_waiters();
        }
        Ok(Some(placed))
    }

    fn refusal(&self, state: &State, refused: NoPlace) -> AppendError {
        match refused {
            NoPlace::Closed | NoPlace::Wait => AppendError::Closed,
            NoPlace::Full(needed) => {
                self.note_space(state);
                self.retention_wanted.notify_all();
                AppendError::Full {
                    needed,
                    used: state.used_bytes,
                    limit: self.config.disk_bytes_max,
                }
            }
            NoPlace::Overtaken(slot, expected, found) => {
                let (topic, partition) = self.layout.place(slot);
                AppendError::Overtaken {
                    topic: topic.label(),
                    partition,
                    expected,
                    found,
                }
            }
        }
    }

    /// Tells ingest whether requests are taken.
    pub(super) fn note_space(&self, state: &State) {
        let length = self.config.segment_bytes / 8;
        let room = state.has_room(&self.rules(), length, Class::Intake);
        let room = room && state.phase == Phase::Open;
        match (self.has_space.swap(room, Relaxed), room) {
            (true, false) => tracing::warn!(
                "log is out of space with {} of {} bytes in use: requests are refused until some is freed",
                state.used_bytes,
                self.config.disk_bytes_max
            ),
            (false, true) => tracing::info!("log has space again: requests are taken"),
            _ => {}
        }
    }

    pub(crate) fn slot(&self, topic: Topic, partition: u32) -> Result<usize, AppendError> {
        self.layout
            .slot(topic, partition)
            .ok_or(AppendError::NoPartition {
                topic: topic.label(),
                partition,
                partitions: self.config.partitions_of(topic),
            })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn rules(&self) -> Rules<'_> {
        Rules {
            config: &self.config,
            layout: &self.layout,
            mark: self.mark,
        }
    }

    /// The disk failed: nothing more is acknowledged, and the process must end.
    pub(super) fn fail(&self, what: &str, error: &std::io::Error) {
        let text = format!("log cannot {what}: {error}; ending the process, it recovers at its next start");
        self.lock().phase = Phase::Failed;
        self.has_space.store(false, Relaxed);
        self.durable.fail();
        self.wake_all();
        tracing::error!("{text}");
        (self.host.fatal)(&text);
    }

    pub(super) fn wake_all(&self) {
        self.flush_wanted.notify_all();
        self.chore_wanted.notify_all();
        self.retention_wanted.notify_all();
        self.room.notify_waiters();
        self.readable.iter().for_each(Notify::notify_waiters);
    }
}

fn check_size(topic: Topic, bytes: usize, limit: usize) -> Result<(), AppendError> {
    if bytes > limit {
        return Err(AppendError::TooLarge {
            topic: topic.label(),
            bytes: bytes as u64,
            limit: limit as u64,
        });
    }
    Ok(())
}
