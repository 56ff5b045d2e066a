//! Examined requests are decided here in order, batch by batch. In: requests with the input that is reached behind each.
//! Out: batches, committed one after the other; what a window that ends needs is read between them.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_broker::Record;
use tidegate_schemas::Topic;

use super::{Owner, Ownership, Work};
use crate::batch::Batch;
use crate::error::Error;
use crate::event::Examined;
use crate::held::HeldRequest;
use crate::request::Request;
use crate::routes::Routes;
use crate::state::Aside;

/// An examined request that is not decided yet.
struct Pending {
    request: Arc<HeldRequest>,
    input: u64,
    aside: Option<Aside>,
}

/// What a batch came to.
struct Decided {
    records: Vec<Record>,
    /// The input offset reached.
    input: u64,
    /// What must be read before the next request can be decided.
    missing: Vec<u64>,
}

impl Ownership<'_> {
    /// Decides in order and commits batch by batch; the last one reaches `end`.
    pub(super) async fn decide_works(&mut self, works: Vec<Work>, end: u64) -> Result<(), Error> {
        let place = |work: Work| (work.request, (work.input, work.aside));
        let (requests, places): (Vec<Request>, Vec<_>) = works.into_iter().map(place).unzip();
        let (examined, routes) = self.owner.pipeline.examine(requests).await;
        let pending = |(examined, (input, aside)): (Examined, _)| Pending {
            request: Arc::new(examined.into()),
            input,
            aside,
        };
        let mut rest: VecDeque<Pending> = examined.into_iter().zip(places).map(pending).collect();
        loop {
            self.fire_due().await?;
            self.state
                .take_out(rest.iter().filter_map(|pending| pending.aside.as_ref()));
            let decided = self.decide_batch(&mut rest, &routes);
            self.state
                .put_back(rest.iter().filter_map(|pending| pending.aside.as_ref()));
            let reached = if rest.is_empty() { end } else { decided.input };
            self.commit(decided.records, reached).await?;
            if rest.is_empty() {
                return Ok(());
            }
            self.fetch(decided.missing).await?;
        }
    }

    /// Decides until the batch is full, nothing is left, or something must be read first.
    fn decide_batch(&mut self, rest: &mut VecDeque<Pending>, routes: &Routes) -> Decided {
        let Owner {
            broker,
            pipeline,
            partition,
            ..
        } = self.owner;
        let config = &pipeline.config;
        let at = (self.now, self.journal.next_offset());
        let mut batch = Batch::new(at, routes, broker, config);
        let mut input = self.input;
        let mut is_short = false;
        while let Some(Pending { request, .. }) = rest.front() {
            let examined = &request.examined;
            let events = examined.events();
            let fits = batch.events + events <= config.batch_events_max
                && batch.len_bytes() < config.batch_output_bytes_max
                && self.state.changes_bytes() < config.batch_changes_bytes_max;
            if batch.events > 0 && !fits {
                break;
            }
            if !pipeline.missing(examined, (&self.state, routes)).is_empty() {
                is_short = true;
                break;
            }
            let Some(pending) = rest.pop_front() else {
                break;
            };
            batch.events += events;
            pipeline.decide(&pending.request.examined, &mut self.state, &mut batch);
            for held in batch.to_hold.drain(..) {
                self.state.held.hold(&pending.request, held);
            }
            input = pending.input;
        }
        self.state.settle_held();
        self.state.held.let_go();
        // Asked again, because some of what was at hand is so no more: all of it must be there together.
        let short = rest.front().filter(|_| is_short);
        let missing = short.map(|pending| pipeline.missing(&pending.request.examined, (&self.state, routes)));
        let outcomes = broker.partitions(Topic::Outcomes);
        Decided {
            records: batch.into_records(partition % outcomes.max(1)),
            input,
            missing: missing.unwrap_or_default(),
        }
    }
}
