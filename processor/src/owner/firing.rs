//! Windows whose time has come: fired before new input is decided, their requests read in one pass where they are not at
//! hand. In: the owner's clock. Out: batches of what windows kept. Time runs on from the owner's start, whatever is done
//! to the system's clock meanwhile.

use std::time::Instant;

use tidegate_schemas::{Pointer, Topic, UnixMillis};

use super::Ownership;
use crate::batch::Batch;
use crate::error::Error;
use crate::flood::Ended;
use crate::metrics;
use crate::request::{Request, Taken};
use crate::routes::Routes;
use crate::window_end::missing;

/// How many windows are fired in one batch.
const WINDOWS_AT_ONCE: usize = 1000;
/// How many requests are read again in one pass, unless one window needs more.
const READ_AT_ONCE: usize = 256;
/// With so many bytes read again the windows are fired that have all they need; the others follow.
const READ_BYTES_MAX: usize = 32 << 20;

/// A clock that runs evenly from where the system's stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    stood_at: UnixMillis,
    started: Instant,
}

impl From<UnixMillis> for Clock {
    fn from(stood_at: UnixMillis) -> Self {
        Self {
            stood_at,
            started: Instant::now(),
        }
    }
}

impl Clock {
    pub fn now(&self) -> UnixMillis {
        self.stood_at.after(self.started.elapsed())
    }
}

impl Ownership<'_> {
    /// Fires every window that is overdue, and moves the time by which is decided.
    pub(super) async fn fire_due(&mut self) -> Result<(), Error> {
        loop {
            self.now = self.clock.now();
            let ended = self.state.flood.fire(self.now, WINDOWS_AT_ONCE);
            if ended.is_empty() {
                return Ok(());
            }
            self.fetch_for(&ended).await?;
            let records = {
                let pipeline = &self.owner.pipeline;
                let broker = &self.owner.broker;
                let routes = Routes::none();
                let at = (self.now, self.journal.next_offset());
                let mut batch = Batch::new(at, &routes, broker, &pipeline.config);
                for ended in ended {
                    pipeline.fire(ended, &mut self.state, &mut batch);
                }
                let outcomes = broker.partitions(Topic::Outcomes);
                batch.into_records(self.owner.partition % outcomes.max(1))
            };
            self.state.held.let_go();
            self.commit(records, self.input).await?;
            metrics::set_fill(self.owner.partition, &self.state.flood.fill(), self.now);
        }
    }

    /// Reads what windows need to hand their events on: for the first of them all of it, for the others as much as may be
    /// read at once. A window without all it needs stays open, and is due again.
    async fn fetch_for(&mut self, ended: &[Ended]) -> Result<(), Error> {
        let mut wanted: Vec<u64> = Vec::new();
        for ended in ended {
            wanted.extend(missing(ended, &self.state));
            if wanted.len() >= READ_AT_ONCE {
                self.fetch(std::mem::take(&mut wanted)).await?;
                if self.state.held.fetched_bytes() >= READ_BYTES_MAX {
                    return Ok(());
                }
            }
        }
        self.fetch(wanted).await
    }

    /// Reads requests again, in one pass, and keeps them until the next batch is decided.
    pub(super) async fn fetch(&mut self, mut offsets: Vec<u64>) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        offsets.sort_unstable();
        offsets.dedup();
        let partition = self.owner.partition;
        let pointer = |offset| Pointer { partition, offset };
        let pointers: Vec<Pointer> = offsets.into_iter().map(pointer).collect();
        let messages = self.owner.broker.read(Topic::Requests, &pointers).await;
        let messages = messages.map_err(|error| self.owner.read_error(error))?;
        let mut requests = Vec::with_capacity(pointers.len());
        for (pointer, message) in pointers.into_iter().zip(messages) {
            requests.push(
                match message.map(|message| self.take_message(message)).transpose()? {
                    Some(Taken::Request(request)) => request,
                    // Only requests are held, so this one's segment was given up in spite of the keeper.
                    _ => Request::gone(pointer, self.now),
                },
            );
        }
        let (examined, _) = self.owner.pipeline.examine(requests).await;
        for examined in examined {
            self.state.held.keep_fetched(examined);
        }
        Ok(())
    }
}
