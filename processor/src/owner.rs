//! The one task that decides for a partition of `requests`: reads batches, lets the pipeline decide, and commits what
//! came of them with the state in one append. In: messages, and what was set aside when it is due. Out: events,
//! outcomes and journal messages. After a failure that may pass it begins again from its journal.

mod deciding;
mod firing;
mod second_reader;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::journal::{Changes, Commit, Journal, JournalError};
use tidegate_broker::{Broker, Message, Reader, Record};
use tidegate_schemas::{Topic, UnixMillis};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::Error;
use crate::flood::FingerprintKey;
use crate::kept::Kept;
use crate::metrics;
use crate::pipeline::Pipeline;
use crate::request::{Replay, Request, Taken, take};
use crate::state::{Aside, State};
use firing::Clock;

/// How often an owner without input looks after its journal.
const IDLE_EVERY: Duration = Duration::from_secs(60);
/// How much of a frame the outputs that go with a journal message may take.
const OUTPUT_SHARE: usize = 2;
/// How long an owner that has lost its journal waits to hear that it has lost the partition too.
const LOST_PAUSE: Duration = Duration::from_secs(3);

/// The owner of one partition.
pub(crate) struct Owner {
    pub partition: u32,
    pub broker: Broker,
    pub pipeline: Arc<Pipeline>,
    pub kept: Arc<Kept>,
    pub stop: CancellationToken,
}

impl Owner {
    /// Decides for the partition until it is told to stop or another owner takes over.
    ///
    /// # Errors
    /// What does not pass: a message of a newer Tidegate, a damaged log or journal.
    pub async fn run(self) -> Result<(), Error> {
        loop {
            let owned = self.own().await;
            metrics::forget(self.partition);
            let error = match owned {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let is_lost = matches!(
                error,
                Error::Journal {
                    source: JournalError::Lost { .. },
                    ..
                }
            );
            if is_lost && !self.broker.is_shared() {
                let partition = self.partition;
                tracing::info!(partition, "another owner has taken over the partition");
                return Ok(());
            }
            if !is_lost && !error.is_retryable() {
                return Err(error);
            }
            // Where a group shares partitions out, it tells soon who has lost this one. Until then it may be that a
            // former owner's last message came late, and nobody else is there to go on.
            let pause = if is_lost {
                LOST_PAUSE
            } else {
                self.pipeline.config.reopen_after()
            };
            tracing::warn!(partition = self.partition, %error, "the partition begins again");
            metrics::count_reopened();
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn own(&self) -> Result<(), Error> {
        let partition = self.partition;
        let mut state = State::new(&self.pipeline.limits);
        let opening = Journal::open(&self.broker, (Topic::State, partition), &mut state, |_| {});
        // A long journal is given up at once when its partition goes to another process.
        let Some(opened) = self.stop.run_until_cancelled(opening).await else {
            return Ok(());
        };
        let (journal, input) = opened.map_err(|source| Error::Journal { partition, source })?;
        let clock = Clock::from(self.broker.now());
        state
            .flood
            .begin(clock.now(), || FingerprintKey(*Uuid::new_v4().as_bytes()));
        metrics::set_fill(partition, &state.flood.fill(), clock.now());
        // Only now are the windows known that still point at requests.
        self.kept
            .begin((input, state.flood.windows_from()), state.shared_set_aside());
        let ownership = Ownership {
            owner: self,
            reader: self.broker.reader(Topic::Requests, partition, input),
            fetches: self.pipeline.keys.fetches(),
            fetches_seen: 0,
            journal,
            state,
            input,
            now: clock.now(),
            clock,
        };
        ownership.decide().await
    }

    fn read_error(&self, source: tidegate_broker::Error) -> Error {
        Error::Read {
            partition: self.partition,
            source,
        }
    }

    fn journal_error(&self, source: JournalError) -> Error {
        Error::Journal {
            partition: self.partition,
            source,
        }
    }
}

/// A partition while it is owned.
struct Ownership<'o> {
    owner: &'o Owner,
    reader: Reader,
    journal: Journal,
    state: State,
    /// The next message to decide.
    input: u64,
    clock: Clock,
    /// The time by which is decided: no window is overdue at it.
    now: UnixMillis,
    fetches: watch::Receiver<u64>,
    fetches_seen: u64,
}

/// A request with the input offset that is reached when it has been decided.
struct Work {
    request: Request,
    input: u64,
    /// Where it stands in the table of what is set aside, if it was.
    aside: Option<Aside>,
}

impl Ownership<'_> {
    async fn decide(mut self) -> Result<(), Error> {
        let config = &self.owner.pipeline.config;
        let (messages_max, bytes_max) = (config.read_messages_max, config.read_bytes_max);
        loop {
            self.fire_due().await?;
            let due = self.due_in();
            let mut idle = false;
            let mut messages = Vec::new();
            tokio::select! {
                () = self.owner.stop.cancelled() => return Ok(()),
                read = self.reader.next(messages_max, bytes_max) => {
                    messages = read.map_err(|error| self.owner.read_error(error))?;
                }
                () = tokio::time::sleep(due) => idle = due == IDLE_EVERY,
                _ = self.fetches.changed() => {}
            }
            self.wake_fetched();
            self.decide_all(messages).await?;
            if idle {
                let idle = self.journal.idle(&self.state).await;
                idle.map_err(|error| self.owner.journal_error(error))?;
            }
        }
    }

    /// Decides whose turn it is of what was set aside, and then what was read.
    async fn decide_all(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        let end = messages.last().map_or(self.input, |last| last.offset + 1);
        let body_bytes: usize = messages.iter().map(|message| message.value.len()).sum();
        let read = messages.len();
        let mut works = self.due_again().await?;
        works.extend(self.take(messages).await?);
        if works.is_empty() && end == self.input {
            return Ok(());
        }
        self.decide_works(works, end).await?;
        metrics::count_batch(read as u64, body_bytes as u64);
        let behind = self
            .owner
            .broker
            .offsets(Topic::Requests, self.owner.partition)
            .end;
        metrics::set_lag(self.owner.partition, behind.saturating_sub(self.input));
        metrics::set_aside_bytes(self.owner.partition, self.state.set_aside().len_bytes());
        metrics::set_fill(self.owner.partition, &self.state.flood.fill(), self.now);
        Ok(())
    }

    /// What the messages ask to decide, in their order; the requests that commands name are read in one pass.
    async fn take(&self, messages: Vec<Message>) -> Result<Vec<Work>, Error> {
        enum Asked {
            Work(Work),
            Replay(Replay, u64),
        }
        let mut asked = Vec::with_capacity(messages.len());
        let mut pointers = Vec::new();
        for message in messages {
            let input = message.offset + 1;
            match self.take_message(message)? {
                Taken::Request(request) => asked.push(Asked::Work(Work {
                    request,
                    input,
                    aside: None,
                })),
                Taken::Replay(replay) => {
                    pointers.push(replay.pointer);
                    asked.push(Asked::Replay(replay, input));
                }
                Taken::PassOver => {}
            }
        }
        let mut found: VecDeque<Option<Message>> = VecDeque::new();
        if !pointers.is_empty() {
            let read = self.owner.broker.read(Topic::Requests, &pointers).await;
            found = read.map_err(|error| self.owner.read_error(error))?.into();
        }
        let resolve = |asked| match asked {
            Asked::Work(work) => Ok(work),
            Asked::Replay(replay, input) => {
                let offset = replay.pointer.offset;
                let request = replay.resolve(found.pop_front().flatten());
                let request = request.map_err(|source| self.newer(offset, source))?;
                Ok(Work {
                    request,
                    input,
                    aside: None,
                })
            }
        };
        asked.into_iter().map(resolve).collect()
    }

    fn take_message(&self, message: Message) -> Result<Taken, Error> {
        let offset = message.offset;
        take(message).map_err(|source| self.newer(offset, source))
    }

    fn newer(&self, offset: u64, source: tidegate_schemas::MetaError) -> Error {
        Error::Newer {
            partition: self.owner.partition,
            offset,
            source,
        }
    }

    /// Appends the outputs with the journal's message in one frame. What one frame cannot hold goes ahead of it: those
    /// events are decided again, with the same ids, if this process ends before the commit.
    async fn commit(&mut self, mut records: Vec<Record>, input: u64) -> Result<(), Error> {
        let mut changes = Changes::with_capacity(self.state.changes_bytes());
        self.state.write_changes(&mut changes);
        if records.is_empty() && changes.is_empty() && input == self.input {
            return Ok(());
        }
        let frame_bytes = self.owner.broker.batch_bytes_max() / OUTPUT_SHARE;
        while let Some(behind) = first_frame(&records, frame_bytes) {
            let last = records.split_off(behind);
            let appended = self
                .owner
                .broker
                .append(std::mem::replace(&mut records, last))
                .await;
            appended.map_err(|source| Error::Append {
                partition: self.owner.partition,
                source,
            })?;
        }
        let commit = Commit {
            outputs: records,
            changes,
            input,
        };
        let committed = self.journal.commit(commit, &self.state).await;
        committed.map_err(|error| self.owner.journal_error(error))?;
        self.input = input;
        self.owner.kept.reached(input, self.state.flood.windows_from());
        self.owner
            .broker
            .reached(Topic::Requests, self.owner.partition, input);
        Ok(())
    }
}

/// How many records fill a frame of `bytes_max`; `None` when all of them fit.
fn first_frame(records: &[Record], bytes_max: usize) -> Option<usize> {
    /// What a frame needs for a record beside its bytes.
    const RECORD_BYTES: usize = 64;
    let mut bytes = 0;
    for (at, record) in records.iter().enumerate() {
        bytes += record.key.len() + record.meta.len() + record.value.len() + RECORD_BYTES;
        if bytes > bytes_max && at > 0 {
            return Some(at);
        }
    }
    None
}
