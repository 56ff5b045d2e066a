//! All of the processor in one process: an owner for each partition that is assigned to it, and the fetcher of keys.
//! In: handles on the other rooms, and a token that stops it. Out: the first failure that does not pass.
//! Decides nothing itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tidegate_broker::{Assignment, Broker, Tenure};
use tidegate_providers::{Catalogue, KeyRequest};
use tidegate_registry::Registry;
use tidegate_schemas::Topic;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;
use crate::examine::{Find, find_events};
use crate::held::HeldLimit;
use crate::kept::Kept;
use crate::key_sets::KeyStore;
use crate::key_sets::fetch::Fetcher;
use crate::owner::Owner;
use crate::pipeline::Pipeline;
use crate::state::StateLimits;

/// The group in which processes share the partitions of `requests`.
const GROUP: &str = "processor";

/// What the processor works with.
pub struct Parts {
    /// Where it reads and writes.
    pub broker: Broker,
    /// What users configured; with the details of connections, whose secrets it needs.
    pub registry: Registry,
    /// The providers' definitions.
    pub catalogue: Arc<Catalogue>,
    /// How key sets are fetched.
    pub client: tidegate_egress::Client,
}

/// Decides what becomes of every event.
pub struct Processor {
    broker: Broker,
    client: tidegate_egress::Client,
    pipeline: Arc<Pipeline>,
    wanted: mpsc::Receiver<KeyRequest>,
    kept: HashMap<u32, Arc<Kept>>,
}

impl Processor {
    /// A processor that is ready to run. From here on the broker keeps every request that is not decided yet, so this
    /// comes before [`Broker::start_retention`].
    #[must_use]
    pub fn new(parts: Parts, config: Config) -> Self {
        Self::finding(parts, config, find_events)
    }

    /// The same with another way of finding events, for tests of what happens when it fails.
    pub(crate) fn finding(parts: Parts, config: Config, find: Find) -> Self {
        let Parts {
            broker,
            registry,
            catalogue,
            client,
        } = parts;
        let mut kept = HashMap::new();
        for partition in 0..broker.partitions(Topic::Requests) {
            let of_partition = Arc::new(Kept::default());
            broker.keep(Topic::Requests, partition, of_partition.keeper());
            kept.insert(partition, of_partition);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let partitions = broker.partitions(Topic::Requests) as usize;
        let limits = StateLimits {
            set_aside_bytes_max: config.set_aside_bytes_max,
            flood: config.flood.limits(partitions),
            held: HeldLimit::new(config.flood.held_bytes_max),
        };
        let (keys, wanted) = KeyStore::new(config.keys.sets_max);
        let pipeline = Pipeline {
            broker: broker.clone(),
            registry_read: AtomicU64::new(0),
            registry,
            catalogue,
            keys,
            threads: Arc::new(Semaphore::new(config.threads_on(cores))),
            policy: config.flood.policy(),
            limits,
            config,
            find,
        };
        Self {
            broker,
            client,
            pipeline: Arc::new(pipeline),
            wanted,
            kept,
        }
    }

    /// Decides until `stop` is cancelled; what was read by then is decided and committed first.
    ///
    /// # Errors
    /// The first failure that does not pass by itself; every partition has stopped then.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let stop = stop.child_token();
        // Each task says which partition it owned.
        let mut tasks: JoinSet<(Option<u32>, Result<(), Error>)> = JoinSet::new();
        let config = &self.pipeline.config;
        let fetcher = Fetcher::new(
            self.pipeline.keys.clone(),
            self.client,
            (config.keys.clone(), config.key_wait()),
        );
        let fetching = fetcher.run(self.wanted, stop.clone());
        tasks.spawn(async move {
            fetching.await;
            (None, Ok(()))
        });
        let mut assignments = self
            .broker
            .assignments(Topic::Requests, GROUP)
            .map_err(Error::Group)?;
        let mut owned: HashMap<u32, Tenure> = HashMap::new();
        let mut failure = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                assignment = assignments.next() => match assignment {
                    Assignment::Gained(partition) => {
                        let tenure = assignments.tenure(&stop);
                        let owner = Owner {
                            partition,
                            broker: self.broker.clone(),
                            pipeline: self.pipeline.clone(),
                            kept: self.kept.get(&partition).cloned().unwrap_or_default(),
                            stop: tenure.told().clone(),
                        };
                        owned.insert(partition, tenure.clone());
                        tasks.spawn(async move { (Some(partition), owned_by(owner, &tenure).await) });
                    }
                    Assignment::Lost(partition) => {
                        if let Some(tenure) = owned.remove(&partition) {
                            tenure.lose();
                        }
                    }
                },
                Some(ended) = tasks.join_next() => {
                    let (partition, ended) = result(ended);
                    partition.into_iter().for_each(|partition| assignments.released(partition));
                    if let Err(error) = ended {
                        failure = Some(error);
                        break;
                    }
                }
            }
        }
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            failure = failure.or(result(ended).1.err());
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Runs an owner until it ends, or is dropped: its next one decides again what it had in hand.
async fn owned_by(owner: Owner, tenure: &Tenure) -> Result<(), Error> {
    let partition = owner.partition;
    tenure.run(owner.run()).await.unwrap_or_else(|| {
        tracing::info!(partition, "an owner that has lost its partition is dropped");
        crate::metrics::forget(partition);
        Ok(())
    })
}

fn result(ended: Result<(Option<u32>, Result<(), Error>), JoinError>) -> (Option<u32>, Result<(), Error>) {
    ended.unwrap_or_else(|error| (None, Err(Error::Panicked(error))))
}
