//! Waiting until a frame counts as done.
//!
//! The flusher announces the sequence it has reached; every append below wakes. A wake-up from another thread costs a
//! system call, so only one waiting task of each thread is woken from outside; it wakes its neighbours itself.
//! In: sequences. Out: a future. Knows nothing of files.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The log failed: nobody is waited for any more.
const FAILED: u64 = u64::MAX;

/// How many crowds there are; threads beyond that share them, which costs wake-ups and nothing else.
const CROWDS: usize = 64;

/// How far the log is done, and who waits for it to get further.
#[derive(Debug)]
pub struct Durable {
    reached: AtomicU64,
    crowds: [Mutex<Crowd>; CROWDS],
}

/// The waiting tasks of one thread by the sequences they wait for, in their order. No two wait for the same frame.
#[derive(Debug, Default)]
struct Crowd {
    tasks: VecDeque<(u64, Waker)>,
}

impl Crowd {
    /// Where `sequence` stands or belongs: mostly behind all others.
    fn find(&self, sequence: u64) -> Result<usize, usize> {
        match self.tasks.back() {
            Some((last, _)) if *last >= sequence => {
                self.tasks.binary_search_by_key(&sequence, |(wanted, _)| *wanted)
            }
            _ => Err(self.tasks.len()),
        }
    }

    /// Takes a task off the list; false when it does not stand there.
    fn remove(&mut self, sequence: u64) -> bool {
        let found = self.find(sequence);
        found.is_ok_and(|at| self.tasks.remove(at).is_some())
    }

    /// Takes those off the list that are done.
    fn done(&mut self, reached: u64) -> Vec<Waker> {
        let count = self.tasks.partition_point(|(wanted, _)| *wanted <= reached);
        self.tasks.drain(..count).map(|(_, waker)| waker).collect()
    }
}

/// Which crowd this thread's tasks stand in.
fn own_crowd() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static THREAD: usize = THREADS.fetch_add(1, Relaxed));
    THREAD.with(|thread| thread % CROWDS)
}

impl Durable {
    /// Begins at `reached`.
    pub fn new(reached: u64) -> Durable {
        Durable {
            reached: AtomicU64::new(reached),
            crowds: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Everything up to `sequence` is done.
    pub fn reach(&self, sequence: u64) {
        self.reached.store(sequence, Release);
        for crowd in &self.crowds {
            let leader = match crowd.lock().tasks.front() {
                Some((wanted, waker)) if *wanted <= sequence => Some(waker.clone()),
                _ => None,
            };
            if let Some(leader) = leader {
                leader.wake();
            }
        }
    }

    /// Nothing will be done any more.
    pub fn fail(&self) {
        self.reach(FAILED);
    }

    /// Waits until `sequence` is done; false when it never will be. At most one task waits for each sequence.
    pub fn wait(&self, sequence: u64) -> Wait<'_> {
        Wait {
            durable: self,
            sequence,
            crowd: None,
        }
    }
}

/// Resolves once its frame is done.
pub struct Wait<'a> {
    durable: &'a Durable,
    sequence: u64,
    /// The crowd that it stands in, unless somebody took it off the list since.
    crowd: Option<usize>,
}

impl Wait<'_> {
    /// Takes this task off its list. If it still stood there, it was woken from outside or not at all: its neighbours
    /// may be done too, and it wakes them.
    fn leave(&mut self) {
        let Some(crowd) = self.crowd.take() else { return };
        let released = {
            let mut crowd = self.durable.crowds[crowd].lock();
            if !crowd.remove(self.sequence) {
                return;
            }
            crowd.done(self.durable.reached.load(Acquire))
        };
        released.into_iter().for_each(Waker::wake);
    }

    /// Puts this task on its thread's list, or its new waker.
    fn stand(&mut self, waker: &Waker) {
        let own = own_crowd();
        if self.crowd.is_some_and(|crowd| crowd != own) {
            self.leave();
        }
        self.crowd = Some(own);
        let mut crowd = self.durable.crowds[own].lock();
        match crowd.find(self.sequence) {
            Ok(at) => crowd.tasks[at].1.clone_from(waker),
            Err(at) => crowd.tasks.insert(at, (self.sequence, waker.clone())),
        }
    }
}

impl Future for Wait<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let mut reached = self.durable.reached.load(Acquire);
        if reached < self.sequence {
            self.stand(context.waker());
            // The flusher may have come between the look and the list.
            reached = self.durable.reached.load(Acquire);
            if reached < self.sequence {
                return Poll::Pending;
            }
        }
        self.leave();
        Poll::Ready(reached != FAILED)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // A task that gives up may be the one that was to wake its neighbours.
        self.leave();
    }
}
