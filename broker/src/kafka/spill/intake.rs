//! The way of a request: straight to Kafka, or into the spill behind everything that came before it ([`super::line`]).
//! In: batches of requests. Out: their offsets in Kafka, or none when they lie in the spill, durably. One task writes
//! what queues to the store; how that comes to Kafka is the [drain](super::drain)'s business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::line::{Entered, Line, Queued, Sent, UnderWay, Writing, Written};
use super::outlet::Outlet;
use super::store::Store;
use crate::error::AppendError;
use crate::message::Record;
use crate::metrics;

/// How often it is looked what lies in the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So little lies in the store when new requests are held back for a moment, so that it becomes empty under load too.
const LITTLE: (u64, u64) = (10_000, 8 * 1024 * 1024);

/// Takes requests, whether Kafka answers or not.
pub struct Intake<O> {
    pub outlet: O,
    pub store: Store,
    timeout: Duration,
    line: Arc<Line>,
    /// Whether Kafka answered the drain in time when it was last asked to take something.
    in_time: AtomicBool,
    /// Partitions in which something lies, and which have taken nothing since it lies there.
    silent: AtomicUsize,
    life: watch::Sender<Life>,
}

/// How far the intake is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The cluster was not asked yet: nothing is sent to it.
    Unreached,
    /// It has answered once, and its topics are as they should be.
    Reached,
    /// Nothing more is taken.
    Closed,
}

/// A partition in which something lies, and which takes nothing yet.
pub struct Silence<'a>(&'a AtomicUsize);

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

impl<O: Outlet> Intake<O> {
    /// An intake that spills until the cluster is reached.
    pub fn new(outlet: O, store: Store, timeout: Duration) -> Self {
        Self {
            outlet,
            store,
            timeout,
            line: Arc::new(Line::spilling()),
            in_time: AtomicBool::new(true),
            silent: AtomicUsize::new(0),
            life: watch::Sender::new(Life::Unreached),
        }
    }

    /// Takes a batch; returns when it is durable: its offsets in Kafka, or nothing when it lies in the spill.
    ///
    /// # Errors
    /// [`AppendError::SpillFull`], and what Kafka refuses for good.
    pub async fn append(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        let mut entered = self.line.enter(batch);
        loop {
            let written = match entered {
                Entered::Queued(written) => written,
                Entered::Straight(under_way) => match self.send(under_way, batch).await {
                    Ok(answered) => return answered,
                    Err(written) => written,
                },
            };
            entered = match written.await {
                Ok(Ok(Written::Kept)) => return Ok(Vec::new()),
                Ok(Ok(Written::Released(under_way))) => Entered::Straight(under_way),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(AppendError::Closed),
            };
        }
    }

    /// Sends a batch straight; what Kafka does not take in time queues.
    async fn send(
        &self,
        under_way: UnderWay,
        batch: &[Record],
    ) -> Result<Result<Vec<u64>, AppendError>, Writing> {
        let answered = tokio::time::timeout(self.timeout, self.outlet.send(batch)).await;
        let sent = match answered {
            Ok(Err(AppendError::Busy { .. } | AppendError::Closed)) => Sent::Never,
            Ok(Err(AppendError::Unanswered { .. })) | Err(_) => Sent::Unanswered,
            Ok(answered) => return Ok(answered),
        };
        let until = Instant::now() + self.timeout;
        let (writing, turns) = self.line.turn(under_way, (batch, sent), until);
        if turns {
            self.in_time.store(false, Release);
            self.outlet.purge();
            tracing::warn!("Kafka does not answer in time: requests go into the spill (broker.kafka.spill)");
        }
        Err(writing)
    }

    /// Writes what queues to the store for as long as it is polled.
    pub async fn write(self: Arc<Self>) {
        loop {
            self.line.changed().await;
            loop {
                let taken = self.line.take(Instant::now());
                if taken.is_empty() {
                    break;
                }
                self.put(taken).await;
            }
        }
    }

    async fn put(&self, taken: Vec<Queued>) {
        let count = |sent| {
            let batches = taken.iter().filter(|queued| queued.sent == sent);
            batches.map(|queued| queued.batch.len()).sum()
        };
        let counts: (usize, usize) = (count(Sent::Never), count(Sent::Unanswered));
        let (batches, dones): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .map(|queued| (queued.batch, queued.done))
            .unzip();
        let put = self.store.put(batches.into_iter().flatten()).await;
        match &put {
            Ok(()) => metrics::spilled(counts.0, counts.1),
            Err(_) => {
                metrics::spill_refused(counts.0 + counts.1);
                // Perhaps nothing lies there to be drained: then only a request can tell whether Kafka is back.
                self.in_time.store(true, Release);
            }
        }
        self.line.written();
        for done in dones {
            // Whoever waited may have hung up; what is written is sent on all the same.
            let _ = done.send(put.clone().map(|()| Written::Kept));
        }
        self.settle();
    }

    /// A batch of the store was acknowledged after so long. Somebody slow would turn the next request at once, and have
    /// it twice: as long as Kafka is slow, requests go by way of the spill.
    pub fn acknowledged(&self, after: Duration) {
        let in_time = after < self.timeout;
        self.in_time.store(in_time, Release);
        self.settle();
        let standing = self.store.standing();
        let is_little = standing.requests <= LITTLE.0 && standing.bytes <= LITTLE.1;
        if in_time && is_little && self.silent.load(Acquire) == 0 {
            self.line.hold_back(Instant::now() + self.timeout);
        }
    }

    /// Counts a partition as silent for as long as this is held: while one is, the store does not become empty soon.
    pub fn silence(&self) -> Silence<'_> {
        self.silent.fetch_add(1, AcqRel);
        Silence(&self.silent)
    }

    /// A batch of the store was not acknowledged, or its partition does not answer.
    pub fn unanswered(&self) {
        self.in_time.store(false, Release);
        self.line.hold_no_longer();
    }

    /// Goes straight again once nothing is left that must be sent before, and Kafka answers in time.
    fn settle(&self) {
        if !self.in_time.load(Acquire) || *self.life.borrow() != Life::Reached {
            return;
        }
        if let Some(spilled_for) = self.line.straighten(|| self.store.is_empty()) {
            tracing::info!(?spilled_for, "the spill is empty: requests go straight to Kafka");
        }
    }

    /// Whether more requests are taken.
    pub fn has_space(&self) -> bool {
        self.line.is_straight() || self.store.has_space()
    }

    /// Since when requests do not go straight; `None` when they do.
    pub fn spills_for(&self) -> Option<Duration> {
        self.line.bent_for()
    }

    /// The cluster has answered, and its topics are as they should be: what lies in the store may be sent.
    pub fn reached(&self) {
        self.live(Life::Reached);
        self.settle();
    }

    /// The drains end after what they are at.
    pub fn close(&self) {
        self.live(Life::Closed);
    }

    fn live(&self, life: Life) {
        self.life.send_if_modified(|now| {
            let goes_on = *now != Life::Closed && *now != life;
            if goes_on {
                *now = life;
            }
            goes_on
        });
    }

    /// Whether nothing more is taken.
    pub fn is_closed(&self) -> bool {
        *self.life.borrow() == Life::Closed
    }

    /// How far it is, as it changes.
    pub fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Asks whether Kafka answers in time again, where no drain does because nothing lies in the store.
    async fn ask(&self, partition: u32) {
        let is_idle = self.store.is_empty() && !self.line.is_straight();
        if !is_idle || *self.life.borrow() != Life::Reached {
            return;
        }
        let answers = tokio::time::timeout(self.timeout, self.outlet.answers(partition)).await;
        if answers == Ok(true) {
            self.in_time.store(true, Release);
            self.settle();
        }
    }

    /// Shows what lies in the store, and looks after a way that is still bent though it need not be, for as long as it is
    /// polled.
    pub async fn look_after(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        for tick in 0.. {
            every.tick().await;
            self.ask(tick % self.store.partitions()).await;
            let standing = self.store.standing();
            let age = standing.oldest.map(|oldest| self.store.now().since(oldest));
            metrics::spill(&standing, age.unwrap_or_default());
        }
    }
}
