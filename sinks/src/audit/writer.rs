//! The audit at work: one task a table cuts a block each `block_wait`, over the partitions that are this process's,
//! journals it, and brings it into ClickHouse. In: the topics `requests`, `outcomes` and `attempts`. Out: rows. While
//! ClickHouse is away the rows wait in their topics, which the broker keeps for it; after a restart the block in flight
//! is repeated exactly. Where partitions go to another process, it goes on where this one has stopped.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_broker::{Assignment, Broker, Keeper, Message};
use tidegate_providers::Catalogue;
use tidegate_registry::Registry;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, chance};
use super::block::{Block, announce};
use super::client::connect;
use super::config::Config;
use super::error::Error;
use super::holding::{Begun, Holding};
use super::insert::Inserter;
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
        let ledger = match self.broker.is_shared() {
            true => None,
            false => Some(self.ledger().await?),
        };
        if !self.migrated(&shutdown).await? {
            return Ok(());
        }
        let stop = shutdown.child_token();
        let sums_up = watch::Sender::new(false);
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
                holding: Holding::new(&self.broker, table, ledger.clone())?,
                begun: None,
                broker: self.broker.clone(),
                masker: self.masker.clone(),
                floors: Arc::clone(&self.floors),
                sums_up: (table == Table::Events).then(|| sums_up.clone()),
                turn: 0,
            };
            tasks.spawn(writer.run());
        }
        let rollups = Rollups::new(client, &self.config);
        tasks.spawn(rollups.run(stop.clone(), sums_up.subscribe()));
        let mut ended = Ok(());
        while let Some(task) = tasks.join_next().await {
            let result = task.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            stop.cancel();
            ended = ended.and(result);
        }
        ended
    }

    /// The journal of the embedded log, and from it what the broker may free.
    async fn ledger(&self) -> Result<Arc<Mutex<Ledger>>, Error> {
        let ledger = Ledger::open(&self.broker).await?;
        for (&(table, partition), floor) in &self.floors.0 {
            floor.store(ledger.reached(table, partition), Ordering::Release);
        }
        Ok(Arc::new(Mutex::new(ledger)))
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
    holding: Holding,
    /// A block that was on its way and is not repeated yet.
    begun: Option<Begun>,
    floors: Arc<Floors>,
    /// Says whether this process sums minutes up: that of the table whose partition 0 decides it.
    sums_up: Option<watch::Sender<bool>>,
    turn: u32,
}

impl TableWriter {
    async fn run(mut self) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(self.inserter.config.block_wait());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let shutdown = self.inserter.shutdown.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.leave().await,
                change = self.holding.changed() => {
                    self.take(change).await;
                    continue;
                }
                _ = ticks.tick() => {}
            }
            if !self.resume().await? {
                continue;
            }
            while self.write_next().await? {
                if shutdown.is_cancelled() {
                    return self.leave().await;
                }
            }
        }
    }

    async fn take(&mut self, change: Assignment) {
        self.holding.take(change).await;
        if let Some(sums_up) = &self.sums_up {
            let is_ours = match change {
                Assignment::Gained(0) => true,
                Assignment::Lost(0) => false,
                Assignment::Gained(_) | Assignment::Lost(_) => return,
            };
            sums_up.send_replace(is_ours);
        }
    }

    /// What has arrived is noted, so that the next start repeats nothing.
    async fn leave(mut self) -> Result<(), Error> {
        let left = self.holding.leave().await;
        self.or_later(left).map(|_| ())
    }

    /// Asks where gained partitions go on, and repeats the block that was on its way; `false` when that has to wait.
    async fn resume(&mut self) -> Result<bool, Error> {
        match self.holding.resume().await {
            Ok(begun) => self.begun = begun.or(self.begun.take()),
            Err(error) => return self.or_later(Err(error)),
        }
        let Some(begun) = self.begun.take() else {
            return Ok(true);
        };
        let messages = match repeat(&mut self.readers, begun.ranges()).await {
            Ok(messages) => messages,
            Err(error) => {
                self.begun = Some(begun);
                return self.or_later(Err(error));
            }
        };
        let is_held = begun
            .ranges()
            .iter()
            .all(|range| self.holding.reached(range.partition) == Some(range.from));
        let again = begun.again(self.table, &messages);
        match again.filter(|_| is_held || matches!(begun, Begun::Announced(_))) {
            Some(announced) => self.write(announced, messages).await,
            // Cut anew it arrives too, and the tables' keys make its repeats one.
            None => Ok(true),
        }
    }

    /// Cuts the next block and writes it; says whether more waits than fitted into it.
    async fn write_next(&mut self) -> Result<bool, Error> {
        let topic = self.table.topic();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.broker.partitions(topic);
        let holding = &self.holding;
        let reached = |partition| holding.reached(partition);
        let cut = match cut(&mut self.readers, &self.inserter.config, (first, reached)).await {
            Ok(cut) => cut,
            Err(error) => return self.or_later(Err(error)),
        };
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
            let settled = self.holding.settle().await;
            return self.or_later(settled).map(|_| false);
        }
        let announced = announce(self.table, cut.ranges, &cut.messages);
        let noted = self.holding.announce(&announced).await;
        if !self.or_later(noted)? {
            return Ok(false);
        }
        let is_written = self.write(announced, cut.messages).await?;
        Ok(is_written && cut.full)
    }

    /// Whether what was asked for was done; `false` when it will be later (the log is full, Kafka is away).
    fn or_later(&self, done: Result<(), Error>) -> Result<bool, Error> {
        match done {
            Ok(()) => Ok(true),
            Err(error) if error.is_retryable() => {
                self.inserter.status.failed(&error.to_string());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Brings a block into ClickHouse; `false` when the process is to end first, or the block's partitions have gone to
    /// another process, which repeats it.
    async fn write(&mut self, announced: Announced, messages: Vec<Message>) -> Result<bool, Error> {
        let (table, masker) = (self.table, self.masker.clone());
        let ranges = announced.ranges.clone();
        let building =
            tokio::task::spawn_blocking(move || Block::build(table, announced, &messages, &masker));
        let block = building
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let mut changes = Vec::new();
        let inserted = {
            let mut inserting = std::pin::pin!(self.inserter.insert(&block));
            loop {
                tokio::select! {
                    inserted = &mut inserting => break Some(inserted),
                    change = self.holding.changed() => {
                        changes.push(change);
                        if matches!(change, Assignment::Lost(lost) if ranges.iter().any(|it| it.partition == lost)) {
                            break tokio::time::timeout(self.holding.hand_over(), &mut inserting).await.ok();
                        }
                    }
                }
            }
        };
        let is_inserted = matches!(inserted, Some(Ok(())));
        if is_inserted {
            self.holding.arrived(&ranges);
            for range in &ranges {
                if let Some(floor) = self.floors.at(table, range.partition) {
                    floor.fetch_max(range.to, Ordering::AcqRel);
                }
            }
        }
        for change in changes {
            self.take(change).await;
        }
        Ok(is_inserted)
    }
}
