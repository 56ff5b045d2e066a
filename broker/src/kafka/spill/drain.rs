//! Sending on what lies in the spill, each partition by itself: asked first, so that nothing is sent to somebody who does
//! not answer; then one batch after the other, each trimmed only when all of it is acknowledged. A batch that has no answer
//! is sent again, whole. In: what lies in the store. Out: the same in Kafka. Decides nothing about new requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::intake::{Intake, Life, Silence};
use super::outlet::Outlet;
use crate::error::AppendError;
use crate::message::{Message, Record};
use crate::metrics;

/// Batches held in memory at a time, over all partitions.
const BATCHES_MAX: usize = 8;
/// How soon somebody who did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How soon a failure is told again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What the drains of all partitions share.
pub struct Drains {
    batches: Semaphore,
}

impl Default for Drains {
    fn default() -> Self {
        Self {
            batches: Semaphore::new(BATCHES_MAX),
        }
    }
}

impl Drains {
    /// Drains one partition until the intake closes.
    pub async fn run<O: Outlet>(self: Arc<Self>, intake: Arc<Intake<O>>, partition: u32) {
        let mut life = intake.life();
        if life.wait_for(|life| *life != Life::Unreached).await.is_err() {
            return;
        }
        let mut told: Option<Instant> = None;
        while !intake.is_closed() {
            tokio::select! {
                () = intake.store.lies(partition) => {}
                _ = life.wait_for(|life| *life == Life::Closed) => return,
            }
            let mut silence = Some(intake.silence());
            // A batch that is sent is waited for, closed or not.
            while let Err(error) = self.drain(&intake, partition, &mut silence).await {
                intake.unanswered();
                if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
                    told = Some(Instant::now());
                    tracing::warn!(partition, %error, "what lies in the spill cannot be sent yet");
                }
                silence.get_or_insert_with(|| intake.silence());
                tokio::select! {
                    () = tokio::time::sleep(ASK_AGAIN) => {}
                    _ = life.wait_for(|life| *life == Life::Closed) => return,
                }
            }
        }
    }

    /// Sends batches until nothing is left in the partition, or the intake closes.
    async fn drain<'a, O: Outlet>(
        &self,
        intake: &'a Intake<O>,
        partition: u32,
        silence: &mut Option<Silence<'a>>,
    ) -> Result<(), AppendError> {
        if !intake.outlet.answers(partition).await {
            return Err(unanswered("its leader does not answer".to_owned()));
        }
        while intake.store.holds(partition) && !intake.is_closed() {
            let _share = self.batches.acquire().await.map_err(|_| AppendError::Closed)?;
            let messages = intake.store.oldest(partition).await;
            // A disk that gives back something else than was written is told, and asked again: nothing is passed over.
            let messages = messages.map_err(|error| unanswered(error.to_string()))?;
            let records: Vec<Record> = messages.iter().map(record).collect();
            let began = Instant::now();
            intake.outlet.send(&records).await?;
            let after = began.elapsed();
            intake.store.drained(partition, &messages).await?;
            metrics::drained(messages.len());
            drop(silence.take());
            intake.acknowledged(after);
        }
        Ok(())
    }
}

fn unanswered(reason: String) -> AppendError {
    AppendError::Unanswered {
        topic: tidegate_schemas::Topic::Requests.label(),
        reason,
    }
}

fn record(message: &Message) -> Record {
    Record {
        topic: message.topic,
        partition: message.partition,
        key: message.key.clone(),
        meta: message.meta.clone(),
        value: message.value.clone(),
    }
}
