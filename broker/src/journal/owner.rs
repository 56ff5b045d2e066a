//! A journal's owner: opens it, commits batches, keeps it short, and finds out when it is the owner no more.
//! In: outputs, changes, the input offset reached. Out: the outputs' offsets. Knows nothing of what a change says.

use std::time::Duration;

use bytes::Bytes;
use tidegate_schemas::{JournalKind, JournalMeta, Metadata, Topic, UnixMillis, WRITE_VERSION};

use super::progress::Telling;
use super::round::{Round, Slice};
use super::{Changes, JournalError, Replay, Tables, step};
use crate::broker::Broker;
use crate::error::Error;
use crate::message::Record;

/// Room in a journal message for its metadata.
const META_BYTES_MAX: usize = 4096;
/// How often an idle journal completes a round.
const IDLE_ROUND: Duration = Duration::from_secs(24 * 3600);
/// Bytes of slices in a message of an idle journal.
const IDLE_SLICE_BYTES: usize = 1024 * 1024;
/// Messages and bytes read at a time when a journal is opened: what its owner's thread is held up by.
const READ_MAX: (usize, usize) = (1000, 1024 * 1024);

/// How far the opening of a journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The next offset to read.
    pub offset: u64,
    /// Where reading ends.
    pub end: u64,
}

/// Which journal is opened, and what its owner says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The journal's topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: u32,
    /// Where other processes reach this owner, when they must.
    pub address: Option<String>,
}

impl From<(Topic, u32)> for Place {
    fn from((topic, partition): (Topic, u32)) -> Place {
        Place {
            topic,
            partition,
            address: None,
        }
    }
}

/// What a batch comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The batch's outputs, in order, in any topics.
    pub outputs: Vec<Record>,
    /// What it changes in the tables, as absolute values.
    pub changes: Changes,
    /// The input offset reached: the next message to decide.
    pub input: u64,
}

/// One owner's hold on a journal.
#[derive(Debug)]
pub struct Journal {
    broker: Broker,
    topic: Topic,
    partition: u32,
    epoch: u64,
    next: u64,
    input: u64,
    round: Round,
    completed_at: UnixMillis,
    ended: Option<End>,
}

/// Why an owner writes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Lost,
    InDoubt,
}

impl Journal {
    /// Takes a journal over: appends `open` and rebuilds `tables`, which must be empty, from everything before it.
    /// Returns the journal and the input offset from which to go on.
    ///
    /// # Errors
    /// [`JournalError`]; the journal is not taken over unless its whole content could be read.
    pub async fn open<T: Tables>(
        broker: &Broker,
        place: impl Into<Place>,
        tables: &mut T,
        mut progress: impl FnMut(Progress),
    ) -> Result<(Journal, u64), JournalError> {
        let place = place.into();
        let (topic, partition) = (place.topic, place.partition);
        let epoch = append_open(broker, place).await?;
        let mut replay = Replay::default();
        let mut telling = Telling::of(broker, (topic, partition));
        let mut reader = broker.journal_reader(topic, partition);
        // The `open` itself is read too: it is the last message taken.
        'read: loop {
            for message in reader.next(READ_MAX.0, READ_MAX.1).await? {
                if message.offset > epoch {
                    break 'read;
                }
                replay.take(&message, tables)?;
                if message.offset == epoch {
                    break 'read;
                }
            }
            let come = Progress {
                offset: reader.position(),
                end: epoch,
            };
            telling.tell(come);
            progress(come);
            // As long as messages are at hand nothing else lets the thread's other tasks go on.
            tokio::task::yield_now().await;
        }
        telling.ended();
        let journal = Journal::over(broker, (topic, partition, epoch), &replay);
        Ok((journal, replay.input))
    }

    /// Takes a journal over that this process follows already: appends `open`, and takes from `replayed` where the
    /// follower stands once it has read that offset, the `open` itself. Nothing is read a second time.
    ///
    /// # Errors
    /// [`JournalError`]; [`Error::Closed`] among them when the follower has stopped.
    pub async fn open_followed(
        broker: &Broker,
        place: impl Into<Place>,
        replayed: impl AsyncFnOnce(u64) -> Option<Replay>,
    ) -> Result<Journal, JournalError> {
        let place = place.into();
        let (topic, partition) = (place.topic, place.partition);
        let epoch = append_open(broker, place).await?;
        let replay = replayed(epoch).await.ok_or(Error::Closed)?;
        Ok(Journal::over(broker, (topic, partition, epoch), &replay))
    }

    fn over(broker: &Broker, (topic, partition, epoch): (Topic, u32, u64), replay: &Replay) -> Journal {
        Journal {
            broker: broker.clone(),
            topic,
            partition,
            epoch,
            next: epoch + 1,
            input: replay.input,
            round: Round::after(replay),
            completed_at: broker.now(),
            ended: None,
        }
    }

    /// Whether it writes nothing any more: another has opened it, or it is in doubt.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The offset that the next commit's message will get; its outputs name it.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The offset of this owner's `open`.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The input offset reached.
    #[must_use]
    pub fn input(&self) -> u64 {
        self.input
    }

    /// Bytes of changes that one commit takes at most.
    #[must_use]
    pub fn changes_bytes_max(&self) -> usize {
        let limit = self.broker.message_bytes_max(self.topic);
        limit - META_BYTES_MAX.min(limit / 2)
    }

    /// Commits a batch: its outputs, its changes and the input offset reached, all or nothing. `tables` holds the
    /// changes already. Returns the outputs' offsets. Slices go along, and what is older than a complete round is
    /// trimmed. A call that is dropped before it returns may have written: the journal must then be opened again.
    ///
    /// # Errors
    /// [`JournalError::Lost`] when another owner has opened the journal: nothing was written, and this one writes
    /// nothing any more. [`JournalError::InDoubt`] when only opening it again tells what is in it.
    /// [`JournalError::Append`] when the append was refused; the journal has nothing of it, though outputs may be there.
    pub async fn commit<T: Tables>(&mut self, commit: Commit, tables: &T) -> Result<Vec<u64>, JournalError> {
        let changes_bytes = commit.changes.len_bytes();
        let room = self.changes_bytes_max().saturating_sub(changes_bytes);
        let slice = self
            .round
            .slice(tables, self.round.due_bytes(changes_bytes).min(room / 4 * 3));
        self.write(commit, slice).await
    }

    /// Completes a round of slices if the last one is a day old and anything has changed since. Call it now and then
    /// when there is nothing to commit.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn idle<T: Tables>(&mut self, tables: &T) -> Result<(), JournalError> {
        let due = self.broker.now().since(self.completed_at) >= IDLE_ROUND;
        if due && self.round.is_wanted() {
            self.complete_round(tables).await?;
        }
        Ok(())
    }

    /// Writes the rest of the round at once and trims what it makes superfluous.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn complete_round<T: Tables>(&mut self, tables: &T) -> Result<(), JournalError> {
        loop {
            let slice = self
                .round
                .slice(tables, IDLE_SLICE_BYTES.min(self.changes_bytes_max() / 2));
            let complete = slice.cursor.is_none();
            let rest = Commit {
                input: self.input,
                ..Commit::default()
            };
            self.write(rest, slice).await?;
            if complete {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, commit: Commit, slice: Slice) -> Result<Vec<u64>, JournalError> {
        let Commit {
            outputs: mut batch,
            changes,
            input,
        } = commit;
        let place = (self.topic, self.partition, self.next);
        if let Some(end) = self.ended {
            return Err(self.ended_by(end));
        }
        let meta = JournalMeta {
            v: WRITE_VERSION,
            kind: JournalKind::Commit,
            epoch: self.epoch,
            input,
            changes_bytes: changes.len_bytes() as u64,
            round_start: Some(self.round.start.unwrap_or(self.next)),
            round_complete: slice.cursor.is_none(),
            address: None,
        };
        let value = Bytes::from([changes.as_bytes(), slice.entries.as_bytes()].concat());
        let message_bytes = value.len();
        batch.push(journal_record((self.topic, self.partition), &meta, value));
        step("decided", (self.topic, self.partition));
        let appended = self
            .broker
            .append_journal(&batch, place)
            .await
            .map_err(JournalError::append(place));
        self.ended = match &appended {
            Err(JournalError::Lost { .. }) => Some(End::Lost),
            Err(JournalError::InDoubt { .. }) => Some(End::InDoubt),
            _ => None,
        };
        let mut offsets = appended?;
        offsets.pop();
        self.input = input;
        let written = self
            .round
            .written(self.next, &slice, (changes.len_bytes(), message_bytes));
        self.next += 1;
        step(
            if written.is_some() { "trim" } else { "slice" },
            (self.topic, self.partition),
        );
        if let Some(start) = written {
            self.completed_at = self.broker.now();
            // The commit stands whether or not there is room for the trim; the next round trims further.
            if let Err(error) = self.broker.trim(self.topic, self.partition, start).await {
                tracing::debug!(
                    "{} partition {} is not trimmed: {error}",
                    self.topic,
                    self.partition
                );
            }
        }
        Ok(offsets)
    }

    fn ended_by(&self, end: End) -> JournalError {
        let (topic, partition, offset) = (self.topic.label(), self.partition, self.next);
        match end {
            End::Lost => JournalError::Lost {
                topic,
                partition,
                offset,
            },
            End::InDoubt => JournalError::InDoubt {
                topic,
                partition,
                reason: format!("the answer for offset {offset} never came"),
            },
        }
    }
}

/// Appends `open`, whose offset is the new owner's epoch.
async fn append_open(broker: &Broker, place: Place) -> Result<u64, JournalError> {
    let Place {
        topic,
        partition,
        address,
    } = place;
    let meta = JournalMeta {
        v: WRITE_VERSION,
        kind: JournalKind::Open,
        epoch: 0,
        input: 0,
        changes_bytes: 0,
        round_start: None,
        round_complete: false,
        address,
    };
    let record = journal_record((topic, partition), &meta, Bytes::new());
    let offsets = broker
        .append(vec![record])
        .await
        .map_err(JournalError::append((topic, partition, 0)))?;
    step("opened", (topic, partition));
    offsets.first().copied().ok_or(JournalError::Read(Error::Closed))
}

fn journal_record((topic, partition): (Topic, u32), meta: &JournalMeta, value: Bytes) -> Record {
    Record {
        topic,
        partition,
        key: Bytes::new(),
        meta: Bytes::from(meta.encode()),
        value,
    }
}
