//! `tidegate doctor`: says what is wrong, doubtful or missing, and how to mend it. Exit code 1 when something is wrong.

use std::process::ExitCode;

use clap::Args;

use crate::command::{Shared, waiting};
use crate::doctor::{Degree, examine};
use crate::serve::{RoleName, Shape};

/// Look for what is wrong, and say how to mend it.
#[derive(Args)]
#[command(
    after_help = "Looks at the configuration, the data folder, the disk, the keys, the definitions, ClickHouse, the log or \
    Kafka with its topics and how far their readers are behind. Changes nothing, and may run beside a server.\n\
    Exit code 1 when something is WRONG; what is only doubtful (warn) does not count."
)]
pub struct Arguments {
    /// The roles of the process that would run here
    #[arg(long, value_delimiter = ',', env = "TIDEGATE_ROLES")]
    roles: Vec<RoleName>,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let config = shared.load()?;
        let shape = Shape::of(&self.roles);
        let worst = waiting()?.block_on(examine(&config, &shape, |finding| println!("{finding}")));
        Ok(match worst {
            Degree::Fine | Degree::Doubtful => ExitCode::SUCCESS,
            Degree::Wrong => ExitCode::FAILURE,
        })
    }
}
