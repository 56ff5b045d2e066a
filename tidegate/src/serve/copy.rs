//! This process's last copy of the registry, on its own disk: written soon after anything has changed, as rarely as it
//! takes to cost next to nothing, and at a clean stop. In: the registry. Out: `DATA/registry.copy`. Never the truth: a
//! start without a broker begins with it, and says so.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tidegate_broker::Broker;
use tidegate_registry::Registry;
use tidegate_schemas::Topic;

use super::roles::Role;

/// A copy may take one hundredth of the time, and is never older than this.
const REST: u32 = 100;
const REST_MAX: Duration = Duration::from_secs(600);

/// The copy and what is in it.
pub struct RegistryCopy {
    registry: Registry,
    path: PathBuf,
    /// The journal's end when it was written.
    written: Option<u64>,
    /// Not before then it is written again.
    not_before: Instant,
}

impl RegistryCopy {
    /// Of a process's registry; nothing is written yet.
    pub fn new(role: &Role<'_>) -> Self {
        Self {
            registry: role.registry.clone(),
            path: role.config.registry_copy(),
            written: None,
            not_before: Instant::now(),
        }
    }

    /// Writes it, if anything has changed and the last time is long enough ago.
    pub async fn refresh(&mut self, broker: &Broker) {
        if Instant::now() >= self.not_before {
            let began = Instant::now();
            self.save(broker).await;
            self.not_before = Instant::now() + (began.elapsed() * REST).min(REST_MAX);
        }
    }

    /// Writes it, if anything has changed. A copy that cannot be written is no reason to end: the former one stays.
    pub async fn save(&mut self, broker: &Broker) {
        let end = broker.offsets(Topic::Registry, 0).end;
        if self.written == Some(end) || self.registry.runs_on_copy() {
            return;
        }
        if self.registry.read_to_end().await.is_err() {
            return;
        }
        let (registry, path) = (self.registry.clone(), self.path.clone());
        let saved = tokio::task::spawn_blocking(move || registry.save_copy(&path)).await;
        match saved {
            Ok(Ok(())) => self.written = Some(end),
            Ok(Err(error)) => tracing::warn!(%error, "the registry's copy is not up to date"),
            Err(panic) => tracing::error!(%panic, "the registry's copy was not written"),
        }
    }
}
