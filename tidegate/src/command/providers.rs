//! `tidegate providers`: lists, shows, checks and documents definitions, the built-in ones and those of `--providers`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidegate_providers::docs;

use crate::command::Shared;
use crate::serve::catalogue;

/// List, show, check and document provider definitions.
#[derive(Args)]
#[command(
    after_help = "The language of definitions is explained in providers/GRAMMAR.md; CONTRIBUTING.md adds one in ten minutes."
)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// All providers, a line each
    List,
    /// What one provider sends, how it proves itself, and what to set up
    Show {
        /// The provider's name
        name: String,
    },
    /// Compile a definition file and say what is wrong with it
    Check {
        /// The file
        file: PathBuf,
    },
    /// The docs table of all providers
    Markdown,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let config = shared.load()?;
        match self.action.unwrap_or(Action::List) {
            Action::List => print!("{}", docs::list(&catalogue(&config)?)),
            Action::Show { name } => {
                let catalogue = catalogue(&config)?;
                let Some(definition) = catalogue.get(&name) else {
                    anyhow::bail!("there is no provider `{name}`: `tidegate providers list` shows all");
                };
                print!("{}", docs::show(&definition));
            }
            Action::Check { file } => {
                let definition = tidegate_providers::check_file(&file)?;
                println!("{}: `{}` is a definition", file.display(), definition.name());
            }
            Action::Markdown => print!("{}", docs::markdown(&catalogue(&config)?)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
