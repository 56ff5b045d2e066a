//! Forwarding: every routed event is sent to each of its endpoints until that has taken it, or the schedule is over.
//!
//! One [`owner`](owner::Owner) decides for each partition of `events`. It reads the events and commands there, and
//! keeps what may be tried soon in a queue per endpoint; whatever does not fit waits as an offset alone, so that
//! reading never waits for an endpoint. A [gate](gate::Gates) per endpoint says how many attempts may be under way. An
//! [attempt] signs and sends; how it ended becomes a row in `attempts`, and the delivery is forgotten, parked for its
//! next try, or put into `dead`. All that is written as one batch: rows, dead letters, and the change of the owner's
//! [tables] with the input offset reached, in one message of the journal `retries`.
//!
//! Address, secrets and headers come from the registry at each attempt. This module speaks to the broker, the registry
//! and the endpoints; it decides nothing about an event but when it is sent.

mod attempt;
mod change;
mod clock;
mod config;
mod destination;
mod event;
mod gate;
mod metrics;
mod offset_set;
mod owner;
mod pace;
mod parked;
mod rows;
mod schedule;
mod sign;
mod tables;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_broker::journal::JournalError;
use tidegate_broker::{Assignment, Broker, Keeper, Tenure};
use tidegate_egress::Client;
use tidegate_registry::Registry;
use tidegate_schemas::{EndpointId, MetaError, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, ManualClock};
pub use config::Config;
pub use metrics::describe;

use gate::Gates;
use owner::Owner;
use schedule::Schedule;
use tables::SharedTables;

/// The consumer group under which partitions are shared out.
const GROUP: &str = "forward";
/// How long an owner that has lost its journal waits to hear that it has lost the partition too.
const LOST_PAUSE: Duration = Duration::from_secs(3);
/// How long after an answer that never came a partition begins again.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// What forwarding works with.
pub struct Parts {
    /// Where events are read, and the journal and rows are written.
    pub broker: Broker,
    /// Where endpoints are looked up.
    pub registry: Registry,
    /// HTTP out.
    pub client: Client,
    /// What time it is.
    pub clock: Clock,
    /// Who switches an endpoint off that answered 410; asked again with every such answer.
    pub disable: mpsc::Sender<DisableEndpoint>,
}

/// An endpoint answered 410 and should be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisableEndpoint {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The version that was called; a later one is not meant.
    pub version: u64,
}

/// Why forwarding stopped for a partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be opened or written, or belongs to somebody else now.
    #[error("forwarding of partition {partition} stopped: {source}")]
    Journal {
        /// The partition.
        partition: u32,
        /// What the journal said.
        source: JournalError,
    },
    /// `events` cannot be read.
    #[error("forwarding of partition {partition} stopped: events cannot be read: {source}")]
    Read {
        /// The partition.
        partition: u32,
        /// What the broker said.
        source: tidegate_broker::Error,
    },
    /// An event was written by a newer Tidegate.
    #[error("forwarding of partition {partition} stopped at offset {offset}: {source}")]
    Newer {
        /// The partition.
        partition: u32,
        /// The event's offset.
        offset: u64,
        /// What the metadata said.
        source: MetaError,
    },
    /// The group that shares the partitions out cannot be joined.
    #[error("the partitions of events cannot be shared out: {0}")]
    Group(tidegate_broker::Error),
    /// A bug.
    #[error("forwarding of partition {partition} panicked")]
    Panicked {
        /// The partition.
        partition: u32,
    },
}

/// What all owners of this process share.
pub(crate) struct Shared {
    broker: Broker,
    registry: Registry,
    client: Client,
    clock: Clock,
    disable: mpsc::Sender<DisableEndpoint>,
    config: Config,
    schedule: Schedule,
    gates: Arc<Gates>,
    /// Bytes of payloads in memory.
    held_bytes: AtomicUsize,
}

/// Forwarding in this process.
pub struct Forwarder {
    shared: Arc<Shared>,
    kept: HashMap<u32, Arc<Kept>>,
}

impl Forwarder {
    /// Sets forwarding up, and has the broker keep what it still needs of `events`. To be called before the broker's
    /// retention starts.
    #[must_use]
    pub fn new(parts: Parts, config: Config) -> Self {
        let timeout = Duration::from_millis(config.timeout_ms);
        let shared = Arc::new(Shared {
            gates: Gates::new(&config, parts.clock.clone()),
            schedule: Schedule::new(&config, timeout),
            held_bytes: AtomicUsize::new(0),
            broker: parts.broker,
            registry: parts.registry,
            client: parts.client,
            clock: parts.clock,
            disable: parts.disable,
            config,
        });
        let partitions = 0..shared.broker.partitions(Topic::Events);
        let kept: HashMap<u32, Arc<Kept>> = partitions.map(|partition| (partition, Arc::default())).collect();
        for (partition, kept) in &kept {
            let kept = kept.clone();
            shared.broker.keep(
                Topic::Events,
                *partition,
                Keeper::new(move |range| kept.of(range)),
            );
        }
        Self { shared, kept }
    }

    /// Forwards until `stop` is cancelled; attempts under way may then end within the configured time.
    ///
    /// # Errors
    /// [`Error`] when a partition cannot be forwarded any more: the process should end and start anew.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let assignments = self.shared.broker.assignments(Topic::Events, GROUP);
        let mut assignments = assignments.map_err(Error::Group)?;
        let mut owners = JoinSet::new();
        let mut owned: HashMap<u32, Tenure> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                assignment = assignments.next() => match assignment {
                    Assignment::Gained(partition) => {
                        let tenure = assignments.tenure(&stop);
                        owned.insert(partition, tenure.clone());
                        let kept = self.kept.get(&partition).cloned().unwrap_or_default();
                        let shared = self.shared.clone();
                        owners.spawn(async move {
                            let owning = own(shared, partition, (kept.clone(), &tenure));
                            tenure.run(owning).await.unwrap_or_else(|| dropped(partition, &kept))
                        });
                    }
                    Assignment::Lost(partition) => {
                        if let Some(tenure) = owned.remove(&partition) {
                            tenure.lose();
                        }
                    }
                },
                Some(ended) = owners.join_next(), if !owners.is_empty() => {
                    assignments.released(flatten(ended)?);
                }
            }
        }
        while let Some(ended) = owners.join_next().await {
            flatten(ended)?;
        }
        Ok(())
    }
}

/// The partition whose owner has ended.
fn flatten(ended: Result<Result<u32, Error>, tokio::task::JoinError>) -> Result<u32, Error> {
    // Which partition it was is in the panic's own report.
    ended.unwrap_or(Err(Error::Panicked { partition: u32::MAX }))
}

/// An owner was dropped that had lost its partition: its next one makes the attempts again that were under way.
fn dropped(partition: u32, kept: &Kept) -> Result<u32, Error> {
    kept.loaded.store(false, Ordering::Release);
    tracing::info!(partition, "an owner that has lost its partition is dropped");
    Ok(partition)
}

/// Owns a partition until it is stopped, and begins again after what opening the journal again can mend.
async fn own(
    shared: Arc<Shared>,
    partition: u32,
    (kept, tenure): (Arc<Kept>, &Tenure),
) -> Result<u32, Error> {
    loop {
        let opening = Owner::open(shared.clone(), partition, kept.clone());
        // A long journal is given up at once when its partition goes to another process.
        let Some(opened) = tenure.told().run_until_cancelled(opening).await else {
            return Ok(partition);
        };
        let ended = match opened {
            Ok(owner) => owner.run(tenure).await,
            Err(error) => Err(error),
        };
        kept.loaded.store(false, Ordering::Release);
        let pause = match ended {
            Ok(()) => return Ok(partition),
            Err(error) => match error.reopens(shared.broker.is_shared()) {
                Reopen::Never => return Err(error),
                Reopen::Elsewhere => {
                    tracing::info!(partition, "another process forwards this partition now");
                    return Ok(partition);
                }
                Reopen::After(pause) => {
                    tracing::warn!(partition, %error, "forwarding of the partition begins again");
                    pause
                }
            },
        };
        tokio::select! {
            () = tenure.told().cancelled() => return Ok(partition),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether a partition's owner begins again.
enum Reopen {
    /// The error does not pass.
    Never,
    /// Another process owns it now.
    Elsewhere,
    /// After this pause, unless it is stopped by then.
    After(Duration),
}

impl Error {
    /// Where a group shares partitions out, it tells soon who has lost one. Until then it may be that a former owner's
    /// last message came late, and nobody else is there to go on.
    fn reopens(&self, is_shared: bool) -> Reopen {
        match self {
            Error::Journal {
                source: JournalError::Lost { .. },
                ..
            } if is_shared => Reopen::After(LOST_PAUSE),
            Error::Journal {
                source: JournalError::Lost { .. },
                ..
            } => Reopen::Elsewhere,
            Error::Journal { source, .. } if is_shared && (source.is_in_doubt() || source.is_retryable()) => {
                Reopen::After(DOUBT_PAUSE)
            }
            Error::Read { source, .. } if source.is_retryable() => Reopen::After(DOUBT_PAUSE),
            _ => Reopen::Never,
        }
    }
}

/// What retention must know of one partition: everything while the journal is unread, then what is pointed at, and
/// what was not yet read and committed.
#[derive(Default)]
pub(crate) struct Kept {
    tables: SharedTables,
    loaded: AtomicBool,
    input: AtomicU64,
}

impl Kept {
    fn of(&self, range: Range<u64>) -> Vec<u64> {
        if !self.loaded.load(Ordering::Acquire) {
            return range.collect();
        }
        let input = self.input.load(Ordering::Acquire).clamp(range.start, range.end);
        let mut offsets = self.tables.lock().pointed_at(&(range.start..input));
        offsets.extend(input..range.end);
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_keeps_what_is_pointed_at_and_what_is_unread() {
        let kept = Kept::default();
        assert_eq!(
            kept.of(3..6),
            [3, 4, 5],
            "nothing is known before the journal is read"
        );
        kept.loaded.store(true, Ordering::Release);
        kept.input.store(5, Ordering::Release);
        kept.tables.lock().wait(parked::Key {
            offset: 3,
            endpoint: 0,
        });
        assert_eq!(kept.of(2..8), [3, 5, 6, 7]);
        assert_eq!(kept.of(0..5), [3]);
        assert_eq!(kept.of(6..8), [6, 7]);
    }
}
