//! The `tidegate` binary: reads the command line, the configuration and the environment, and runs one command.
//! Every command is a file in `command/`; what they speak to when the server runs is `api/`. Errors are printed as one
//! line with their causes, and end the process with 1 (2 for a wrong command line).

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::command::Cli;

/// A request makes and frees some fifty small pieces of memory, many of them on different threads, and the log keeps the
/// newest messages: the system's allocator took a third of ingest's CPU time for that, this one a tenth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
