//! One queue of what is set aside: its runs, when the first of them is due, and the rates at which it is served.
//! In: runs by number. Out: the one that is due first. Knows no other queue.

use std::collections::VecDeque;

use tidegate_schemas::UnixMillis;

use super::run::Run;
use crate::rates::Pace;

/// Where a queue stands among the others: those that may go first come first, and of these whoever was served longest ago.
pub(super) type Standing = (UnixMillis, u64);

/// The runs of one queue.
#[derive(Debug)]
pub(super) struct Waiting {
    /// By number; a queue seldom has more than one.
    runs: VecDeque<(u64, Run)>,
    /// When which of them is due first.
    first: (UnixMillis, u64),
    /// Before this none of them is due.
    pub not_before: UnixMillis,
    /// When it was served last, and as which of all.
    pub served: Standing,
    /// The rates at which it is served, once these are known.
    pub pace: Pace,
}

impl Waiting {
    /// A queue with one run.
    pub fn with(number: u64, run: Run) -> Self {
        let first = (run.due, number);
        let mut runs = VecDeque::with_capacity(1);
        runs.push_back((number, run));
        Self {
            runs,
            first,
            not_before: UnixMillis(0),
            served: (UnixMillis(0), 0),
            pace: Pace::default(),
        }
    }

    /// The run that is due first, and when.
    pub fn first(&self) -> (UnixMillis, u64) {
        let (due, number) = self.first;
        (due.max(self.not_before), number)
    }

    /// Where the queue stands among the others.
    pub fn standing(&self) -> Standing {
        let (at, turn) = self.served;
        (self.first().0.max(at), turn)
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn run(&self, number: u64) -> Option<&Run> {
        let place = self.place(number).ok()?;
        self.runs.get(place).map(|(_, run)| run)
    }

    /// The runs with a number above `after`, by number.
    pub fn runs_after(&self, after: u64) -> impl Iterator<Item = (u64, &Run)> {
        let from = self.runs.partition_point(|(number, _)| *number <= after);
        self.runs.range(from..).map(|(number, run)| (*number, run))
    }

    /// The run that was begun last.
    pub fn last(&mut self) -> Option<(u64, &mut Run)> {
        self.runs.back_mut().map(|(number, run)| (*number, run))
    }

    /// Takes a run's first pointers out; how many bytes that saved, and whether any are left.
    pub fn take_first(&mut self, number: u64, entries: usize) -> Option<(usize, bool)> {
        let place = self.place(number).ok()?;
        let (_, run) = self.runs.get_mut(place)?;
        let before = run.len_bytes();
        run.take_first(entries);
        Some((before - run.len_bytes(), run.len() > 0))
    }

    /// Puts a run in, or in the place of the one with its number, which it returns.
    pub fn insert(&mut self, number: u64, run: Run) -> Option<Run> {
        let due = run.due;
        let former = match self.place(number) {
            Ok(place) => {
                let former = self.runs.get_mut(place)?;
                Some(std::mem::replace(&mut former.1, run))
            }
            Err(place) => {
                self.runs.insert(place, (number, run));
                None
            }
        };
        if former.is_some() && self.first.1 == number {
            self.find_first();
        } else {
            self.first = self.first.min((due, number));
        }
        former
    }

    pub fn remove(&mut self, number: u64) -> Option<Run> {
        let place = self.place(number).ok()?;
        let (_, run) = self.runs.remove(place)?;
        if self.first.1 == number {
            self.find_first();
        }
        Some(run)
    }

    /// Makes all of it due.
    pub fn wake(&mut self) {
        for (_, run) in &mut self.runs {
            run.due = UnixMillis(0);
        }
        self.find_first();
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        self.runs.binary_search_by_key(&number, |(number, _)| *number)
    }

    fn find_first(&mut self) {
        let dues = self.runs.iter().map(|(number, run)| (run.due, *number));
        self.first = dues.min().unwrap_or((UnixMillis(u64::MAX), u64::MAX));
    }
}
