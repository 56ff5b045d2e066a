//! The process's metrics: one recorder, the meaning of every family of every room, and the page that `/metrics` shows.
//! A family without a sample stands on it too, so that a dashboard can tell "never" from "unknown". Counts nothing.

use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The recorder of this process.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// A family of metrics, as a room describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// Its type on the page.
    pub kind: &'static str,
    /// What it means.
    pub help: String,
}

/// Tells the recorder what the metrics of every room mean.
fn describe() {
    tidegate_broker::describe();
    tidegate_chdb::metrics::describe();
    tidegate_egress::describe();
    tidegate_ingest::describe();
    tidegate_processor::describe();
    tidegate_registry::describe();
    tidegate_sinks::audit::describe();
    tidegate_sinks::forward::describe();
}

/// Every family that a room describes, by name.
#[must_use]
pub fn families() -> Vec<Family> {
    let described = Described::default();
    metrics::with_local_recorder(&described, describe);
    let mut families = described.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    families.sort();
    families
}

impl Metrics {
    /// Installs the recorder; a second server in one process (a test) shares it.
    ///
    /// # Errors
    /// When the process has another recorder already.
    pub fn install() -> anyhow::Result<Self> {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        if let Some(handle) = HANDLE.get() {
            return Ok(Self {
                handle: handle.clone(),
            });
        }
        let handle = PrometheusBuilder::new().install_recorder()?;
        describe();
        let handle = HANDLE.get_or_init(|| handle).clone();
        Ok(Self { handle })
    }

    /// The page, in Prometheus's text format.
    #[must_use]
    pub fn page(&self) -> String {
        with_every_family(self.handle.render(), &families())
    }
}

/// Adds what is described and has no sample yet.
fn with_every_family(mut page: String, families: &[Family]) -> String {
    let has = |page: &str, name: &str| {
        page.lines().any(|line| {
            line.strip_prefix("# TYPE ")
                .is_some_and(|rest| rest.split(' ').next() == Some(name))
        })
    };
    let missing: Vec<_> = families
        .iter()
        .filter(|family| !has(&page, &family.name))
        .collect();
    for Family { name, kind, help } in missing {
        write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n\n").expect("a text takes more text");
    }
    page
}

/// A recorder that only listens to descriptions.
#[derive(Default)]
struct Described(Mutex<Vec<Family>>);

impl Described {
    fn add(&self, name: &KeyName, kind: &'static str, help: &SharedString) {
        let family = Family {
            name: name.as_str().to_owned(),
            kind,
            help: help.to_string(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(family);
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "counter", &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "gauge", &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.add(&name, "summary", &help);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_on_the_page_once() {
        let family = |name: &str| Family {
            name: name.to_owned(),
            kind: "counter",
            help: "x".to_owned(),
        };
        let page = "# HELP a_total x\n# TYPE a_total counter\na_total 1\n".to_owned();
        let page = with_every_family(page, &[family("a_total"), family("a")]);
        assert!(
            page.ends_with("a_total 1\n# HELP a x\n# TYPE a counter\n\n"),
            "{page}"
        );
    }
}
