//! What cannot be decided yet: pointers to requests and events that are read again, in queues by what they wait for.
//! In: pointers with a cause, and wake-ups. Out: one due run at a time, the queues taking turns; the journal's changes.
//! Reads no request and no clock; decides nothing about an event.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::time::Duration;

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_schemas::UnixMillis;

pub(crate) use run::Entry;
use run::{Run, read_varint, write_varint};

use crate::rates::Pace;

/// What a queue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// A key that must be fetched; the queue's name is its address.
    Key,
    /// A connection that is still being created; the queue's name is the integration's id.
    Connection,
    /// Its turn; the queue's name is the integration's id and the connection's.
    Rate,
}

/// Pointers that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Queue {
    pub cause: Cause,
    pub name: Box<str>,
}

/// A run's place: its queue and its number.
pub(crate) type RunKey = (Queue, u64);

/// When something is set aside, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// When it was set aside first.
    pub since: UnixMillis,
    /// When it is to be read again without a wake-up.
    pub due: UnixMillis,
    /// How long it may wait in all.
    pub longest: Duration,
}

/// No more may be set aside within the partition's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Everything that one partition has set aside.
#[derive(Debug)]
pub(crate) struct SetAside {
    bytes_max: usize,
    queues: BTreeMap<Queue, Waiting>,
    dirty: BTreeSet<RunKey>,
    served: Option<Queue>,
    next_run: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    runs: BTreeMap<u64, Run>,
    by_due: BTreeSet<(UnixMillis, u64)>,
    /// Before this none of them is due.
    not_before: UnixMillis,
    /// The rates at which they are served, once these are known.
    pace: Pace,
}

impl Waiting {
    /// The run that is due first, and when.
    fn first(&self) -> Option<(UnixMillis, u64)> {
        let &(due, number) = self.by_due.first()?;
        Some((due.max(self.not_before), number))
    }
}

/// What a run costs beside its pointers: keys, index and the maps' share, in bytes.
const RUN_OVERHEAD_BYTES: usize = 160;
const TAG_PUT: u8 = 1;
const TAG_REMOVE: u8 = 2;

/// The changes that belong to this table.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = TAG_PUT..=TAG_REMOVE;

impl SetAside {
    /// Nothing yet, and never more than `bytes_max` bytes of it.
    pub fn within(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            queues: BTreeMap::new(),
            dirty: BTreeSet::new(),
            served: None,
            next_run: 0,
            bytes: 0,
        }
    }

    /// Sets one pointer aside.
    pub fn push(&mut self, queue: Queue, entry: Entry, wait: Wait) -> Result<(), Full> {
        if self.bytes + RUN_OVERHEAD_BYTES > self.bytes_max {
            return Err(Full);
        }
        let waiting = self.queues.entry(queue.clone()).or_default();
        let apart = wait.longest / 60;
        let open = waiting
            .runs
            .last_entry()
            .filter(|last| last.get().takes(entry, (wait.since, apart)) && last.get().since <= wait.since);
        let number = match open {
            Some(mut last) => {
                let before = last.get().len_bytes();
                last.get_mut().push(entry);
                self.bytes += last.get().len_bytes() - before;
                *last.key()
            }
            None => {
                let mut run = Run::new(wait.since, wait.due);
                run.push(entry);
                self.next_run += 1;
                self.bytes += run.len_bytes() + RUN_OVERHEAD_BYTES;
                waiting.by_due.insert((run.due, self.next_run));
                waiting.runs.insert(self.next_run, run);
                self.next_run
            }
        };
        self.dirty.insert((queue, number));
        Ok(())
    }

    /// The next run that is due, the queues taking turns.
    pub fn next_due(&mut self, now: UnixMillis) -> Option<(RunKey, UnixMillis)> {
        let due = |(queue, waiting): (&Queue, &Waiting)| {
            let (due, number) = waiting.first()?;
            (due <= now).then(|| (queue.clone(), number))
        };
        let after = match &self.served {
            Some(served) => Bound::Excluded(served.clone()),
            None => Bound::Unbounded,
        };
        let key = self
            .queues
            .range((after, Bound::Unbounded))
            .find_map(due)
            .or_else(|| self.queues.iter().find_map(due))?;
        self.served = Some(key.0.clone());
        let since = self.run(&key)?.since;
        Some((key, since))
    }

    /// When the next run is due, if there is any.
    pub fn due_at(&self) -> Option<UnixMillis> {
        let first = |waiting: &Waiting| waiting.first().map(|(due, _)| due);
        self.queues.values().filter_map(first).min()
    }

    /// The pointers of a run.
    pub fn entries(&self, key: &RunKey) -> Vec<Entry> {
        self.run(key)
            .map(|run| run.entries().collect())
            .unwrap_or_default()
    }

    /// Takes a run's first pointers out: what is undecided still is pushed again, or put back.
    pub fn take_first(&mut self, key: &RunKey, entries: usize) {
        let Some(run) = self.run(key) else {
            return;
        };
        let rest: Vec<Entry> = run.entries().skip(entries).collect();
        if rest.is_empty() {
            self.take_out(key);
        } else {
            let run = run.with(rest);
            self.insert(key, run);
        }
        self.dirty.insert(key.clone());
    }

    /// Puts pointers back that were a run's first; they are due.
    pub fn put_back(&mut self, key: &RunKey, since: UnixMillis, entries: &[Entry]) {
        let behind = self.run(key);
        let due = behind.map_or(UnixMillis(0), |run| run.due);
        let behind = behind.into_iter().flat_map(Run::entries);
        let run = Run::new(since, due).with(entries.iter().copied().chain(behind));
        self.insert(key, run);
        self.dirty.insert(key.clone());
    }

    /// Whether anything waits in a queue.
    pub fn holds(&self, queue: &Queue) -> bool {
        self.queues.contains_key(queue)
    }

    /// The rates at which a queue is served, as far as they are known.
    pub fn pace(&self, queue: &Queue) -> Pace {
        self.queues
            .get(queue)
            .map_or(Pace::default(), |waiting| waiting.pace)
    }

    /// Sets the rates at which a queue is served, if it is there.
    pub fn set_pace(&mut self, queue: &Queue, pace: Pace) {
        if let Some(waiting) = self.queues.get_mut(queue) {
            waiting.pace = pace;
        }
    }

    /// Lets nothing of a queue be due before `not_before`.
    pub fn put_off(&mut self, queue: &Queue, not_before: UnixMillis) {
        if let Some(waiting) = self.queues.get_mut(queue) {
            waiting.not_before = not_before;
        }
    }

    /// Makes everything due that waits for `name`.
    pub fn wake(&mut self, cause: Cause, name: &str) {
        let queue = Queue {
            cause,
            name: name.into(),
        };
        let Some(waiting) = self.queues.get_mut(&queue) else {
            return;
        };
        waiting.by_due.clear();
        for (number, run) in &mut waiting.runs {
            run.due = UnixMillis(0);
            waiting.by_due.insert((run.due, *number));
        }
    }

    /// The names of the queues with this cause.
    pub fn names(&self, cause: Cause) -> impl Iterator<Item = &str> {
        let of_cause = move |queue: &&Queue| queue.cause == cause;
        self.queues.keys().filter(of_cause).map(|queue| &*queue.name)
    }

    /// How many bytes the pointers take, with what keeps them.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// The offsets within `range` that are set aside.
    pub fn offsets_in(&self, range: &Range<u64>) -> Vec<u64> {
        let runs = self.queues.values().flat_map(|waiting| waiting.runs.values());
        let offsets = runs.flat_map(|run| run.entries().map(|entry| entry.offset));
        let mut offsets: Vec<u64> = offsets.filter(|offset| range.contains(offset)).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// Writes the runs that changed since the last call, each whole.
    pub fn write_changes(&mut self, changes: &mut Changes) {
        for key in std::mem::take(&mut self.dirty) {
            changes.push(&encode(&key, self.run(&key)));
        }
    }

    /// At most how many bytes of changes there are to write.
    pub fn changes_bytes(&self) -> usize {
        self.dirty.len() * (run::RUN_BYTES_MAX + RUN_OVERHEAD_BYTES)
    }

    /// Applies one change of the journal.
    pub fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let (tag, key, rest) = decode_key(change)?;
        self.take_out(&key);
        self.next_run = self.next_run.max(key.1);
        if tag == TAG_PUT {
            self.insert(&key, Run::decode(rest)?);
        }
        Ok(())
    }

    /// Writes runs as changes from behind `after` on; the cursor to go on from, or `None` at the end.
    pub fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let after = after
            .and_then(|cursor| decode_key(cursor).ok())
            .map(|(_, key, _)| key);
        let until = out.len_bytes() + bytes_max;
        let first = after
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Included(key.0.clone()));
        for (queue, waiting) in self.queues.range((first, Bound::Unbounded)) {
            for (number, run) in &waiting.runs {
                let key = (queue.clone(), *number);
                if after.as_ref().is_some_and(|after| key <= *after) {
                    continue;
                }
                out.push(&encode(&key, Some(run)));
                if out.len_bytes() >= until {
                    return Some(encode(&key, None));
                }
            }
        }
        None
    }

    fn run(&self, key: &RunKey) -> Option<&Run> {
        self.queues.get(&key.0)?.runs.get(&key.1)
    }

    /// Puts a run in, or in the place of the one with its key.
    fn insert(&mut self, key: &RunKey, run: Run) {
        let waiting = self.queues.entry(key.0.clone()).or_default();
        let due = run.due;
        self.bytes += run.len_bytes() + RUN_OVERHEAD_BYTES;
        if let Some(former) = waiting.runs.insert(key.1, run) {
            waiting.by_due.remove(&(former.due, key.1));
            self.bytes -= former.len_bytes() + RUN_OVERHEAD_BYTES;
        }
        waiting.by_due.insert((due, key.1));
    }

    fn take_out(&mut self, key: &RunKey) -> Option<Run> {
        let waiting = self.queues.get_mut(&key.0)?;
        let run = waiting.runs.remove(&key.1)?;
        waiting.by_due.remove(&(run.due, key.1));
        self.bytes -= run.len_bytes() + RUN_OVERHEAD_BYTES;
        if waiting.runs.is_empty() {
            self.queues.remove(&key.0);
        }
        Some(run)
    }
}

/// A run's change: tag, cause, name and number, then the run; without one its removal.
fn encode((queue, number): &RunKey, run: Option<&Run>) -> Vec<u8> {
    let cause = match queue.cause {
        Cause::Key => 1,
        Cause::Connection => 2,
        Cause::Rate => 3,
    };
    let mut bytes = vec![if run.is_some() { TAG_PUT } else { TAG_REMOVE }, cause];
    write_varint(&mut bytes, *number);
    write_varint(&mut bytes, queue.name.len() as u64);
    bytes.extend_from_slice(queue.name.as_bytes());
    if let Some(run) = run {
        run.encode(&mut bytes);
    }
    bytes
}

fn decode_key(change: &[u8]) -> Result<(u8, RunKey, &[u8]), ChangeError> {
    let broken = || ChangeError::new("a change of what is set aside breaks off");
    let ([tag, cause], mut rest) = change.split_first_chunk::<2>().ok_or_else(broken)?;
    let cause = match cause {
        1 => Cause::Key,
        2 => Cause::Connection,
        3 => Cause::Rate,
        _ => {
            return Err(ChangeError::new(
                "something is set aside for a cause that this build does not know",
            ));
        }
    };
    let number = read_varint(&mut rest).ok_or_else(broken)?;
    let name_bytes = read_varint(&mut rest).ok_or_else(broken)?;
    let name_bytes = usize::try_from(name_bytes).map_err(|_| broken())?;
    let (name, rest) = rest.split_at_checked(name_bytes).ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| broken())?.into();
    Ok((*tag, (Queue { cause, name }, number), rest))
}

#[cfg(test)]
mod tests;
