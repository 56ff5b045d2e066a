//! The tables and views of ClickHouse as numbered migrations, plain SQL in `schemas/clickhouse/`.
//! Out: each migration's number, file name, statements and checksum. Applies nothing: that is the audit's work.
//!
//! A file holds statements that each end with `;` at the end of a line, and nothing behind the last one. Every
//! statement can be run twice (`IF NOT EXISTS`, `OR REPLACE`), so two processes that migrate at once do no harm. A
//! file that was released is never changed again: the next number changes what it made.

use sha2::{Digest, Sha256};

/// One file of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number; they are applied in this order.
    pub number: u32,
    /// Its file name.
    pub file: &'static str,
    /// Its text.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($number:literal $file:literal),+ $(,)?) => {
        /// Every migration, in order.
        pub const MIGRATIONS: &[Migration] = &[ $( Migration {
            number: $number,
            file: $file,
            sql: include_str!(concat!("../clickhouse/", $file)),
        } ),+ ];
    };
}

migrations! {
    1 "0001_webhook_requests.sql",
    2 "0002_webhook_events.sql",
    3 "0003_delivery_attempts.sql",
    4 "0004_views.sql",
    5 "0005_rollups.sql",
}

/// The table that holds which migrations were applied; made before any of them.
pub const SCHEMA_MIGRATIONS: &str = include_str!("../clickhouse/schema_migrations.sql");

impl Migration {
    /// Its statements, in order, without their `;`.
    pub fn statements(&self) -> impl Iterator<Item = &'static str> {
        statements(self.sql)
    }

    /// SHA-256 of its text, as hex.
    #[must_use]
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The statements of a text, in order, without their `;`.
pub fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_under_its_number() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("clickhouse");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder of migrations")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a plain name")
            })
            .filter(|name| name != "schema_migrations.sql")
            .collect();
        files.sort();
        let listed: Vec<&str> = MIGRATIONS.iter().map(|migration| migration.file).collect();
        assert_eq!(listed, files);
        for (migration, expected) in MIGRATIONS.iter().zip(1u32..) {
            assert_eq!(migration.number, expected);
            assert!(
                migration.file.starts_with(&format!("{expected:04}_")),
                "{}",
                migration.file
            );
        }
    }

    #[test]
    fn every_statement_can_run_twice() {
        for migration in MIGRATIONS {
            assert!(
                migration.sql.ends_with(";\n"),
                "{} ends within a statement",
                migration.file
            );
            for statement in migration.statements() {
                let code: String = statement
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("--"))
                    .collect();
                let repeatable = ["IF NOT EXISTS", "OR REPLACE", "IF EXISTS"];
                assert!(
                    repeatable.iter().any(|words| code.contains(words)) || code.starts_with("ALTER TABLE"),
                    "{}: a second run of this fails: {statement}",
                    migration.file
                );
            }
        }
    }
}
