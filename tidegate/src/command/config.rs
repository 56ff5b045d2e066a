//! `tidegate config`: every key with its default, or the configuration in force (file and environment applied).

use std::process::ExitCode;

use clap::Args;

use crate::command::Shared;
use crate::config::{Config, DEFAULTS};

/// Print every configuration key with its default, or the configuration in force.
#[derive(Args)]
#[command(
    after_help = "Every key can be overridden by an environment variable: TIDEGATE__SECTION__KEY,\n\
    for instance TIDEGATE__INGEST__LISTEN=0.0.0.0:8080.\n\n\
    tidegate config > tidegate.toml              # a file to edit\n\
    tidegate config --effective -c tidegate.toml # what holds, defaults included"
)]
pub struct Arguments {
    /// Print what holds now: defaults, file and environment together (secrets are left out)
    #[arg(long)]
    effective: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        if self.effective {
            print!(
                "{}",
                Config::effective(shared.config.as_deref(), std::env::vars())?
            );
        } else {
            print!("{DEFAULTS}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
