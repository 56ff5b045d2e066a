//! This process's last copy of the registry, on its own disk: written at the start, now and then, and at a clean stop,
//! when anything has changed. In: the registry. Out: `DATA/registry.copy`. Never the truth: a start without a broker may
//! begin with it, and says so.

use std::path::PathBuf;

use tidegate_broker::Broker;
use tidegate_registry::Registry;
use tidegate_schemas::Topic;

use super::roles::Role;

/// The copy and what is in it.
pub struct RegistryCopy {
    registry: Registry,
    path: PathBuf,
    /// The journal's end when it was written.
    written: Option<u64>,
}

impl RegistryCopy {
    /// Of a process's registry; nothing is written yet.
    pub fn new(role: &Role<'_>) -> Self {
        Self {
            registry: role.registry.clone(),
            path: role.config.registry_copy(),
            written: None,
        }
    }

    /// Writes it, if anything has changed. A copy that cannot be written is no reason to end: the former one stays.
    pub async fn save(&mut self, broker: &Broker) {
        let end = broker.offsets(Topic::Registry, 0).end;
        if self.written == Some(end) || self.registry.read_to_end().await.is_err() {
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
