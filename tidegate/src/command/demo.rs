//! `tidegate demo`: shows the main job on real webhooks. On a terminal it then stays up and says what to try next;
//! otherwise, or with `--once`, it ends with 0 only if everything came out as it should.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;

use crate::command::Shared;
use crate::config::BrokerKind;
use crate::demo::{self, Demo};
use crate::{logging, serve};

/// Show the main job on real webhooks.
#[derive(Args)]
#[command(
    after_help = "Everything is embedded and lies in a temporary folder, which is removed at the end; --data keeps it. \
                  With broker.kind = \"kafka\" the topics lie on Kafka."
)]
pub struct Arguments {
    /// End when the story is told, also on a terminal
    #[arg(long)]
    once: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let mut config = shared.load()?;
        if std::env::var_os("TIDEGATE__LOG__LEVEL").is_none() {
            config.log.level = "warn".to_owned();
        }
        logging::install(&config.log)?;
        let temporary = tempfile::Builder::new().prefix("tidegate-demo-").tempdir()?;
        let folder = shared.data.clone().unwrap_or_else(|| temporary.path().to_owned());
        let config = demo::configure(config, &folder)?;
        let log = match config.broker.kind {
            BrokerKind::Embedded => "the log".to_owned(),
            BrokerKind::Kafka => format!("topics on Kafka at {}", config.broker.kafka.bootstrap),
        };
        println!(
            "Tidegate {}: {log}, ClickHouse and every role in this process, below {}",
            env!("CARGO_PKG_VERSION"),
            folder.display()
        );
        serve::runtime()?.block_on(async {
            let told = serve::signal()?;
            let demo = demo::tell(config, |text| println!("{text}")).await?;
            let wrong = demo.wrong.len();
            conclude(&demo);
            if !self.once && std::io::stdout().is_terminal() {
                invite(&demo, &folder);
                told.await;
            }
            demo.end().await?;
            Ok(if wrong == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        })
    }
}

fn conclude(demo: &Demo) {
    if demo.wrong.is_empty() {
        println!("Everything came out as it should.");
        return;
    }
    println!("{} things did not come out as they should:", demo.wrong.len());
    for complaint in &demo.wrong {
        println!("  {complaint}");
    }
}

fn invite(demo: &Demo, folder: &std::path::Path) {
    let folder = folder.display();
    println!("\nStill running. Try in another terminal (Ctrl-C ends it):\n");
    println!("  tidegate -d {folder} logs events");
    println!("  tidegate -d {folder} logs attempts --json");
    println!("  tidegate -d {folder} query \"SELECT provider, outcome, count() FROM events GROUP BY ALL\"");
    if let Some(url) = demo.urls.get("source-code") {
        println!("  tidegate send github --to {url} --secret {}", demo.secret);
    }
}
