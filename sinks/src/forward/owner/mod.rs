//! The owner of one partition of `events`: the one task that decides for it. In: messages, ended attempts, due times.
//! Out: attempts begun, and batches committed. Everything it knows is in its tables or can be read again from `events`.

mod batch;
mod command;
mod intake;
mod launch;
mod queue;
mod settle;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_broker::journal::Journal;
use tidegate_broker::{Reader, Tenure};
use tidegate_schemas::{EndpointId, Topic, UnixMillis};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::attempt::Attempted;
use super::event::Event;
use super::gate::Wake;
use super::parked::Key;
use super::tables::SharedTables;
use super::{Error, Kept, Shared, metrics};
use batch::Batch;
use queue::Queue;

/// How often blocked queues are looked at, and gauges set, when nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// One partition's owner.
pub(super) struct Owner {
    shared: Arc<Shared>,
    partition: u32,
    reader: Reader,
    journal: Journal,
    tables: SharedTables,
    kept: Arc<Kept>,
    /// By the endpoint's index in the tables.
    queues: HashMap<u32, Queue>,
    /// Queues that are blocked, or have more waiting than is in memory.
    stalled: BTreeSet<u32>,
    /// Deliveries in memory: queued, being read again, or being tried.
    live: HashMap<Key, Live>,
    works: JoinSet<Work>,
    /// The attempt that each task makes, so that even a panic ends it.
    attempts: HashMap<Id, Key>,
    wake: Arc<Wake>,
    batch: Batch,
    ticked_at: UnixMillis,
    /// When the first blocked queue may go on.
    revive_at: UnixMillis,
}

/// A delivery in memory.
struct Live {
    state: State,
    form: Form,
    /// Tries that have ended.
    tries: u8,
    /// When its schedule is over.
    ends: UnixMillis,
    /// Its cancellation was asked for.
    cancelled: bool,
    /// Bytes that are counted as held for it.
    held_bytes: usize,
}

/// Events that were read again, each with the delivery it was read for; `None` where it is gone.
type Fetched = Result<Vec<(Key, Option<Arc<Event>>)>, (Vec<Key>, tidegate_broker::Error)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In its endpoint's queue.
    Queued,
    /// Its event is being read again.
    Fetching,
    /// An attempt is under way, until this time at the latest.
    InFlight { until: UnixMillis },
}

/// How the tables hold a delivery that is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Not at all: its event was read since the last commit.
    Unwritten,
    /// Among the offsets that wait for its endpoint.
    Waiting,
    /// Parked.
    Parked,
}

/// What a task of the owner brings back.
enum Work {
    /// An attempt has ended.
    Attempted(Key, Box<Attempted>),
    /// Events were read again.
    Fetched(Fetched),
    /// The registry was read to its end for an endpoint that is not in it.
    LookedUp(u32, bool),
}

impl Owner {
    /// Takes the partition over: its journal is read, and everything in it waits to be tried.
    pub(super) async fn open(shared: Arc<Shared>, partition: u32, kept: Arc<Kept>) -> Result<Self, Error> {
        let mut tables = kept.tables.clone();
        tables.reset();
        let place = (Topic::Retries, partition);
        let opened = Journal::open(&shared.broker, place, &mut tables, |progress| {
            tracing::debug!(
                partition,
                offset = progress.offset,
                end = progress.end,
                "reading the journal"
            );
        });
        let (journal, input) = opened
            .await
            .map_err(|source| Error::Journal { partition, source })?;
        kept.input.store(input, Ordering::Release);
        kept.loaded.store(true, Ordering::Release);
        let reader = shared.broker.reader(Topic::Events, partition, input);
        let mut owner = Self {
            partition,
            reader,
            journal,
            tables,
            kept,
            queues: HashMap::new(),
            stalled: BTreeSet::new(),
            live: HashMap::new(),
            works: JoinSet::new(),
            attempts: HashMap::new(),
            wake: Arc::default(),
            batch: Batch::from(input),
            ticked_at: UnixMillis(0),
            revive_at: UnixMillis(0),
            shared,
        };
        let waited_for = owner.tables.lock().endpoints_waited_for();
        for index in waited_for {
            owner.queue(index).backlog = true;
            owner.stalled.insert(index);
        }
        Ok(owner)
    }

    /// Forwards until it is told to end, then lets attempts end and commits.
    pub(super) async fn run(mut self, tenure: &Tenure) -> Result<(), Error> {
        let limits = (
            self.shared.config.read_messages_max,
            self.shared.config.read_bytes_max,
        );
        let clock = self.shared.clock.clone();
        loop {
            let (commit_at, next) = (self.commit_at(), self.next_time());
            tokio::select! {
                () = tenure.told().cancelled() => break,
                Some(ended) = self.works.join_next_with_id(), if !self.works.is_empty() => self.take_work(ended)?,
                endpoints = self.wake.woken() => self.take_wake(&endpoints),
                messages = self.reader.next(limits.0, limits.1) => {
                    let read = |source| Error::Read { partition: self.partition, source };
                    let messages = messages.map_err(read)?;
                    self.take_messages(messages)?;
                }
                () = clock.wait_until(next) => {
                    self.tick();
                    self.idle().await?;
                }
                () = tokio::time::sleep_until(commit_at.unwrap_or_else(Instant::now)), if commit_at.is_some() => {}
            }
            if self.batch.is_due(&self.shared.config) {
                self.commit().await?;
            }
        }
        self.drain(tenure.patience()).await
    }

    /// Lets attempts end, for so long at most, and commits; what is still under way then is journalled as parked.
    async fn drain(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        let configured = Duration::from_millis(self.shared.config.drain_ms);
        let until = Instant::now() + patience.unwrap_or(configured).min(configured);
        // What is queued is not begun any more; it is journalled as waiting.
        self.release_queued();
        while !self.works.is_empty() {
            match tokio::time::timeout_at(until, self.works.join_next_with_id()).await {
                Ok(Some(ended)) => self.take_work(ended)?,
                Ok(None) | Err(_) => break,
            }
            self.release_queued();
        }
        self.commit().await
    }

    /// Takes what a task brought, and whatever else has ended meanwhile.
    fn take_work(&mut self, ended: Result<(Id, Work), JoinError>) -> Result<(), Error> {
        let mut next = Some(ended);
        let mut touched = BTreeSet::new();
        while let Some(ended) = next {
            match ended {
                Ok((id, Work::Attempted(key, attempted))) => {
                    self.attempts.remove(&id);
                    self.settle(key, *attempted);
                    touched.insert(key.endpoint);
                }
                Ok((_, Work::Fetched(fetched))) => touched.extend(self.take_fetched(fetched)),
                Ok((_, Work::LookedUp(index, certain))) => {
                    self.looked_up(index, certain);
                    touched.insert(index);
                }
                Err(error) => touched.extend(self.settle_panicked(&error)?),
            }
            next = if self.batch.is_due(&self.shared.config) {
                None
            } else {
                self.works.try_join_next_with_id()
            };
        }
        touched.into_iter().for_each(|index| self.launch(index));
        Ok(())
    }

    fn take_wake(&mut self, endpoints: &[EndpointId]) {
        for endpoint in endpoints {
            let index = self.tables.lock().index_of(*endpoint);
            let queue = self.queue(index);
            if queue.ready.is_empty() {
                let gate = queue.gate.clone();
                self.shared.gates.pass_on(&gate);
            }
            self.launch(index);
        }
    }

    /// Looks after what has become due, and after queues that stood still.
    fn tick(&mut self) {
        let now = self.shared.clock.now();
        self.take_due(now);
        let ticks = now.since(self.ticked_at) >= TICK;
        if ticks || now >= self.revive_at {
            self.revive_at = UnixMillis::MAX;
            for index in self.stalled.iter().copied().collect::<Vec<_>>() {
                self.revive(index, now);
            }
        }
        if ticks {
            self.ticked_at = now;
            let (counts, bytes) = {
                let tables = self.tables.lock();
                ((tables.parked.len(), tables.waiting_len()), tables.bytes())
            };
            metrics::state(self.partition, counts, bytes);

            metrics::held(self.shared.held_bytes.load(Ordering::Relaxed));
        }
    }

    /// When the clock must be looked at again.
    fn next_time(&self) -> UnixMillis {
        let tick = self.ticked_at.after(TICK);
        let due = self.tables.lock().parked.next_due().unwrap_or(tick);
        tick.min(due).min(self.revive_at)
    }

    fn commit_at(&self) -> Option<Instant> {
        let interval = Duration::from_millis(self.shared.config.commit_interval_ms);
        self.batch.since.map(|since| since + interval)
    }
}
