//! Where requests stand on their way to Kafka, and in which order. Four ways follow one another:
//!
//! *Straight*: each is sent by itself and waits for its answer. *Turning*: one had no answer in time; each that is under
//! way either gets its answer still or queues under the number of its arrival; what comes meanwhile queues behind them.
//! *Spilling*: whatever comes queues, and the queue is written to the store, in order. *Holding*: so little lies in the
//! store that the queue is held back for a moment; when the store is empty, what queues is released, and goes straight.
//!
//! So a request that was acknowledged stands before every one that came after that; those that wait at the same time
//! keep the order of their arrival into the spill, and out of it none. Plain bookkeeping under one short lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::error::AppendError;
use crate::message::Record;

/// Bytes that are written to the store at once, unless one batch alone is larger.
const WRITE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The line.
pub struct Line {
    state: Mutex<State>,
    /// Wakes the task that writes the queue to the store.
    changed: Notify,
    /// Whether the way is straight, to be read without the lock.
    straight: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    /// Until then at most: whoever is not heard of by then loses its place.
    Turning(Instant),
    Spilling,
    /// Until then at most.
    Holding(Instant),
}

struct State {
    way: Way,
    /// Since when it is not straight.
    bent_at: Instant,
    /// Batches that are sent straight and have no answer yet.
    under_way: usize,
    /// The number of the last batch.
    last: u64,
    /// What is to be written to the store, by number. Bounded by what ingest has in flight: each is waited for.
    queue: BTreeMap<u64, Queued>,
    /// Whether the beginning of the queue is being written.
    writing: bool,
}

/// Whether Kafka may have a batch that goes into the spill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Never,
    Unanswered,
}

/// A batch that waits to be written to the store.
pub struct Queued {
    pub batch: Vec<Record>,
    pub sent: Sent,
    pub done: oneshot::Sender<Result<Written, AppendError>>,
}

/// What became of a batch that queued.
pub enum Written {
    /// It lies in the store, durably.
    Kept,
    /// Nothing lies there any more: it may be sent straight.
    Released(UnderWay),
}

/// What a batch that queues waits for.
pub type Writing = oneshot::Receiver<Result<Written, AppendError>>;

/// What a batch does first.
pub enum Entered {
    Straight(UnderWay),
    Queued(Writing),
}

/// A batch that is sent straight; dropped when it has its answer, or never will.
pub struct UnderWay {
    line: Arc<Line>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.line.state.lock();
        state.under_way -= 1;
        if matches!(state.way, Way::Turning(_)) && state.under_way == 0 {
            self.line.changed.notify_one();
        }
    }
}

impl State {
    fn queue(&mut self, number: u64, batch: &[Record], sent: Sent) -> Writing {
        let (done, writing) = oneshot::channel();
        let batch = batch.to_vec();
        self.queue.insert(number, Queued { batch, sent, done });
        writing
    }
}

impl Line {
    /// A line in which everything goes into the spill.
    pub fn spilling() -> Self {
        let state = State {
            way: Way::Spilling,
            bent_at: Instant::now(),
            under_way: 0,
            last: 0,
            queue: BTreeMap::new(),
            writing: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            straight: AtomicBool::new(false),
        }
    }

    /// A batch has come.
    pub fn enter(self: &Arc<Self>, batch: &[Record]) -> Entered {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        if state.way == Way::Straight {
            state.under_way += 1;
            let line = self.clone();
            return Entered::Straight(UnderWay { line, number });
        }
        let writing = state.queue(number, batch, Sent::Never);
        drop(state);
        self.changed.notify_one();
        Entered::Queued(writing)
    }

    /// A batch that was sent straight was not taken in time, and queues; the others under way have until then. Says
    /// whether it is the first.
    pub fn turn(
        &self,
        under_way: UnderWay,
        (batch, sent): (&[Record], Sent),
        until: Instant,
    ) -> (Writing, bool) {
        let mut state = self.state.lock();
        let turns = state.way == Way::Straight;
        if turns {
            state.way = Way::Turning(until);
            state.bent_at = Instant::now();
            self.straight.store(false, Release);
        }
        let writing = state.queue(under_way.number, batch, sent);
        drop(state);
        drop(under_way);
        // One that comes when the others were taken already is the last that anybody hears of.
        self.changed.notify_one();
        (writing, turns)
    }

    /// Waits until there may be something to take.
    pub async fn changed(&self) {
        let way = self.state.lock().way;
        match way {
            Way::Turning(until) | Way::Holding(until) => {
                // In time or not, the queue is looked at again.
                let _ = tokio::time::timeout_at(until.into(), self.changed.notified()).await;
            }
            _ => self.changed.notified().await,
        }
    }

    /// The beginning of the queue, once nothing that came before can still join it; [`Line::written`] follows.
    pub fn take(&self, now: Instant) -> Vec<Queued> {
        let mut state = self.state.lock();
        match state.way {
            Way::Straight => return Vec::new(),
            Way::Turning(until) if state.under_way > 0 && now < until => return Vec::new(),
            Way::Holding(until) if now < until => return Vec::new(),
            _ => state.way = Way::Spilling,
        }
        if state.queue.is_empty() {
            return Vec::new();
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(first) = state.queue.first_entry() {
            bytes += first.get().batch.iter().map(record_bytes).sum::<usize>();
            if bytes > WRITE_BYTES_MAX && !taken.is_empty() {
                break;
            }
            taken.push(first.remove());
        }
        state.writing = true;
        taken
    }

    /// What was taken is written, or was refused.
    pub fn written(&self) {
        self.state.lock().writing = false;
    }

    /// Holds the queue back for a moment: the store is nearly empty.
    pub fn hold_back(&self, until: Instant) {
        let mut state = self.state.lock();
        if state.way == Way::Spilling {
            state.way = Way::Holding(until);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Lets the queue be written again.
    pub fn hold_no_longer(&self) {
        let mut state = self.state.lock();
        if matches!(state.way, Way::Holding(_)) {
            state.way = Way::Spilling;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Makes the way straight and releases what queues, if the store is empty and nothing is being written to it. Says
    /// how long the way was not straight.
    pub fn straighten(self: &Arc<Self>, store_is_empty: impl FnOnce() -> bool) -> Option<Duration> {
        let mut state = self.state.lock();
        let spills = matches!(state.way, Way::Spilling | Way::Holding(_));
        if !spills || state.writing || !store_is_empty() {
            return None;
        }
        state.way = Way::Straight;
        self.straight.store(true, Release);
        let bent_for = state.bent_at.elapsed();
        let released = std::mem::take(&mut state.queue);
        state.under_way += released.len();
        drop(state);
        for (number, queued) in released {
            let line = self.clone();
            // Whoever has hung up is under way no more.
            let _ = queued.done.send(Ok(Written::Released(UnderWay { line, number })));
        }
        Some(bent_for)
    }

    /// Whether the way is straight.
    pub fn is_straight(&self) -> bool {
        self.straight.load(Acquire)
    }

    /// For how long the way has not been straight.
    pub fn bent_for(&self) -> Option<Duration> {
        let state = self.state.lock();
        (state.way != Way::Straight).then(|| state.bent_at.elapsed())
    }
}

fn record_bytes(record: &Record) -> usize {
    record.key.len() + record.meta.len() + record.value.len()
}
