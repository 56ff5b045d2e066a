//! `tidegate migrate`: brings the tables of a configured ClickHouse up to date. `serve` does it by itself; this is for
//! those who want it done before. The embedded engine is migrated by its server alone.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use tidegate_sinks::audit;

use crate::command::{Shared, waiting};

/// Bring the ClickHouse tables up to date.
#[derive(Args)]
#[command(
    after_help = "Migrations are plain SQL in schemas/clickhouse/, applied in order, each once.\n\
    TIDEGATE__CLICKHOUSE__URL=http://localhost:8123 tidegate migrate"
)]
pub struct Arguments {}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let config = shared.load()?;
        if config.clickhouse.url.is_empty() {
            bail!(
                "no ClickHouse is configured (clickhouse.url): the embedded one is migrated by `tidegate serve` itself"
            );
        }
        let report = waiting()?.block_on(audit::migrate(&config.clickhouse))?;
        for file in &report.applied {
            println!("applied {file}");
        }
        for term in &report.terms {
            println!("changed {term}");
        }
        println!("{} applied now, {} before", report.applied.len(), report.present);
        for file in &report.newer {
            println!("left alone: {file}, of a newer version");
        }
        Ok(ExitCode::SUCCESS)
    }
}
