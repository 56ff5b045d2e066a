//! Whether ClickHouse takes the audit's rows, for readiness and `doctor`. In: what each try came to. Out: a snapshot.

use std::sync::Arc;

use parking_lot::Mutex;

/// A handle on the audit's standing; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Standing>>);

/// How the audit stands with ClickHouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the migrations of this build are applied.
    pub migrated: bool,
    /// Whether the last try succeeded.
    pub reachable: bool,
    /// The last failure since the last success, in words.
    pub last_error: Option<String>,
}

impl Status {
    /// How it stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.lock().clone()
    }

    pub(crate) fn migrated(&self) {
        self.0.lock().migrated = true;
    }

    pub(crate) fn reached(&self) {
        let mut standing = self.0.lock();
        if !standing.reachable {
            tracing::info!("clickhouse takes rows");
        }
        standing.reachable = true;
        standing.last_error = None;
    }

    pub(crate) fn failed(&self, error: &str) {
        let mut standing = self.0.lock();
        if standing.last_error.is_none() {
            tracing::warn!(
                error,
                "rows wait in their topics: clickhouse does not take them, or the broker does not answer"
            );
        }
        standing.reachable = false;
        standing.last_error = Some(error.to_owned());
    }
}
