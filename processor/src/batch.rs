//! What one batch comes to before it is committed: rows, events, and how full it is. In: decided requests.
//! Out: the records to append with the journal's message. Decides nothing.

use tidegate_broker::{Broker, Record};
use tidegate_schemas::{Topic, UnixMillis};

use crate::config::Config;
use crate::event_records::EventRecords;
use crate::flood::Fingerprint;
use crate::handing_on::Desk;
use crate::metrics;
use crate::outcomes::Rows;
use crate::routes::Routes;
use crate::state::State;
use crate::steps::debounce::Place;
use crate::tracked::Ledger;

/// A batch that is being decided.
pub(crate) struct Batch<'r> {
    pub now: UnixMillis,
    pub routes: &'r Routes,
    pub ledger: Ledger,
    pub records: EventRecords,
    /// How many events were decided.
    pub events: usize,
    /// The windows that keep an event of the request that was decided last.
    pub to_hold: Vec<(Fingerprint, Place)>,
}

impl<'r> Batch<'r> {
    /// An empty batch whose journal message will be at `commit`.
    pub fn new(
        (now, commit): (UnixMillis, u64),
        routes: &'r Routes,
        broker: &Broker,
        config: &Config,
    ) -> Self {
        Self {
            now,
            routes,
            ledger: Ledger::new(Rows::new(commit, now, config)),
            records: EventRecords::new(commit, broker.partitions(Topic::Events), config.text_bytes_max),
            events: 0,
            to_hold: Vec::new(),
        }
    }

    /// The batch beside the state, for deciding.
    pub fn desk<'d>(&'d mut self, state: &'d mut State) -> Desk<'d> {
        Desk {
            now: self.now,
            state,
            routes: self.routes,
            ledger: &self.ledger,
            records: &mut self.records,
            to_hold: &mut self.to_hold,
        }
    }

    /// How many bytes of outputs there are.
    pub fn len_bytes(&self) -> usize {
        self.ledger.len_bytes() + self.records.len_bytes()
    }

    /// The records of the batch: its events, then its rows in `partition` of `outcomes`.
    pub fn into_records(self, partition: u32) -> Vec<Record> {
        let rows = self.ledger.into_rows();
        for (outcome, events) in rows.by_outcome().filter(|(_, events)| *events > 0) {
            metrics::count_outcome(outcome, events);
        }
        let mut records = self.records.into_records();
        records.extend(rows.into_records(partition));
        records
    }
}
