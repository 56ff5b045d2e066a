//! What cannot be decided yet: pointers to requests and events that are read again, in queues by what they wait for.
//! In: pointers with a cause, and wake-ups. Out: one due run at a time, the queues taking turns; the journal's changes.
//! Reads no request and no clock; decides nothing about an event. However many queues there are, none is looked at but
//! the one that is asked for or whose turn is next.

mod change;
mod run;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::journal::{ChangeError, Changes};
use tidegate_schemas::UnixMillis;

pub(crate) use change::TAGS;
pub(crate) use run::Entry;

use change::{Change, decode, encode};
use run::Run;
use waiting::{Standing, Waiting};

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
    pub name: Arc<str>,
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
    /// The queues in the order in which they are served.
    turns: BTreeSet<(Standing, Queue)>,
    dirty: BTreeSet<RunKey>,
    /// How many runs were handed out.
    served: u64,
    next_run: u64,
    bytes: usize,
}

/// What a queue costs beside its runs: its name, its place among the others, its rates and the maps' share, in bytes.
const QUEUE_BYTES: usize = 400;
/// What a run costs beside its pointers, in bytes.
const RUN_BYTES: usize = 88;

impl SetAside {
    /// Nothing yet, and never more than `bytes_max` bytes of it.
    pub fn within(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            queues: BTreeMap::new(),
            turns: BTreeSet::new(),
            dirty: BTreeSet::new(),
            served: 0,
            next_run: 0,
            bytes: 0,
        }
    }

    /// Sets one pointer aside.
    pub fn push(&mut self, queue: Queue, entry: Entry, wait: Wait) -> Result<(), Full> {
        if self.bytes + QUEUE_BYTES + RUN_BYTES > self.bytes_max {
            return Err(Full);
        }
        let apart = wait.longest / 60;
        let last = self.queues.get_mut(&queue).and_then(Waiting::last);
        let open = last.filter(|(_, run)| run.takes(entry, (wait.since, apart)) && run.since <= wait.since);
        let number = match open {
            Some((number, run)) => {
                let before = run.len_bytes();
                run.push(entry);
                self.bytes += run.len_bytes() - before;
                number
            }
            None => {
                let mut run = Run::new(wait.since, wait.due);
                run.push(entry);
                self.next_run += 1;
                self.insert(&(queue.clone(), self.next_run), run);
                self.next_run
            }
        };
        self.dirty.insert((queue, number));
        Ok(())
    }

    /// The next run that is due, the queues taking turns: whoever is due longest comes first, and behind all others
    /// who was served just now.
    pub fn next_due(&mut self, now: UnixMillis) -> Option<(RunKey, UnixMillis)> {
        let ((standing, _), queue) = self.turns.first()?;
        if *standing > now {
            return None;
        }
        let queue = queue.clone();
        self.served += 1;
        let served = (now, self.served);
        let number = self.change(&queue, |waiting| {
            waiting.served = served;
            waiting.first().1
        })?;
        let key = (queue, number);
        let since = self.run(&key)?.since;
        Some((key, since))
    }

    /// When the next run is due, if there is any.
    pub fn due_at(&self) -> Option<UnixMillis> {
        self.turns.first().map(|((standing, _), _)| *standing)
    }

    /// How many pointers a run has.
    pub fn len_of(&self, key: &RunKey) -> usize {
        self.run(key).map_or(0, Run::len)
    }

    /// A run's first pointers, so many at most.
    pub fn first(&self, key: &RunKey, entries: usize) -> Vec<Entry> {
        self.run(key)
            .map(|run| run.entries().take(entries).collect())
            .unwrap_or_default()
    }

    /// Takes a run's first pointers out: what is undecided still is pushed again, or put back.
    pub fn take_first(&mut self, key: &RunKey, entries: usize) {
        let (queue, number) = key;
        let Some(waiting) = self.queues.get_mut(queue) else {
            return;
        };
        let Some((saved, is_left)) = waiting.take_first(*number, entries) else {
            return;
        };
        self.bytes -= saved;
        if !is_left {
            self.take_out(key);
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

    /// Whether anything waits for its turn: such queues are the last ones.
    pub fn holds_turns(&self) -> bool {
        let last = self.queues.last_key_value();
        last.is_some_and(|(queue, _)| queue.cause == Cause::Rate)
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
        self.change(queue, |waiting| waiting.not_before = not_before);
    }

    /// Makes everything due that waits for `name`.
    pub fn wake(&mut self, cause: Cause, name: &str) {
        let queue = Queue {
            cause,
            name: name.into(),
        };
        self.change(&queue, Waiting::wake);
    }

    /// The names of the queues with this cause.
    pub fn names(&self, cause: Cause) -> impl Iterator<Item = &str> {
        let first = Queue {
            cause,
            name: "".into(),
        };
        let of_cause = move |(queue, _): &(&Queue, &Waiting)| queue.cause == cause;
        let behind = self.queues.range((Bound::Included(first), Bound::Unbounded));
        behind.take_while(of_cause).map(|(queue, _)| &*queue.name)
    }

    /// How many bytes the pointers take, with what keeps them.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// The offsets within `range` that are set aside.
    pub fn offsets_in(&self, range: &Range<u64>) -> Vec<u64> {
        let runs = self.queues.values().flat_map(|waiting| waiting.runs_after(0));
        let runs = runs.filter(|(_, run)| run.may_lie_in(range));
        let offsets = runs.flat_map(|(_, run)| run.entries().map(|entry| entry.offset));
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
        self.dirty.len() * (run::RUN_BYTES_MAX + RUN_BYTES)
    }

    /// Applies one change of the journal.
    pub fn apply(&mut self, change: &[u8]) -> Result<(), ChangeError> {
        let Change { key, run } = decode(change)?;
        self.next_run = self.next_run.max(key.1);
        match run {
            Some(run) => self.insert(&key, run),
            None => self.take_out(&key),
        }
        Ok(())
    }

    /// Writes runs as changes from behind `after` on; the cursor to go on from, or `None` at the end.
    pub fn slice(&self, after: Option<&[u8]>, bytes_max: usize, out: &mut Changes) -> Option<Vec<u8>> {
        let after = after.and_then(|cursor| decode(cursor).ok());
        let after = after.map(|change| change.key);
        let until = out.len_bytes() + bytes_max;
        let first = after
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Included(key.0.clone()));
        for (queue, waiting) in self.queues.range((first, Bound::Unbounded)) {
            let begun = after.as_ref().filter(|(of, _)| of == queue);
            for (number, run) in waiting.runs_after(begun.map_or(0, |(_, number)| *number)) {
                let key = (queue.clone(), number);
                out.push(&encode(&key, Some(run)));
                if out.len_bytes() >= until {
                    return Some(encode(&key, None));
                }
            }
        }
        None
    }

    fn run(&self, key: &RunKey) -> Option<&Run> {
        self.queues.get(&key.0)?.run(key.1)
    }

    /// Changes a queue, and its place among the others with it.
    fn change<T>(&mut self, queue: &Queue, change: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let waiting = self.queues.get_mut(queue)?;
        let before = waiting.standing();
        let changed = change(waiting);
        let after = waiting.standing();
        if before != after {
            let mut place = (before, queue.clone());
            self.turns.remove(&place);
            place.0 = after;
            self.turns.insert(place);
        }
        Some(changed)
    }

    /// Puts a run in, or in the place of the one with its key.
    fn insert(&mut self, key: &RunKey, run: Run) {
        let (queue, number) = key;
        self.bytes += run.len_bytes() + RUN_BYTES;
        if !self.queues.contains_key(queue) {
            let waiting = Waiting::with(*number, run);
            self.bytes += QUEUE_BYTES;
            self.turns.insert((waiting.standing(), queue.clone()));
            self.queues.insert(queue.clone(), waiting);
            return;
        }
        let former = self
            .change(queue, |waiting| waiting.insert(*number, run))
            .flatten();
        self.bytes -= former.map_or(0, |former| former.len_bytes() + RUN_BYTES);
    }

    fn take_out(&mut self, key: &RunKey) {
        let (queue, number) = key;
        let Some(waiting) = self.queues.get_mut(queue) else {
            return;
        };
        let standing = waiting.standing();
        let Some(run) = waiting.remove(*number) else {
            return;
        };
        self.bytes -= run.len_bytes() + RUN_BYTES;
        let left = (!waiting.is_empty()).then(|| waiting.standing());
        self.turns.remove(&(standing, queue.clone()));
        if let Some(standing) = left {
            self.turns.insert((standing, queue.clone()));
        } else {
            self.queues.remove(queue);
            self.bytes -= QUEUE_BYTES;
        }
    }
}

#[cfg(test)]
mod tests;
