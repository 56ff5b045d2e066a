//! What an owner has done since its last commit, and the commit: rows and dead letters as outputs, all changes and the
//! input offset in one journal message. In: changes, as they are made. Out: one atomic append.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tidegate_broker::Record;
use tidegate_broker::journal::{Changes, Commit};
use tidegate_schemas::{Metadata, RowsMeta, Topic, WRITE_VERSION};
use tokio::time::Instant;

use super::super::change::{Change, runs_of};
use super::super::metrics::Tally;
use super::super::parked::{Key, Parked};
use super::super::rows::Rows;
use super::super::tables::Tables;
use super::super::{Config, Error};
use super::{Form, Owner, State};

/// A batch is committed when its outputs, or its changes, reach this size.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// How soon a refused commit is tried again.
const COMMIT_AGAIN: Duration = Duration::from_millis(500);

/// Not yet committed.
pub(super) struct Batch {
    /// When the first of it was done.
    pub(super) since: Option<Instant>,
    /// The next offset to read.
    pub(super) input: u64,
    pub(super) rows: Rows,
    pub(super) dead: Vec<Record>,
    pub(super) dead_bytes: usize,
    /// Attempts and deliveries that ended.
    pub(super) ended: usize,
    pub(super) tally: Tally,
    changes: Changes,
    /// Per endpoint: offsets that wait from now on (or no more).
    waiting: HashMap<u32, BTreeMap<u64, bool>>,
    waiting_len: usize,
    /// Deliveries queued, and attempts begun, since the last commit.
    pub(super) queued: Vec<Key>,
    pub(super) begun: Vec<Key>,
}

impl Batch {
    pub(super) fn from(input: u64) -> Self {
        Self {
            since: None,
            input,
            rows: Rows::default(),
            dead: Vec::new(),
            dead_bytes: 0,
            ended: 0,
            tally: Tally::default(),
            changes: Changes::new(),
            waiting: HashMap::new(),
            waiting_len: 0,
            queued: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// Something was done that must be committed.
    pub(super) fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn is_due(&self, config: &Config) -> bool {
        let Some(since) = self.since else { return false };
        self.ended >= config.commit_attempts_max
            || self.rows.len_bytes() + self.dead_bytes >= BYTES_MAX
            || self.changes.len_bytes() + self.waiting_len * 8 >= BYTES_MAX
            || since.elapsed() >= Duration::from_millis(config.commit_interval_ms)
    }

    fn encode(&mut self, tables: &Tables) -> Changes {
        for (index, offsets) in self.waiting.drain() {
            let endpoint = tables.endpoint(index);
            let those = |waits: bool| {
                let offsets = offsets.iter().filter(move |(_, now)| **now == waits);
                runs_of(&offsets.map(|(offset, _)| *offset).collect::<Vec<_>>())
            };
            let (wait, stop) = (those(true), those(false));
            if !wait.is_empty() {
                self.changes.push(&Change::Wait { endpoint, runs: wait }.encode());
            }
            if !stop.is_empty() {
                self.changes
                    .push(&Change::StopWaiting { endpoint, runs: stop }.encode());
            }
        }
        self.waiting_len = 0;
        std::mem::take(&mut self.changes)
    }
}

impl Owner {
    /// The delivery waits among its endpoint's offsets.
    pub(super) fn wait(&mut self, key: Key) {
        self.tables.lock().wait(key);
        self.note_waiting(key, true);
    }

    fn note_waiting(&mut self, key: Key, waits: bool) {
        self.batch
            .waiting
            .entry(key.endpoint)
            .or_default()
            .insert(key.offset, waits);
        self.batch.waiting_len += 1;
        self.batch.touch();
    }

    /// The delivery is parked; it was held as `form` before.
    pub(super) fn park(&mut self, parked: Parked, form: Form) {
        self.note_parked(parked, form);
        self.tables.lock().parked.park(parked);
    }

    fn note_parked(&mut self, parked: Parked, form: Form) {
        if form == Form::Waiting {
            self.forget(parked.key, form);
        }
        let endpoint = self.tables.lock().endpoint(parked.key.endpoint);
        self.batch
            .changes
            .push(&Change::Park { endpoint, parked }.encode());
        self.batch.touch();
    }

    /// The tables hold the delivery no more.
    pub(super) fn forget(&mut self, key: Key, form: Form) {
        match form {
            Form::Unwritten => {}
            Form::Waiting => {
                self.tables.lock().stop_waiting(key);
                self.note_waiting(key, false);
            }
            Form::Parked => {
                let mut tables = self.tables.lock();
                tables.parked.remove(key);
                let change = Change::Unpark {
                    endpoint: tables.endpoint(key.endpoint),
                    offset: key.offset,
                };
                drop(tables);
                self.batch.changes.push(&change.encode());
                self.batch.touch();
            }
        }
    }

    /// Journals what is in memory only: what is queued as waiting, what is being tried as parked until its time ends.
    fn write_down_live(&mut self) {
        for key in std::mem::take(&mut self.batch.begun) {
            let Some(live) = self.live.get_mut(&key) else {
                continue;
            };
            let State::InFlight { until } = live.state else {
                continue;
            };
            let form = std::mem::replace(&mut live.form, Form::Parked);
            let parked = Parked {
                key,
                tries: live.tries,
                due: until,
                ends: live.ends,
            };
            self.note_parked(parked, form);
            self.tables.lock().parked.park_taken(parked);
        }
        for key in std::mem::take(&mut self.batch.queued) {
            let Some(live) = self.live.get_mut(&key) else {
                continue;
            };
            if live.state == State::Queued && live.form == Form::Unwritten {
                live.form = Form::Waiting;
                self.wait(key);
            }
        }
    }

    /// Commits what was done. A log without room is waited for: nothing is read or begun meanwhile.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        if self.batch.since.is_none() {
            return Ok(());
        }
        self.write_down_live();
        let (before, input) = (self.journal.input(), self.batch.input);
        let mut outputs = self.outputs();
        let changes = self.batch.encode(&self.tables.lock());
        self.batch.tally.report();
        self.batch = Batch::from(input);
        // Many large dead letters may be more than one append takes. Those that go ahead are written twice after a
        // crash, under the same delivery id.
        while let Some(ahead) = take_beyond(&mut outputs, self.shared.broker.batch_bytes_max() / 2) {
            self.append(Commit {
                outputs: ahead,
                changes: Changes::new(),
                input: before,
            })
            .await?;
        }
        self.append(Commit {
            outputs,
            changes,
            input,
        })
        .await?;
        self.kept.input.store(input, Ordering::Release);
        self.shared.broker.reached(Topic::Events, self.partition, input);
        Ok(())
    }

    /// An idle journal still completes a round now and then.
    pub(super) async fn idle(&mut self) -> Result<(), Error> {
        if self.batch.since.is_some() {
            return Ok(());
        }
        match self.journal.idle(&self.tables).await {
            Err(error) if !error.is_retryable() => Err(Error::Journal {
                partition: self.partition,
                source: error,
            }),
            // Without room it is tried again at the next tick.
            _ => Ok(()),
        }
    }

    async fn append(&mut self, commit: Commit) -> Result<(), Error> {
        loop {
            let done = self.journal.commit(commit.clone(), &self.tables).await;
            match done {
                Ok(_) => return Ok(()),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(partition = self.partition, %error, "a commit of forwarding waits");
                    tokio::time::sleep(COMMIT_AGAIN).await;
                }
                Err(source) => {
                    return Err(Error::Journal {
                        partition: self.partition,
                        source,
                    });
                }
            }
        }
    }

    fn outputs(&mut self) -> Vec<Record> {
        let commit = self.journal.next_offset();
        let partition = self.partition % self.shared.broker.partitions(Topic::Attempts).max(1);
        let mut outputs = std::mem::take(&mut self.batch.dead);
        outputs.extend(self.batch.rows.take().into_iter().map(|(rows, lines)| {
            Record {
                topic: Topic::Attempts,
                partition,
                key: Bytes::new(),
                meta: RowsMeta {
                    v: WRITE_VERSION,
                    rows,
                    commit,
                }
                .encode()
                .into(),
                value: lines.into(),
            }
        }));
        outputs
    }
}

/// Takes as many records from the front as fit into `bytes_max`, at least one, when all of them do not fit.
fn take_beyond(records: &mut Vec<Record>, bytes_max: usize) -> Option<Vec<Record>> {
    let bytes = |record: &Record| record.key.len() + record.meta.len() + record.value.len();
    let mut sum = 0;
    let fits = records.iter().take_while(|record| {
        sum += bytes(record);
        sum <= bytes_max
    });
    let count = fits.count().max(1);
    (count < records.len()).then(|| records.drain(..count).collect())
}
