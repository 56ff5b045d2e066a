//! An owner as the real one works, over the real tables: it fires what is due, reads again whose turn it is, decides new
//! input, and commits batch by batch; it may die at every point of a commit, or sleep while another takes over.
//! In: a house, and chance. Out: what it appends there.

use std::collections::{BTreeMap, VecDeque};

use tidegate_broker::journal::{Changes, Tables};
use tidegate_schemas::UnixMillis;

use super::Fault;
use super::deciding::Batch;
use super::history::{Entry, Moment, Row};
use super::house::{Committed, Gone, House, Log};
use super::random::Random;
use crate::flood::FingerprintKey;
use crate::set_aside;
use crate::state::{Aside, State, StateLimits};

/// What work takes, in virtual microseconds: a decision or the end of a window, an append, a message that is read again.
const DECIDE: u64 = 20;
const APPEND: u64 = 300;
const READ: u64 = 5;

/// One owner.
pub struct Owner {
    pub(super) state: State,
    pub(super) input: usize,
    epoch: usize,
    next: usize,
    opened: (u64, u64),
    readings: u64,
    cursor: Option<Vec<u8>>,
    round_from: Option<usize>,
}

/// What is to be decided: what was set aside, or the next request.
pub(super) enum Work {
    Aside(Aside),
    Request(usize),
}

impl Work {
    fn aside(&self) -> Option<&Aside> {
        match self {
            Work::Aside(aside) => Some(aside),
            Work::Request(_) => None,
        }
    }
}

impl Owner {
    /// Opens the journal and restores what it holds.
    pub fn open(house: &mut House, limits: &StateLimits) -> Self {
        let epoch = match house.opens.last() {
            Some(last) if house.has(Fault::ForgetOpen) => *last,
            _ => house.open(),
        };
        let began = house.time();
        house.spend(READ * (house.journal.len() - house.journal_from) as u64);
        house.history.pauses.push((began, house.time()));
        let mut state = State::new(limits);
        let mut input = 0;
        for (offset, message) in house.journal.iter().enumerate().skip(house.journal_from) {
            let latest = house.opens.iter().rev().find(|open| **open <= offset);
            let Some(committed) = message.commit.as_ref().filter(|_| latest == Some(&message.epoch)) else {
                continue;
            };
            for changes in [&committed.slices, &committed.changes] {
                for change in Changes::decode(changes.as_bytes()) {
                    let change = change.expect("whole");
                    let is_aside = change.first().is_some_and(|tag| set_aside::TAGS.contains(tag));
                    if is_aside && house.has(Fault::LoseAside) {
                        continue;
                    }
                    state.apply(change).expect("as it was written");
                }
            }
            input = committed.input;
        }
        state.flood.begin(house.wall(), || FingerprintKey([5; 16]));
        Self {
            state,
            input,
            epoch,
            next: house.journal.len(),
            opened: (house.wall().0, house.time()),
            readings: 0,
            cursor: None,
            round_from: None,
        }
    }

    /// Fires what is due, decides whose turn it is and then some requests; it may die on the way.
    pub fn work(&mut self, house: &mut House, random: &mut Random) -> Result<(), Gone> {
        self.readings += 1;
        let from = self.input;
        let mut rest: VecDeque<Work> = self.due_again(house);
        let end = house.requests.len().min(from + random.below(4) as usize);
        rest.extend((from..end).map(Work::Request));
        loop {
            let mut batch = self.batch(house);
            for ended in self.state.flood.fire(batch.at.owners, 100) {
                self.end(ended, house, &mut batch);
            }
            // Seldom a batch is full before all is decided.
            let full_at = if random.one_in(8) {
                1 + random.below(3) as usize
            } else {
                usize::MAX
            };
            self.state.take_out(rest.iter().filter_map(Work::aside));
            for _ in 0..full_at {
                let Some(work) = rest.pop_front() else {
                    break;
                };
                self.decide_work(work, (house, random), &mut batch);
            }
            self.state.put_back(rest.iter().filter_map(Work::aside));
            self.commit(batch, house, random)?;
            if house.has(Fault::DoubleCount) && random.one_in(50) {
                self.input = from;
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Works until everything is decided, nothing waits and no window is open.
    pub fn drain(&mut self, house: &mut House, limits: &StateLimits) {
        let mut random = Random::new(1);
        for _ in 0..1_000_000 {
            house.pass(super::STEP_MILLIS_MAX);
            if self.work(house, &mut random).is_err() {
                *self = Owner::open(house, limits);
                continue;
            }
            let is_idle = self.state.flood.open_windows() == 0 && self.state.set_aside().len_bytes() == 0;
            if is_idle && self.input == house.requests.len() {
                return;
            }
        }
        panic!(
            "{} requests of {} decided, {} windows open, {} bytes set aside",
            self.input,
            house.requests.len(),
            self.state.flood.open_windows(),
            self.state.set_aside().len_bytes()
        );
    }

    /// Those whose turn it is, read again.
    fn due_again(&mut self, house: &mut House) -> VecDeque<Work> {
        let now = self.now(house);
        let mut works = VecDeque::new();
        for run in self.state.turns(now) {
            house.spend(READ * run.entries.len() as u64);
            works.extend(run.entries.into_iter().map(|entry| {
                Work::Aside(Aside {
                    key: run.key.clone(),
                    entry,
                    since: run.since,
                })
            }));
        }
        works
    }

    fn now(&self, house: &House) -> UnixMillis {
        let (wall, time) = self.opened;
        UnixMillis(wall + house.time() - time)
    }

    fn batch(&self, house: &House) -> Batch {
        Batch {
            entries: Vec::new(),
            rows: BTreeMap::new(),
            at: Moment {
                owners: self.now(house),
                worlds: house.time(),
                epoch: self.epoch,
                reading: self.readings,
            },
            policy: house.policy(),
        }
    }

    /// Appends what a batch came to, as the house's log does.
    fn commit(&mut self, batch: Batch, house: &mut House, random: &mut Random) -> Result<(), Gone> {
        house.spend(DECIDE * batch.entries.len() as u64);
        self.note_bytes(house);
        let dies_at = if random.one_in(300) {
            random.below(3)
        } else {
            u64::MAX
        };
        if dies_at == 0 {
            return Err(Gone);
        }
        let mut changes = Changes::new();
        self.state.write_changes(&mut changes);
        let is_nothing = batch.entries.is_empty() && changes.is_empty();
        if is_nothing && self.last_input(house) == Some(self.input) {
            return Ok(());
        }
        let first_row = house.history.rows.len();
        let rows = batch.rows.iter().map(|(id, became)| Row {
            id: *id,
            became: *became,
            commit: self.next,
            committed: false,
        });
        match house.world.log {
            Log::Embedded if dies_at == 1 || house.journal.len() != self.next => return Err(Gone),
            Log::Embedded => house.history.rows.extend(rows),
            Log::Kafka => {
                house.history.rows.extend(rows);
                if dies_at == 1 {
                    return Err(Gone);
                }
            }
        }
        house.spend(APPEND);
        let committed = self.committed(changes, batch.entries);
        let offset = house.commit(self.epoch, committed);
        let round_from = *self.round_from.get_or_insert(offset);
        if offset != self.next {
            return Err(Gone);
        }
        if self.cursor.is_none() {
            house.trim(round_from);
            self.round_from = None;
        }
        self.next += 1;
        house.history.rows[first_row..]
            .iter_mut()
            .for_each(|row| row.committed = true);
        if dies_at == 2 { Err(Gone) } else { Ok(()) }
    }

    /// A journal's message: what changed, and the next slice.
    fn committed(&mut self, changes: Changes, entries: Vec<Entry>) -> Committed {
        let mut slices = Changes::new();
        let bytes = (2 * changes.len_bytes()).max(512);
        self.cursor = self.state.slice(self.cursor.as_deref(), bytes, &mut slices);
        Committed {
            input: self.input,
            slices,
            changes,
            entries,
        }
    }

    /// The input that this owner has committed.
    fn last_input(&self, house: &House) -> Option<usize> {
        let last = house.journal.get(self.next.checked_sub(1)?)?;
        last.commit.as_ref().map(|committed| committed.input)
    }

    fn note_bytes(&self, house: &mut House) {
        let fill = self.state.flood.fill();
        let bytes = fill.seen_bytes + fill.objects_bytes + fill.windows_bytes;
        let history = &mut house.history;
        history.bytes_most = history.bytes_most.max(bytes);
        let aside_bytes = self.state.set_aside().len_bytes();
        history.aside_bytes_most = history.aside_bytes_most.max(aside_bytes);
    }
}
