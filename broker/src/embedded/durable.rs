//! Waiting until a frame counts as done.
//!
//! The flusher announces the sequence it has reached; every append below wakes. A wake-up from another thread costs a
//! system call, so only one waiting task of each thread is woken from outside; it wakes its neighbours itself.
//! In: sequences. Out: a future. Knows nothing of files.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::task::{Context, Poll, Waker};
use std::thread::ThreadId;

use parking_lot::Mutex;

/// The log failed: nobody is waited for any more.
const FAILED: u64 = u64::MAX;

/// How far the log is done, and who waits for it to get further.
#[derive(Debug, Default)]
pub struct Durable {
    reached: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Waiting tasks by the thread that polled them last.
#[derive(Debug, Default)]
struct Waiting {
    threads: HashMap<ThreadId, Crowd>,
    next_ticket: u64,
}

/// The waiting tasks of one thread, in the order of their tickets.
#[derive(Debug, Default)]
struct Crowd {
    tasks: std::collections::BTreeMap<u64, (u64, Waker)>,
}

impl Durable {
    /// Begins at `reached`.
    pub fn new(reached: u64) -> Durable {
        Durable {
            reached: AtomicU64::new(reached),
            ..Durable::default()
        }
    }

    /// Everything up to `sequence` is done.
    pub fn reach(&self, sequence: u64) {
        self.reached.store(sequence, Release);
        let mut leaders = Vec::new();
        for crowd in self.waiting.lock().threads.values() {
            let leader = crowd.tasks.values().find(|(wanted, _)| *wanted <= sequence);
            leaders.extend(leader.map(|(_, waker)| waker.clone()));
        }
        leaders.into_iter().for_each(Waker::wake);
    }

    /// Nothing will be done any more.
    pub fn fail(&self) {
        self.reach(FAILED);
    }

    /// Waits until `sequence` is done; false when it never will be.
    pub fn wait(&self, sequence: u64) -> Wait<'_> {
        Wait {
            durable: self,
            sequence,
            ticket: None,
        }
    }

    /// Wakes the other tasks of `thread` that are done.
    fn release(&self, thread: ThreadId) {
        let reached = self.reached.load(Acquire);
        let mut released = Vec::new();
        if let Some(crowd) = self.waiting.lock().threads.get_mut(&thread) {
            let done = crowd.tasks.extract_if(.., |_, (wanted, _)| *wanted <= reached);
            released.extend(done.map(|(_, (_, waker))| waker));
        }
        released.into_iter().for_each(Waker::wake);
    }
}

/// Resolves once its frame is done.
pub struct Wait<'a> {
    durable: &'a Durable,
    sequence: u64,
    ticket: Option<(ThreadId, u64)>,
}

impl Wait<'_> {
    /// Takes this task off the list; true when somebody else did before, or it never stood there.
    fn leave(&mut self) -> Option<ThreadId> {
        let (thread, ticket) = self.ticket.take()?;
        let mut waiting = self.durable.waiting.lock();
        let crowd = waiting.threads.get_mut(&thread)?;
        crowd.tasks.remove(&ticket).map(|_| thread)
    }
}

impl Future for Wait<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let reached = self.durable.reached.load(Acquire);
        if reached >= self.sequence {
            // Whoever still stood on the list was woken from outside, or not at all: its neighbours may be done too.
            if let Some(thread) = self.leave() {
                self.durable.release(thread);
            }
            return Poll::Ready(reached != FAILED);
        }
        self.leave();
        let thread = std::thread::current().id();
        {
            let mut waiting = self.durable.waiting.lock();
            let ticket = waiting.next_ticket;
            waiting.next_ticket += 1;
            let task = (self.sequence, context.waker().clone());
            waiting
                .threads
                .entry(thread)
                .or_default()
                .tasks
                .insert(ticket, task);
            self.ticket = Some((thread, ticket));
        }
        // The flusher may have come between the look and the list.
        if self.durable.reached.load(Acquire) >= self.sequence {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // A task that gives up may be the one that was to wake its neighbours.
        if let Some(thread) = self.leave() {
            self.durable.release(thread);
        }
    }
}
