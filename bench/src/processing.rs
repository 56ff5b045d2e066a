//! Requests as ingest would append them, and a whole processor that decides them on the embedded broker. In: a signed webhook
//! and the integration it came to; a registry. Out: records for `requests`; the CPU time spent. Forwards
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_broker::{Broker, Record};
use tidegate_processor::{Config, Parts, Processor};
use tidegate_providers::{Catalogue, Sample};
use tidegate_registry::{Integration, Registry};
use tidegate_schemas::{
    Metadata, RequestId, RequestKind, RequestMeta, RowsMeta, Topic, UnixMillis, WRITE_VERSION,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Failure, cpu};

/// The request that brought `sample` to an integration, in partition 0.
#[must_use]
pub fn request(sample: &Sample, integration: &Integration, path: &str, received_at: UnixMillis) -> Record {
    let meta = RequestMeta {
        v: WRITE_VERSION,
        kind: RequestKind::Received,
        id: RequestId::new(received_at),
        environment: integration.environment,
        integration: integration.key.clone(),
        provider: integration.provider.clone(),
        connection: None,
        method: sample.method.clone(),
        path: path.to_owned(),
        query: String::new(),
        url: sample.url.clone(),
        headers: sample.headers.clone(),
        received_at,
        remote: None,
        body_bytes: sample.body.len() as u64,
        status: 200,
        refusal: None,
        detail: String::new(),
        spilled: false,
        replay: None,
    };
    Record {
        topic: Topic::Requests,
        partition: 0,
        key: Bytes::new(),
        meta: meta.encode().into(),
        value: Bytes::copy_from_slice(&sample.body),
    }
}

/// A processor at work on a broker, until it is told to stop.
pub struct Running {
    stop: CancellationToken,
    ended: JoinHandle<Result<(), tidegate_processor::Error>>,
}

impl Running {
    /// Begins to decide what lies in `requests`.
    ///
    /// # Errors
    /// The processor's parts cannot be made.
    pub fn start(broker: &Broker, registry: Registry) -> Result<Self, Failure> {
        let parts = Parts {
            broker: broker.clone(),
            registry,
            catalogue: Arc::new(Catalogue::builtin()?),
            client: tidegate_egress::Client::new(&tidegate_egress::Config::default())?,
        };
        let stop = CancellationToken::new();
        let processor = Processor::new(parts, Config::default());
        let ended = tokio::spawn(processor.run(stop.clone()));
        Ok(Self { stop, ended })
    }

    /// Stops.
    ///
    /// # Errors
    /// Whatever ended the processor before.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        Ok(self.ended.await??)
    }
}

/// Decides what lies in partition 0 of `requests`, so many events, and closes the broker; the CPU time that the process has
/// spent, and the outcomes' rows.
///
/// # Errors
/// Whatever keeps the processor from it.
pub async fn decide(broker: Broker, registry: Registry, events: u64) -> Result<(Duration, u64), Failure> {
    let before = cpu::own();
    let running = Running::start(&broker, registry)?;
    let mut rows: u64 = 0;
    let mut reader = broker.reader(Topic::Outcomes, 0, 0);
    while rows < events {
        for message in reader.next(1000, 64 << 20).await? {
            rows += u64::from(RowsMeta::decode(&message.meta)?.rows);
        }
    }
    let spent = cpu::own().saturating_sub(before);
    running.stop().await?;
    broker.close().await?;
    Ok((spent, rows))
}
