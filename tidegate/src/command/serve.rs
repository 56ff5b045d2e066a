//! `tidegate serve`: runs the server until it is told to end, or a role fails.

use std::process::ExitCode;

use clap::Args;

use crate::command::Shared;
use crate::serve::{RoleName, Server, Shape};
use crate::{logging, serve};

/// Run the server: every role in one process, or those that are named.
#[derive(Args)]
#[command(
    after_help = "Needs no configuration: everything is embedded and lies below --data.\n\
    SIGTERM and SIGINT drain it: no new connections, requests in flight finished, state written, then exit 0.\n\
    Beside it: `tidegate apply -f tidegate.yaml`, `tidegate logs`, `tidegate query`."
)]
pub struct Arguments {
    /// The roles of this process; the others run elsewhere, on the same Kafka and ClickHouse.
    #[arg(long, value_delimiter = ',', env = "TIDEGATE_ROLES")]
    roles: Vec<RoleName>,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let config = shared.load()?;
        logging::install(&config.log)?;
        serve::runtime()?.block_on(async {
            let told = serve::signal()?;
            let mut server = Server::start(config, &Shape::of(&self.roles)).await?;
            let failure = tokio::select! {
                () = told => None,
                error = server.failed() => Some(error),
            };
            let stopped = server.stop().await;
            match failure {
                Some(error) => Err(error),
                None => stopped.map(|()| ExitCode::SUCCESS),
            }
        })
    }
}
