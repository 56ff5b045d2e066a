//! `tidegate query "SQL"`: asks the server's ClickHouse, embedded or not, and prints the rows as they come.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::api::question::Question;
use crate::client::Client;
use crate::command::{Shared, waiting};

/// Ask ClickHouse in SQL.
#[derive(Args)]
#[command(
    after_help = "The views `requests`, `events` and `attempts` read deduplicated:\n\n\
    tidegate query \"SELECT outcome, count() FROM events GROUP BY outcome\"\n\
    tidegate query --format JSONEachRow \"SELECT * FROM attempts WHERE status = 'dead' LIMIT 10\"\n\
    echo \"SELECT 1\" | tidegate query -"
)]
pub struct Arguments {
    /// The statement; `-` reads it from standard input
    sql: String,
    /// A ClickHouse output format: PrettyCompact, JSONEachRow, CSVWithNames, …
    #[arg(long, default_value = "PrettyCompact", value_name = "FORMAT")]
    format: String,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let sql = if self.sql == "-" {
            std::io::read_to_string(std::io::stdin())?
        } else {
            self.sql
        };
        let client = Client::of(&shared.load()?.server.data)?;
        waiting()?.block_on(async {
            let question = Question {
                sql,
                format: self.format,
            };
            let mut answer = client.stream("/api/v1/query", &question).await?;
            let mut out = std::io::stdout().lock();
            while let Some(chunk) = answer.chunk().await? {
                out.write_all(&chunk)?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
