//! `tidegate apply -f FILE`: shows what would change, asks on a terminal, and writes. Secrets come from the environment
//! as `${VAR}`; those that the server generates are printed once.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tidegate_registry::manifest::Manifest;

use crate::api::apply::{Applied, Wanted};
use crate::client::Client;
use crate::command::{Shared, waiting};

/// Make the registry hold what a YAML file says: shows its plan first.
#[derive(Args)]
#[command(
    after_help = "The file is explained, line by line, in docs/tidegate.yaml.\n\n\
    WEBHOOK_SECRET=… tidegate apply -f tidegate.yaml          # plan, question, write\n\
    tidegate apply -f tidegate.yaml --plan                    # plan only\n\
    tidegate apply -f tidegate.yaml --yes --prune             # also delete what the file does not name"
)]
pub struct Arguments {
    /// The file
    #[arg(long, short = 'f', value_name = "FILE")]
    file: PathBuf,
    /// Print the plan and write nothing
    #[arg(long)]
    plan: bool,
    /// Write without asking
    #[arg(long, short = 'y')]
    yes: bool,
    /// Also delete what the file does not name
    #[arg(long)]
    prune: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let name = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {name}"))?;
        let mut wanted = Wanted {
            file: name,
            variables: variables(&text),
            text,
            prune: self.prune,
            write: false,
        };
        let client = Client::of(&shared.load()?.server.data)?;
        waiting()?.block_on(async {
            let planned: Applied = client.post("/api/v1/apply", &wanted).await?;
            print!("{}", planned.plan);
            if planned.changes && !self.plan {
                if !self.yes && !agreed()? {
                    println!("nothing was written");
                    return Ok(ExitCode::FAILURE);
                }
                wanted.write = true;
                show(&client.post("/api/v1/apply", &wanted).await?);
            } else {
                show(&planned);
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The values of the variables that the file names; one that is not set is the server's to complain about, by line.
fn variables(text: &str) -> BTreeMap<String, String> {
    let named = Manifest::variables(text).into_keys();
    named
        .filter_map(|name| std::env::var(&name).ok().map(|value| (name, value)))
        .collect()
}

/// Asks on a terminal; elsewhere only `--yes` agrees.
fn agreed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nobody is here to agree: add --yes to write, or --plan to look only");
    }
    print!("write this? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn show(applied: &Applied) {
    if !applied.generated.is_empty() {
        println!("\ngenerated, shown this once:");
        for secret in &applied.generated {
            println!("  {secret}");
        }
    }
    if !applied.integrations.is_empty() {
        println!("\nregister at the providers:");
        for webhook in &applied.integrations {
            println!(
                "  {:<14} {:<24} {}",
                webhook.environment, webhook.integration, webhook.url
            );
        }
    }
}
