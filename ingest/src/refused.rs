//! What ingest refused or answered itself goes to `requests` for the audit, without anybody waiting for it: the first
//! bytes of the body, at most so many a second for one integration, the rest only counted. The processor passes over
//! these messages.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidegate_broker::{Broker, Record};
use tidegate_schemas::{IntegrationId, Topic};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::metrics;
use crate::rate::{Rate, Rates};

/// How many such appends may be under way at once.
const PENDING_MAX: usize = 1_000;

/// Records refused and answered requests.
pub struct Refused {
    broker: Broker,
    rates: Rates,
    rate: Rate,
    body_bytes_max: usize,
    pending: Arc<Semaphore>,
}

/// The integration and partition that a refused request belongs to.
#[derive(Clone, Copy)]
pub struct Place {
    /// The integration.
    pub integration: IntegrationId,
    /// Its partition of `requests`.
    pub partition: u32,
}

impl Refused {
    /// Records into `broker` within the limits of `config`.
    pub fn new(broker: Broker, config: &Config) -> Self {
        let per_second = f64::from(config.refusals_per_second_max);
        Self {
            broker,
            rates: Rates::new(config.rates_max),
            rate: Rate {
                per_second,
                burst: per_second,
            },
            body_bytes_max: config.refusal_body_bytes_max,
            pending: Arc::new(Semaphore::new(PENDING_MAX)),
        }
    }

    /// Appends the request's metadata and the first bytes of its body, unless its integration, whose key
    /// is given, has had its share.
    pub fn record(&self, place: Place, (key, meta): (&str, impl FnOnce() -> Vec<u8>), body: &Bytes) {
        let granted = self
            .rates
            .take(place.integration, self.rate, Instant::now())
            .granted;
        let Some(permit) = granted
            .then(|| self.pending.clone().try_acquire_owned().ok())
            .flatten()
        else {
            return metrics::unrecorded();
        };
        let record = Record {
            topic: Topic::Requests,
            partition: place.partition,
            key: Bytes::copy_from_slice(key.as_bytes()),
            meta: Bytes::from(meta()),
            // A copy, so that the whole body is not held for its first bytes.
            value: Bytes::copy_from_slice(&body[..body.len().min(self.body_bytes_max)]),
        };
        let broker = self.broker.clone();
        tokio::spawn(async move {
            if let Err(error) = broker.append(vec![record]).await {
                metrics::unrecorded();
                tracing::debug!(%error, "a refused request was not recorded");
            }
            drop(permit);
        });
    }
}
