//! Which process writes the registry: of those with the role `api` the one that their group gives the registry's
//! partition. In: the group's changes. Out: a writer at this process's desk, as long as it is the one. What others have
//! opened meanwhile is taken over again only while the group says so.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Assignment, Assignments, Broker};
use tidegate_registry::{Config, Desk, Keyring, Registry, Writer};
use tokio_util::sync::CancellationToken;

/// How soon a registry that could not be taken over is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a writer that was overtaken waits to hear that the group has chosen another.
const OVERTAKEN_PAUSE: Duration = Duration::from_secs(3);

/// What a process needs to write the registry.
pub struct Lead {
    /// The topics.
    pub broker: Broker,
    /// What users configured, as this process reads it.
    pub registry: Registry,
    /// What secrets are sealed with.
    pub keyring: Arc<Keyring>,
    /// The registry's limits.
    pub config: Config,
    /// Where the writer is put.
    pub desk: Desk,
    /// Where other processes reach this one.
    pub address: String,
}

impl Lead {
    /// Writes the registry whenever it is this process's turn, until `stop`.
    ///
    /// # Errors
    /// When the registry was made for other partition counts, or is read no more.
    pub async fn run(self, mut assignments: Assignments, stop: CancellationToken) -> anyhow::Result<()> {
        let (mut is_ours, mut writer, mut pause) = (false, None, Duration::ZERO);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                change = assignments.next() => match change {
                    Assignment::Gained(_) => (is_ours, pause) = (true, Duration::ZERO),
                    Assignment::Lost(partition) => {
                        tracing::info!("another process writes the registry now");
                        self.desk.dismiss();
                        (is_ours, writer) = (false, None);
                        assignments.released(partition);
                    }
                },
                taken = self.take_over(pause), if is_ours && writer.is_none() => match taken {
                    Ok(taken) => {
                        tracing::info!(address = self.address, "this process writes the registry");
                        self.desk.appoint(taken.clone());
                        writer = Some(taken);
                    }
                    Err(error) if error.is_retryable() || error.is_lost() => {
                        tracing::warn!(%error, "the registry cannot be taken over yet");
                        pause = AGAIN;
                    }
                    Err(error) => return Err(error.into()),
                },
                () = overtaken(writer.as_ref()) => {
                    tracing::warn!("another process has opened the registry's journal");
                    self.desk.dismiss();
                    (writer, pause) = (None, OVERTAKEN_PAUSE);
                }
            }
        }
        self.desk.dismiss();
        Ok(())
    }

    async fn take_over(&self, pause: Duration) -> Result<Writer, tidegate_registry::OpenError> {
        tokio::time::sleep(pause).await;
        Writer::take_over(
            (&self.broker, &self.registry),
            self.keyring.clone(),
            (&self.config, Some(self.address.clone())),
        )
        .await
    }
}

async fn overtaken(writer: Option<&Writer>) {
    match writer {
        Some(writer) => writer.overtaken().await,
        None => std::future::pending().await,
    }
}
