//! What can go wrong between the audit and ClickHouse, told apart by what to do about it: wait, search the block for
//! the row that is to blame, or stop and say so. In: the client's errors. Decides nothing by itself.

use tidegate_broker::journal::JournalError;
use tidegate_schemas::MetaError;

/// Why the audit cannot go on, or a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ClickHouse did not do what it was asked.
    #[error("clickhouse: {0}")]
    ClickHouse(#[from] clickhouse::error::Error),
    /// A migration says something else than when it was applied.
    #[error(
        "migration {file} was changed after it was applied (its checksum was {applied}, now it is {found}): put its \
         text back and make the change in a migration with the next number"
    )]
    MigrationChanged {
        /// The file.
        file: &'static str,
        /// The checksum when it was applied.
        applied: String,
        /// The checksum now.
        found: String,
    },
    /// A statement of a migration was refused.
    #[error("migration {file}, statement {statement}: {source}")]
    Migration {
        /// The file.
        file: &'static str,
        /// Which of its statements, from 1.
        statement: usize,
        /// ClickHouse's answer.
        source: clickhouse::error::Error,
    },
    /// A configured value that cannot work.
    #[error("clickhouse.{key} {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it, and how to mend it.
        problem: String,
    },
    /// A message was written by a newer Tidegate.
    #[error(transparent)]
    Newer(#[from] MetaError),
    /// The broker cannot be read.
    #[error("audit cannot read its topics: {0}")]
    Broker(#[from] tidegate_broker::Error),
    /// Messages that are there do not come.
    #[error(
        "audit waits for {topic} partition {partition} from offset {next}: the broker has it, and handed out nothing for \
         {seconds} s (is it busy, or the partition without a leader?); nothing is passed over"
    )]
    Stalled {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: u32,
        /// The offset that is waited for.
        next: u64,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The journal of blocks cannot be read or written.
    #[error("audit cannot journal its blocks: {0}")]
    Journal(#[from] JournalError),
}

impl Error {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::ClickHouse(error) | Error::Migration { source: error, .. } => {
                Fault::of(error) == Fault::World
            }
            Error::Journal(error) => error.is_retryable(),
            Error::Broker(error) => error.is_retryable(),
            Error::Stalled { .. } => true,
            Error::MigrationChanged { .. } | Error::Config { .. } | Error::Newer(_) => false,
        }
    }
}

/// Whom an error of ClickHouse's is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// ClickHouse itself: it is away, full, busy, or not set up. Waiting helps.
    World,
    /// The rows that were sent: trying again does not help.
    Rows,
    /// A code that is in neither list.
    Unknown,
}

/// Codes that a row causes: sizes and ranges, parsing, types, constraints. The names are those that ClickHouse's
/// `errorCodeToName` gives.
const ROWS: &[u32] = &[
    6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 128, 131, 321, 349, 407, 469, 691,
];

/// Codes that waiting or an operator cures: missing tables and permissions, time, connections, limits, space, shutdown.
const WORLD: &[u32] = &[
    3, 16, 60, 74, 75, 76, 81, 159, 160, 164, 192, 193, 201, 202, 203, 209, 210, 236, 241, 242, 243, 252,
    279, 285, 286, 290, 319, 364, 394, 410, 425, 439, 495, 497, 516, 692, 700, 745, 749, 762, 999, 1000,
];

impl Fault {
    pub(crate) fn of(error: &clickhouse::error::Error) -> Fault {
        match error {
            clickhouse::error::Error::BadResponse(text) => match code(text) {
                Some(code) if ROWS.contains(&code) => Fault::Rows,
                Some(code) if WORLD.contains(&code) => Fault::World,
                Some(_) => Fault::Unknown,
                None => Fault::World,
            },
            _ => Fault::World,
        }
    }
}

/// The number in `Code: 469. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let rest = text.split_once("Code: ")?.1;
    let digits = rest.split(|byte: char| !byte.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Fault) {
        let error = clickhouse::error::Error::BadResponse(text.to_owned());
        assert_eq!(Fault::of(&error), expected, "{text}");
    }

    #[test]
    fn faults_are_told_apart_by_their_code() {
        check(
            "Code: 469. DB::Exception: Constraint `c` is violated",
            Fault::Rows,
        );
        check(
            "Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)",
            Fault::World,
        );
        check("Code: 241. DB::Exception: memory limit exceeded", Fault::World);
        check("Code: 36. DB::Exception: whatever this is", Fault::Unknown);
        check("503 Service Unavailable", Fault::World);
        assert!(
            ROWS.iter().all(|code| !WORLD.contains(code)),
            "a code in both lists"
        );
    }
}
