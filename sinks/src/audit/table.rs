//! The three tables: which topic fills each, and the order of the columns in which rows are written.
//! The types of the columns stand in `schemas/clickhouse/`; a test writes and reads every column once.

use tidegate_schemas::Topic;

/// A table of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    /// `webhook_requests`.
    Requests,
    /// `webhook_events`.
    Events,
    /// `delivery_attempts`.
    Attempts,
}

impl Table {
    /// Every table.
    pub(crate) const ALL: [Table; 3] = [Table::Requests, Table::Events, Table::Attempts];

    /// The topic that its rows come from.
    pub(crate) const fn topic(self) -> Topic {
        match self {
            Table::Requests => Topic::Requests,
            Table::Events => Topic::Outcomes,
            Table::Attempts => Topic::Attempts,
        }
    }

    /// Its name in ClickHouse.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Table::Requests => "webhook_requests",
            Table::Events => "webhook_events",
            Table::Attempts => "delivery_attempts",
        }
    }

    /// The columns in the order of the rows' values.
    pub(crate) const fn columns(self) -> &'static str {
        match self {
            Table::Requests => super::rows::REQUEST_COLUMNS,
            Table::Events => super::rows::EVENT_COLUMNS,
            Table::Attempts => super::rows::ATTEMPT_COLUMNS,
        }
    }

    /// The byte that stands for it in the journal.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Table::Requests => 1,
            Table::Events => 2,
            Table::Attempts => 3,
        }
    }
}
