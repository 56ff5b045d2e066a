//! The audit at work: one task a table cuts a block each `block_wait`, journals it, and brings it into ClickHouse.
//! In: the topics `requests`, `outcomes` and `attempts`. Out: rows. While ClickHouse is away the rows wait in their
//! topics, which the broker keeps for it; after a restart the block in flight is repeated exactly.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_broker::{Broker, Keeper, Message};
use tidegate_providers::Catalogue;
use tidegate_registry::Registry;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, chance};
use super::block::{Block, announce};
use super::client::connect;
use super::config::Config;
use super::error::Error;
use super::insert::{Inserter, Stopped};
use super::intake::{Readers, cut, repeat};
use super::ledger::{Announced, Ledger};
use super::masking::Masker;
use super::metrics;
use super::migrate::migrate;
use super::rollup::Rollups;
use super::status::Status;
use super::table::Table;

/// The audit of one process.
pub struct Audit {
    config: Config,
    broker: Broker,
    masker: Masker,
    status: Status,
    floors: Arc<Floors>,
}

/// The offsets before which the broker may free messages, for all that the audit needs.
struct Floors(BTreeMap<(Table, u32), AtomicU64>);

impl Floors {
    fn at(&self, table: Table, partition: u32) -> Option<&AtomicU64> {
        self.0.get(&(table, partition))
    }

    /// Which offsets of a range are still to be read.
    fn needed(&self, table: Table, partition: u32, range: Range<u64>) -> Vec<u64> {
        let floor = self
            .at(table, partition)
            .map_or(0, |floor| floor.load(Ordering::Acquire));
        (range.start.max(floor)..range.end).collect()
    }
}

impl Audit {
    /// Sets the audit up and tells the broker to keep what it has not read; nothing runs yet. Call it before the
    /// broker begins to free segments. The definitions and the integrations' constants say what is masked.
    #[must_use]
    pub fn new(config: Config, broker: Broker, catalogue: Arc<Catalogue>, registry: Registry) -> Audit {
        let places = Table::ALL.into_iter().flat_map(|table| {
            let partitions = 0..broker.partitions(table.topic());
            partitions.map(move |partition| ((table, partition), AtomicU64::new(0)))
        });
        let floors = Arc::new(Floors(places.collect()));
        for &(table, partition) in floors.0.keys() {
            let floors = Arc::clone(&floors);
            let keeper = Keeper::yielding(move |range| floors.needed(table, partition, range));
            broker.keep(table.topic(), partition, keeper);
        }
        Audit {
            config,
            broker,
            masker: Masker { catalogue, registry },
            status: Status::default(),
            floors,
        }
    }

    /// How it stands with ClickHouse.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Migrates as soon as ClickHouse is there, then writes rows until `shutdown`.
    ///
    /// # Errors
    /// What no waiting cures: a migration that was changed or is refused, a message of a newer Tidegate, a journal that
    /// another process has taken over.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let client = connect(&self.config)?;
        let ledger = Ledger::open(&self.broker).await?;
        for (&(table, partition), floor) in &self.floors.0 {
            floor.store(ledger.reached(table, partition), Ordering::Release);
        }
        if !self.migrated(&shutdown).await? {
            return Ok(());
        }
        let stop = shutdown.child_token();
        let ledger = Arc::new(Mutex::new(ledger));
        let mut tasks = JoinSet::new();
        for table in Table::ALL {
            let inserter = Inserter {
                client: client.clone(),
                config: self.config.clone(),
                status: self.status.clone(),
                shutdown: stop.clone(),
            };
            let writer = TableWriter {
                table,
                inserter,
                readers: Readers::new(self.broker.clone(), table.topic()),
                broker: self.broker.clone(),
                masker: self.masker.clone(),
                ledger: Arc::clone(&ledger),
                floors: Arc::clone(&self.floors),
                turn: 0,
            };
            tasks.spawn(writer.run());
        }
        tasks.spawn(Rollups::new(client, &self.config).run(stop.clone()));
        let mut ended = Ok(());
        while let Some(task) = tasks.join_next().await {
            let result = task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            stop.cancel();
            ended = ended.and(result);
        }
        ended
    }

    /// Migrates; `false` when the process is to end first.
    async fn migrated(&self, shutdown: &CancellationToken) -> Result<bool, Error> {
        let mut backoff = Backoff::new(&self.config);
        loop {
            match migrate(&self.config).await {
                Ok(report) => {
                    self.status.migrated();
                    self.status.reached();
                    tracing::info!(?report, "clickhouse is migrated");
                    return Ok(true);
                }
                Err(error) if error.is_retryable() => self.status.failed(&error.to_string()),
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next(chance())) => {}
                () = shutdown.cancelled() => return Ok(false),
            }
        }
    }
}

/// The task of one table.
struct TableWriter {
    table: Table,
    inserter: Inserter,
    broker: Broker,
    readers: Readers,
    masker: Masker,
    ledger: Arc<Mutex<Ledger>>,
    floors: Arc<Floors>,
    turn: u32,
}

impl TableWriter {
    async fn run(mut self) -> Result<(), Error> {
        let in_flight = self.ledger.lock().await.in_flight(self.table).cloned();
        if let Some(announced) = in_flight {
            let messages = repeat(&self.broker, self.table.topic(), &announced.ranges).await?;
            if self.write(announced, messages).await?.is_err() {
                return Ok(());
            }
        }
        let mut ticks = tokio::time::interval(self.inserter.config.block_wait());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let shutdown = self.inserter.shutdown.clone();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            while self.write_next().await? {
                if shutdown.is_cancelled() {
                    return Ok(());
                }
            }
        }
    }

    /// Cuts the next block and writes it; says whether more waits than fitted into it.
    async fn write_next(&mut self) -> Result<bool, Error> {
        let (table, topic) = (self.table, self.table.topic());
        let floors = Arc::clone(&self.floors);
        let reached = |partition| {
            floors
                .at(table, partition)
                .map_or(0, |floor| floor.load(Ordering::Acquire))
        };
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.broker.partitions(topic);
        let cut = cut(&mut self.readers, &self.inserter.config, (first, reached)).await?;
        if cut.lost > 0 {
            metrics::lost(topic, cut.lost);
            tracing::error!(
                topic = topic.label(),
                lost = cut.lost,
                "messages were freed before clickhouse had them"
            );
        }
        if cut.ranges.is_empty() {
            metrics::waiting(topic, 0);
            let settled = self.ledger.lock().await.settle(table).await;
            return self.or_later(settled).map(|_| false);
        }
        let announced = announce(table, cut.ranges, &cut.messages);
        let noted = self.ledger.lock().await.announce(table, announced.clone()).await;
        if !self.or_later(noted)? {
            return Ok(false);
        }
        let is_written = self.write(announced, cut.messages).await?.is_ok();
        Ok(is_written && cut.full)
    }

    /// Whether the journal took an entry; `false` when it will later (the log is full).
    fn or_later(&self, noted: Result<(), Error>) -> Result<bool, Error> {
        match noted {
            Ok(()) => Ok(true),
            Err(error) if error.is_retryable() => {
                self.inserter.status.failed(&error.to_string());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        announced: Announced,
        messages: Vec<Message>,
    ) -> Result<Result<(), Stopped>, Error> {
        let (table, masker) = (self.table, self.masker.clone());
        let ranges = announced.ranges.clone();
        let building =
            tokio::task::spawn_blocking(move || Block::build(table, announced, &messages, &masker));
        let block = building
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        if let Err(stopped) = self.inserter.insert(&block).await {
            return Ok(Err(stopped));
        }
        for range in ranges {
            if let Some(floor) = self.floors.at(table, range.partition) {
                floor.fetch_max(range.to, Ordering::AcqRel);
            }
        }
        Ok(Ok(()))
    }
}
