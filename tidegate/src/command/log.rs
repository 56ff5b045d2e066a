//! `tidegate log inspect | repair`: looks into the embedded log, also beside a running server, and mends damage that a
//! start refuses. Cuts nothing without being told what to give up.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use tidegate_broker::embedded::{self, Inspection, SegmentReport};

use crate::command::Shared;

/// Look into the embedded log, or repair it.
#[derive(Args)]
#[command(
    after_help = "A start that finds damage names it and refuses. `inspect` shows where it is; then\n\n\
    tidegate log repair --give-up damaged    # lose only what cannot be read\n\
    tidegate log repair --give-up rest       # lose everything from the first damage on\n\n\
    Copy the folder first: what a repair gives up is gone."
)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What the log holds, segment by segment; also beside a running server
    Inspect {
        /// Show each partition too
        #[arg(long)]
        partitions: bool,
    },
    /// Mend a damaged log; no server may run on it
    Repair {
        /// What is lost
        #[arg(long, value_enum)]
        give_up: GiveUp,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum GiveUp {
    /// Only the messages in damaged frames
    Damaged,
    /// Everything from the first damage on
    Rest,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let folder = shared.load()?.log_folder();
        if !folder.is_dir() {
            anyhow::bail!(
                "there is no log in {}: name its data folder with --data",
                folder.display()
            );
        }
        match self.action {
            Action::Inspect { partitions } => {
                let inspection = embedded::inspect(&folder)?;
                print(&inspection, partitions);
                Ok(if inspection.damage.is_some() {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                })
            }
            Action::Repair { give_up } => {
                let decision = match give_up {
                    GiveUp::Damaged => embedded::Decision::Skip,
                    GiveUp::Rest => embedded::Decision::Cut,
                };
                let given_up = embedded::repair(&folder, decision)?;
                for damage in &given_up {
                    println!("gave up: {damage}");
                }
                println!(
                    "{} damages mended; the next start makes the indexes anew",
                    given_up.len()
                );
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print(inspection: &Inspection, partitions: bool) {
    println!(
        "{:>8} {:>12} {:>12} {:>10}  end",
        "segment", "file bytes", "used bytes", "messages"
    );
    for segment in &inspection.segments {
        let messages: u64 = segment
            .partitions
            .iter()
            .map(|partition| partition.messages)
            .sum();
        println!(
            "{:>8} {:>12} {:>12} {:>10}  {}",
            segment.number, segment.file_bytes, segment.used_bytes, messages, segment.end
        );
        if partitions {
            print_partitions(segment);
        }
    }
    let closed = if inspection.closed {
        "closed in good order"
    } else {
        "open, or not closed in good order"
    };
    println!(
        "{} segments in use, {} written ahead; {closed}",
        inspection.segments.len(),
        inspection.spares
    );
    match &inspection.damage {
        None => println!("no damage"),
        Some(damage) => println!("damage: {damage}\n`tidegate log repair --help` says what can be done"),
    }
}

fn print_partitions(segment: &SegmentReport) {
    for partition in &segment.partitions {
        let offsets = partition
            .offsets
            .map_or_else(|| "-".to_owned(), |(first, last)| format!("{first}..={last}"));
        println!(
            "         {:>12}/{:<4} offsets {offsets}, {} messages, {} appended again, {} trims, {} bytes",
            partition.topic.label(),
            partition.partition,
            partition.messages,
            partition.kept,
            partition.trims,
            partition.bytes
        );
    }
}
