//! Integrations with a connection each, and signed requests to them as ingest would append them. In: which webhook, how
//! many integrations. Out: entities, records for `requests`, and rows counted in `outcomes`. Starts no process.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use tidegate_bench::Failure;
use tidegate_bench::kafka::PATIENCE;
use tidegate_bench::processing::request;
use tidegate_bench::webhook::{Choice, SECRET};
use tidegate_broker::{Broker, Reader, Record};
use tidegate_providers::Sample;
use tidegate_registry::{Connection, Endpoint, Entity, Environment, Integration, StoredSecret};
use tidegate_schemas::{EnvironmentId, EventId, EventRow, Metadata, RowsMeta, Secret, Topic, UnixMillis};

/// Requests appended at a time.
const APPEND: u64 = 500;

/// What is configured.
pub struct Scene {
    sample: Sample,
    environment: EnvironmentId,
    integrations: Vec<Integration>,
    entities: Vec<Entity>,
}

impl Scene {
    /// So many integrations, with one endpoint for all of them.
    pub fn new(choice: &Choice, integrations: usize) -> Result<Self, Failure> {
        let now = now();
        let environment = Environment::new("bench", now);
        let id = environment.id;
        let endpoint = Endpoint::new(id, "all", "https://example.com", now);
        let mut entities = vec![Entity::Environment(environment), Entity::Endpoint(endpoint)];
        let mut made = Vec::new();
        for at in 0..integrations {
            let mut integration = Integration::new(id, &format!("bench-{at}"), &choice.provider, now);
            integration.secrets = vec![StoredSecret::new(Secret::new(SECRET.as_bytes()))];
            integration.cfg = choice.case()?.cfg;
            let mut connection = Connection::new(integration.id, format!("connection-{at}"), now);
            for (property, value) in choice.properties()? {
                connection = connection.with_property(&property, &value);
            }
            entities.push(Entity::Integration(integration.clone()));
            entities.push(Entity::Connection(connection));
            made.push(integration);
        }
        Ok(Self {
            sample: choice.signed("https://hooks.test/webhook/bench/bench")?,
            environment: id,
            integrations: made,
            entities,
        })
    }

    /// Everything that is configured.
    pub fn entities(&self) -> Vec<Entity> {
        self.entities.clone()
    }

    /// The integrations.
    pub fn integrations(&self) -> &[Integration] {
        &self.integrations
    }

    /// Where an integration's webhooks go.
    pub fn path(&self, integration: usize) -> String {
        format!("/webhook/{}/bench-{integration}", self.environment)
    }

    /// Appends so many requests, to every integration in turn, each to the partition of its number.
    pub async fn append(&self, broker: &Broker, requests: u64) -> Result<(), Failure> {
        let partitions = broker.partitions(Topic::Requests);
        let mut appended = 0;
        while appended < requests {
            let until = requests.min(appended + APPEND);
            let batch = (appended..until).map(|number| self.record(number, partitions));
            broker.append(batch.collect()).await?;
            appended = until;
        }
        Ok(())
    }

    fn record(&self, number: u64, partitions: u32) -> Record {
        let at = usize::try_from(number).unwrap_or_default() % self.integrations.len();
        let request = request(&self.sample, &self.integrations[at], &self.path(at), now());
        Record {
            partition: u32::try_from(at).unwrap_or_default() % partitions,
            ..request
        }
    }
}

/// What is decided, as anybody can read it.
pub struct Decided {
    readers: Vec<Reader>,
    /// Whose wait was counted: what a killed processor had begun is decided again.
    known: HashSet<EventId>,
}

impl Decided {
    /// From now on.
    pub async fn after_now(broker: &Broker) -> Result<Self, Failure> {
        let ends = broker.latest(Topic::Outcomes).await?;
        let reader = |(partition, there): (u32, std::ops::Range<u64>)| {
            broker.reader(Topic::Outcomes, partition, there.end)
        };
        Ok(Self {
            readers: (0..).zip(ends).map(reader).collect(),
            known: HashSet::new(),
        })
    }

    /// Waits until so many rows have come.
    pub async fn rows(&mut self, wanted: u64) -> Result<(), Failure> {
        let mut rows = 0;
        self.each(wanted, |meta, _| {
            rows += u64::from(meta.rows);
            Ok(rows)
        })
        .await
    }

    /// Waits until so many further events are decided; the longest time from receiving to deciding one, in milliseconds.
    pub async fn longest_wait(&mut self, wanted: u64) -> Result<u64, Failure> {
        let mut known = std::mem::take(&mut self.known);
        let (mut events, mut longest) = (0, 0);
        self.each(wanted, |_, value| {
            for line in value.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: EventRow = serde_json::from_slice(line)?;
                if known.insert(row.event_id) {
                    longest = longest.max(row.decided_at.0.saturating_sub(row.received_at.0));
                    events += 1;
                }
            }
            Ok(events)
        })
        .await?;
        self.known = known;
        Ok(longest)
    }

    async fn each(
        &mut self,
        wanted: u64,
        mut count: impl FnMut(RowsMeta, &[u8]) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let (began, mut counted) = (Instant::now(), 0);
        while counted < wanted {
            if began.elapsed() > PATIENCE {
                return Err(format!("{counted} of {wanted} rows came").into());
            }
            for reader in &mut self.readers {
                let next = reader.next(1000, 64 << 20);
                let Ok(messages) = tokio::time::timeout(std::time::Duration::from_millis(5), next).await
                else {
                    continue;
                };
                for message in messages? {
                    counted = count(RowsMeta::decode(&message.meta)?, &message.value)?;
                }
            }
        }
        Ok(())
    }
}

fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}
