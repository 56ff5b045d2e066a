//! The `tidegate` binary: reads the command line, the configuration and the environment, and runs one command.
//! Every command is a file in `command/`; what they speak to when the server runs is `api/`. Errors are printed as one
//! line with their causes, and end the process with 1 (2 for a wrong command line).

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::command::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
