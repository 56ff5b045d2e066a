//! The second reader of a partition: reads again what was set aside, when it is due or its turn has come.
//! In: the runs of pointers that are set aside. Out: requests to decide, before any new input. A pointer leaves the table
//! in the commit that decides it, however many batches that takes.

use std::time::Duration;

use tidegate_schemas::{Pointer, Topic};

use super::{IDLE_EVERY, Ownership, Work};
use crate::error::Error;
use crate::fairness::connection_of;
use crate::key_queue::{address_of, turn_of};
use crate::request::{InTurn, Request, Taken};
use crate::set_aside::{Cause, Entry};
use crate::state::{Aside, Served};

impl Ownership<'_> {
    /// How long until something that was set aside is due, or a window ends; at most [`IDLE_EVERY`].
    pub(super) fn due_in(&self) -> Duration {
        let now = self.clock.now();
        let due_at = [self.state.set_aside().due_at(), self.state.flood.next_at()];
        let due_at = due_at.into_iter().flatten().min();
        due_at
            .map_or(IDLE_EVERY, |due_at| due_at.since(now))
            .min(IDLE_EVERY)
    }

    /// Makes due what waits for an address from which something was fetched since the last call.
    pub(super) fn wake_fetched(&mut self) {
        let fetches = *self.fetches.borrow_and_update();
        if fetches == self.fetches_seen {
            return;
        }
        let keys = &self.owner.pipeline.keys;
        let mut set_aside = self.state.set_aside();
        let fetched = set_aside
            .names(Cause::Key)
            .filter(|name| keys.fetched_after(address_of(name), self.fetches_seen));
        for name in fetched.map(str::to_owned).collect::<Vec<_>>() {
            set_aside.wake(Cause::Key, &name);
        }
        drop(set_aside);
        self.fetches_seen = fetches;
    }

    /// Reads what is due again, the queues in turn.
    pub(super) async fn due_again(&mut self) -> Result<Vec<Work>, Error> {
        // The owner's own clock, by which rates are paid and waits were begun: the system's may be set meanwhile.
        let served = self.state.turns(self.clock.now());
        if served.is_empty() {
            return Ok(Vec::new());
        }
        self.read_again(&served).await
    }

    async fn read_again(&self, served: &[Served]) -> Result<Vec<Work>, Error> {
        let partition = self.owner.partition;
        let pointer = |offset| Pointer { partition, offset };
        let entries = || {
            let of_run = served.iter().map(|run| (run, &run.entries));
            of_run.flat_map(|(run, entries)| entries.iter().map(move |entry| (run, entry)))
        };
        let pointers: Vec<Pointer> = entries().map(|(_, entry)| pointer(entry.offset)).collect();
        let messages = self.owner.broker.read(Topic::Requests, &pointers).await;
        let messages = messages.map_err(|error| self.owner.read_error(error))?;
        let mut works = Vec::with_capacity(messages.len());
        for ((run, entry), message) in entries().zip(messages) {
            let mut request = match message.map(|message| self.take_message(message)).transpose()? {
                Some(Taken::Request(request)) => request,
                // Only requests are set aside, so this one's segment was given up in spite of the keeper.
                _ => Request::gone(pointer(entry.offset), self.owner.broker.now()),
            };
            ask(&mut request, entry, run);
            works.push(Work {
                request,
                input: self.input,
                aside: Some(Aside {
                    key: run.key.clone(),
                    entry: *entry,
                    since: run.since,
                }),
            });
        }
        Ok(works)
    }
}

/// Says what is asked for of a request that was set aside.
fn ask(request: &mut Request, entry: &Entry, run: &Served) {
    let (queue, _) = &run.key;
    request.asked.position = entry.position;
    request.asked.replay = entry.replay;
    if queue.cause == Cause::Rate {
        let connection = connection_of(queue).map(Into::into);
        request.asked.in_turn = Some(InTurn { connection });
    } else {
        request.asked.aside_since = Some(run.since);
        request.asked.in_turn = turn_of(queue);
    }
}
