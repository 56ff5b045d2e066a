//! The command line: one command, one file. In: arguments. Out: an exit code, or an error with its causes.

mod apply;
mod clickhouse;
mod config;
mod demo;
mod doctor;
mod log;
mod logs;
mod migrate;
mod providers;
mod query;
mod send;
mod serve;
mod simulate;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;

/// Takes webhooks from external APIs, proves each genuine, finds whose it is, and hands on what matters.
#[derive(Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Begin with `tidegate demo`: it shows the whole way of real webhooks on this machine.\n\
    Then `tidegate serve` and, beside it, `tidegate apply -f tidegate.yaml`."
)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
pub struct Shared {
    /// The configuration file (TOML); without it the defaults hold, which `tidegate config` prints
    #[arg(
        long,
        short = 'c',
        global = true,
        env = "TIDEGATE_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// The folder of the log, the keys and the admin socket (server.data in the configuration)
    #[arg(long, short = 'd', global = true, env = "TIDEGATE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// A folder of your own provider definitions, laid over the built-in ones
    #[arg(long = "providers", global = true, value_name = "DIR")]
    definitions: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: every role in one process
    Serve(serve::Arguments),
    /// Show the main job on real webhooks: start everything in a temporary folder, send, and say what became of each
    Demo(demo::Arguments),
    /// Bring the ClickHouse tables up to date
    Migrate(migrate::Arguments),
    /// Make the registry hold what a YAML file says: shows its plan first
    Apply(apply::Arguments),
    /// Send a signed sample webhook of any provider to any URL
    Send(send::Arguments),
    /// Search requests, events and attempts
    Logs(logs::Arguments),
    /// Ask ClickHouse in SQL
    Query(query::Arguments),
    /// Watch the hottest integrations, connections and objects, and what flood control does with them
    Top(top::Arguments),
    /// Try a flood control policy on recorded requests or a described burst, on a virtual clock
    Simulate(simulate::Arguments),
    /// List, show, check and document provider definitions
    Providers(providers::Arguments),
    /// Print every configuration key with its default, or the configuration in force
    Config(config::Arguments),
    /// Look for what is wrong, and say how to mend it
    Doctor(doctor::Arguments),
    /// Look into the embedded log, or repair it
    Log(log::Arguments),
    /// Run the embedded ClickHouse engine behind ClickHouse's HTTP interface
    Clickhouse(clickhouse::Arguments),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// Whatever stands in its way, with causes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let shared = self.shared;
        match self.command {
            Command::Serve(arguments) => arguments.run(&shared),
            Command::Demo(arguments) => arguments.run(&shared),
            Command::Migrate(arguments) => arguments.run(&shared),
            Command::Apply(arguments) => arguments.run(&shared),
            Command::Send(arguments) => arguments.run(&shared),
            Command::Logs(arguments) => arguments.run(&shared),
            Command::Query(arguments) => arguments.run(&shared),
            Command::Top(arguments) => arguments.run(&shared),
            Command::Simulate(arguments) => arguments.run(&shared),
            Command::Providers(arguments) => arguments.run(&shared),
            Command::Config(arguments) => arguments.run(&shared),
            Command::Doctor(arguments) => arguments.run(&shared),
            Command::Log(arguments) => arguments.run(&shared),
            Command::Clickhouse(arguments) => arguments.run(&shared),
        }
    }
}

impl Shared {
    /// The configuration: the file, the environment over it, the command line over both.
    fn load(&self) -> anyhow::Result<Config> {
        let mut config = Config::read(self.config.as_deref(), std::env::vars())?;
        if let Some(data) = &self.data {
            config.server.data.clone_from(data);
        }
        if let Some(definitions) = &self.definitions {
            config.server.definitions = Some(definitions.clone());
        }
        Ok(config)
    }
}

/// A runtime for a command that mostly waits.
fn waiting() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
