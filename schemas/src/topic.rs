//! The topics: their names, and what is promised of each. The same on Kafka and on the embedded log.
//! Holds no partition counts or retentions: those are configuration.

use crate::closed_set::closed_set;

closed_set! {
    /// A topic of the broker.
    Topic {
        /// Raw requests, keyed by integration; written by ingest, read by processor and audit.
        Requests = "requests",
        /// Routed events, keyed by connection and object key; read by forward.
        Events = "events",
        /// The outcome rows of one batch as JSON lines; read by audit.
        Outcomes = "outcomes",
        /// The attempt rows of one batch as JSON lines; read by audit.
        Attempts = "attempts",
        /// Dead deliveries by value, kept 30 days.
        Dead = "dead",
        /// The journal of one partition of `requests`.
        State = "state",
        /// The journal of one partition of `events`.
        Retries = "retries",
        /// The journal of all entities; one partition.
        Registry = "registry",
        /// What audit is about to insert: the offset ranges of each block's token. Embedded only.
        Audit = "audit",
    }
}

impl Topic {
    /// The topic's full name under the configured prefix.
    #[must_use]
    pub fn name(self, prefix: &str) -> String {
        format!("{prefix}{}", self.label())
    }

    /// Whether an append is acknowledged, and readable, only once it is durable.
    #[must_use]
    pub const fn waits_for_sync(self) -> bool {
        matches!(self, Topic::Requests | Topic::Registry)
    }

    /// Whether a message may be as large as a request's body; the others hold rows or changes.
    #[must_use]
    pub const fn holds_bodies(self) -> bool {
        matches!(self, Topic::Requests | Topic::Events | Topic::Dead)
    }

    /// Whether the topic is a journal: kept without limit, trimmed by its owner alone.
    #[must_use]
    pub const fn is_journal(self) -> bool {
        matches!(
            self,
            Topic::State | Topic::Retries | Topic::Registry | Topic::Audit
        )
    }
}
