//! Where requests go: straight to Kafka, or by way of the spill where this process has one.
//! In: batches of `requests`. Out: their offsets, or none for what lies in the spill; and how all that stands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::client::Told;
use super::config::Config;
use super::producer::{Producer, WhenFull};
use super::pump::Pump;
use super::spill::{Spilled, Spilling, Store, Wire};
use super::topics::Names;
use crate::error::{AppendError, Error};
use crate::message::Record;
use crate::reader::blocking;

/// How long the leader of a partition is waited for before it counts as away.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// How long what the spill has sent may take to be answered when the process stops.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// The way of requests.
pub struct Requests {
    producer: Arc<Producer>,
    spilling: Option<Spilling<Wire>>,
}

/// How a process's spill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillStanding {
    /// For how long requests have gone into it; `None` while they go straight to Kafka.
    pub spills_for: Option<Duration>,
    /// What lies in it.
    pub spilled: Spilled,
    /// Bytes that it takes on the disk.
    pub used_bytes: u64,
}

impl Requests {
    /// Opens the spill, if the configuration names one, and makes the producer.
    pub async fn open(
        config: &Config,
        (names, told): (&Names, Told),
        asker: &Arc<Pump>,
    ) -> Result<Self, Error> {
        let folder = config.spill_folder();
        // What the spill gives up after its own time the client need not give up before.
        let timeout_ms = match folder {
            Some(_) => config.append_timeout_ms,
            None => config.request_timeout_ms,
        };
        let producer = Producer::new(config, (names.clone(), told), (timeout_ms, WhenFull::Refuse))?;
        let producer = Arc::new(producer);
        let Some(folder) = folder else {
            return Ok(Self {
                producer,
                spilling: None,
            });
        };
        let store = open_store(config, folder).await?;
        let lying = store.standing();
        if lying.requests > 0 {
            tracing::info!(
                requests = lying.requests,
                bytes = lying.bytes,
                "requests of an earlier life lie in the spill"
            );
        }
        let wire = Wire {
            producer: producer.clone(),
            asker: asker.clone(),
            names: names.clone(),
            patience: ANSWER_WAIT.min(config.question_timeout()),
        };
        let timeout = Duration::from_millis(config.spill.timeout_ms);
        Ok(Self {
            producer,
            spilling: Some(Spilling::start(wire, store, timeout)),
        })
    }

    /// Whether there is a spill.
    pub fn can_spill(&self) -> bool {
        self.spilling.is_some()
    }

    /// The cluster has answered, and its topics are as they should be.
    pub fn reached(&self) {
        if let Some(spilling) = &self.spilling {
            spilling.intake.reached();
        }
    }

    /// Appends a batch.
    pub async fn append(&self, batch: &[Record]) -> Result<Vec<u64>, AppendError> {
        match &self.spilling {
            Some(spilling) => spilling.intake.append(batch).await,
            None => self.producer.append(batch).await,
        }
    }

    /// Why the client has given up for good, if it has.
    pub fn failure(&self) -> Option<String> {
        self.producer.failure()
    }

    /// Whether more are taken.
    pub fn has_space(&self) -> bool {
        match &self.spilling {
            Some(spilling) => spilling.intake.has_space(),
            None => self.producer.has_room(),
        }
    }

    /// The limit that is reached when there is no space.
    pub fn space_limit(&self) -> &'static str {
        match &self.spilling {
            Some(_) => "broker.kafka.spill.bytes_max",
            None => "broker.kafka.queue_bytes_max",
        }
    }

    /// How the spill stands.
    pub fn spill(&self) -> Option<SpillStanding> {
        let intake = &self.spilling.as_ref()?.intake;
        Some(SpillStanding {
            spills_for: intake.spills_for(),
            spilled: intake.store.standing(),
            used_bytes: intake.store.used_bytes(),
        })
    }

    /// Ends the spill's tasks and closes it.
    pub async fn close(&self) -> Result<(), Error> {
        match &self.spilling {
            Some(spilling) => spilling.close(STOP_WAIT).await,
            None => Ok(()),
        }
    }

    /// Waits until everything is sent or given up.
    pub fn flush(&self, timeout: Duration) -> Result<(), Error> {
        self.producer.flush(timeout)
    }
}

async fn open_store(config: &Config, folder: &Path) -> Result<Store, Error> {
    let (config, folder) = (config.clone(), folder.to_path_buf());
    blocking(move || Store::open(&config, &folder)).await
}
