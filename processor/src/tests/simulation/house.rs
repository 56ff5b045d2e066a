//! The simulated world around an owner: a log of requests, a journal with its epochs and slices, clocks, power that may
//! fail. In: what owners append. Out: a history.
//!
//! The journal is of one of two kinds. On Kafka outputs are appended first and the journal's message behind them, and
//! whoever appends learns by the offset whether it is still the owner. In the embedded log both are one append, which is
//! refused when its offset is not the next one; but what was not synced with a request yet is lost with the power.

use std::sync::Arc;

use tidegate_broker::journal::Changes;
use tidegate_registry::{FloodPolicy, Integration};
use tidegate_schemas::{EnvironmentId, IntegrationId, UnixMillis};
use uuid::Uuid;

use super::events::Sent;
use super::history::{Entry, History};
use super::policies::policies;
use super::random::Random;
use super::{Fault, World};

/// The owner's process has died, or it found that it is the owner no more.
#[derive(Debug)]
pub struct Gone;

/// What outputs and journal are to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Outputs, then the journal.
    Kafka,
    /// Both at once.
    Embedded,
}

pub struct Message {
    pub epoch: usize,
    /// `None` for an `open`.
    pub commit: Option<Committed>,
    /// When it was appended, in the world's time.
    time: u64,
    /// Behind it, what the journal begins with and how many rows were written.
    from: usize,
    rows: usize,
}

pub struct Committed {
    pub input: usize,
    pub slices: Changes,
    pub changes: Changes,
    pub entries: Vec<Entry>,
}

/// Everything that outlives an owner.
pub struct House {
    pub world: World,
    pub integration: Integration,
    pub requests: Vec<Vec<Arc<Sent>>>,
    pub journal: Vec<Message>,
    /// What lies before it was trimmed.
    pub journal_from: usize,
    pub opens: Vec<usize>,
    pub history: History,
    time: u64,
    /// What was spent of the next millisecond.
    micros: u64,
    wall: u64,
    /// What no loss of power takes away any more, and what was trimmed and let go.
    synced: usize,
    let_go: usize,
    policies: Vec<Arc<FloodPolicy>>,
    policy: usize,
}

impl House {
    pub fn new(world: World) -> Self {
        let environment = EnvironmentId(Uuid::from_u128(1));
        let mut integration = Integration::new(environment, "simulated", "simulated", UnixMillis(1));
        integration.id = IntegrationId(Uuid::from_u128(77));
        integration.partitions = vec![0];
        Self {
            integration,
            requests: Vec::new(),
            journal: Vec::new(),
            journal_from: 0,
            opens: Vec::new(),
            history: History {
                is_atomic: world.log == Log::Embedded,
                aside_bytes_max: world.aside_bytes_max,
                ..History::default()
            },
            world,
            time: 0,
            micros: 0,
            wall: 1_000_000_000,
            synced: 0,
            let_go: 0,
            policies: policies().into_iter().map(Arc::new).collect(),
            policy: 1,
        }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.world.fault == Some(fault)
    }

    /// Lets time pass.
    pub fn pass(&mut self, millis: u64) {
        if millis > super::STEP_MILLIS_MAX {
            self.history.pauses.push((self.time, self.time + millis));
        }
        self.time += millis;
        self.wall += millis;
    }

    /// Spends the time that work takes.
    pub fn spend(&mut self, micros: u64) {
        self.micros += micros;
        self.time += self.micros / 1000;
        self.wall += self.micros / 1000;
        self.micros %= 1000;
    }

    /// Sets the system's clock, forth or back.
    pub fn set_clock(&mut self, random: &mut Random) {
        self.wall = self.wall + random.below(4_000) - 2_000;
    }

    pub fn change_policy(&mut self, random: &mut Random) {
        self.policy = random.below(self.policies.len() as u64) as usize;
    }

    pub fn policy(&self) -> Arc<FloodPolicy> {
        self.policies[self.policy].clone()
    }

    pub fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall)
    }

    pub fn time(&self) -> u64 {
        self.time
    }

    /// Appends a request; on the embedded log it is synced, and everything before it.
    pub fn append(&mut self, bundle: Vec<Arc<Sent>>) {
        self.history.sent.extend(bundle.iter().cloned());
        self.requests.push(bundle);
        self.synced = self.journal.len();
        for message in &mut self.journal[self.let_go..self.journal_from] {
            if let Some(committed) = &mut message.commit {
                (committed.slices, committed.changes) = (Changes::new(), Changes::new());
            }
        }
        self.let_go = self.journal_from;
    }

    /// One of the last requests.
    pub fn some_request(&self, random: &mut Random) -> Option<Vec<Arc<Sent>>> {
        let back = random.below(20) as usize + 1;
        let request = self.requests.get(self.requests.len().checked_sub(back)?)?;
        // Without a delivery id it would be decided twice, which is allowed.
        request
            .iter()
            .all(|sent| sent.delivery.is_some())
            .then(|| request.clone())
    }

    pub fn at(&self, offset: u64, position: u32) -> Arc<Sent> {
        self.requests[offset as usize][position as usize].clone()
    }

    /// Appends an `open`; its offset, the epoch.
    pub fn open(&mut self) -> usize {
        let epoch = self.journal.len();
        self.push(epoch, None);
        self.opens.push(epoch);
        self.history.epochs.insert(epoch, self.time);
        epoch
    }

    /// Appends an owner's message; the offset that it got.
    pub fn commit(&mut self, epoch: usize, committed: Committed) -> usize {
        self.push(epoch, Some(committed));
        self.journal.len() - 1
    }

    /// Gives up what lies before `from`, behind the message that was appended last.
    pub fn trim(&mut self, from: usize) {
        self.journal_from = self.journal_from.max(from);
        if let Some(last) = self.journal.last_mut() {
            last.from = self.journal_from;
        }
    }

    /// The power fails: nobody works any more, and of what was not synced the last part is gone.
    pub fn lose_power(&mut self, random: &mut Random) {
        let unsynced = self.journal.len() - self.synced;
        let left = self.synced + random.below(unsynced as u64 + 1) as usize;
        let Some(first) = self.journal.get(left) else {
            return;
        };
        self.history.pauses.push((first.time, self.time));
        self.journal.truncate(left);
        self.opens.retain(|open| *open < left);
        self.history.epochs.retain(|open, _| *open < left);
        let last = self.journal.last();
        self.journal_from = last.map_or(0, |last| last.from);
        self.history.rows.truncate(last.map_or(0, |last| last.rows));
    }

    /// What happened, as the journal has it.
    pub fn into_history(mut self) -> History {
        let mut epoch = 0;
        for (offset, message) in self.journal.into_iter().enumerate() {
            match message.commit {
                None => epoch = offset,
                Some(committed) if message.epoch == epoch => self.history.entries.extend(committed.entries),
                Some(_) => {}
            }
        }
        self.history.pauses.sort_unstable();
        self.history
    }

    fn push(&mut self, epoch: usize, commit: Option<Committed>) {
        self.journal.push(Message {
            epoch,
            commit,
            time: self.time,
            from: self.journal_from,
            rows: self.history.rows.len(),
        });
    }
}
