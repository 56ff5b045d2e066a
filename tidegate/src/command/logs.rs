//! `tidegate logs`: finds requests, events and attempts in ClickHouse, newest first, or follows them as they come.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use tidegate_schemas::UnixMillis;

use crate::api::search::Filters;
use crate::client::Client;
use crate::command::{Shared, waiting};

/// How often new rows are asked for, and how late a row may come and still be shown: the audit writes once a second.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(5);

/// Search requests, events and attempts.
#[derive(Args)]
#[command(after_help = "tidegate logs events --outcome rejected --since 1h\n\
    tidegate logs attempts --text timeout --json\n\
    tidegate logs requests --follow\n\
    tidegate logs requests --since 1h -n 10000 --whole --json > recorded.jsonl\n\
    tidegate logs events --id 0192f0c1-…      # by any id: request, event, delivery, attempt")]
pub struct Arguments {
    /// What to search
    #[arg(value_enum, default_value_t = Subject::Events)]
    subject: Subject,
    /// The environment's name or id
    #[arg(long, short = 'e', value_name = "NAME")]
    environment: Option<String>,
    /// The integration's key
    #[arg(long, short = 'i', value_name = "KEY")]
    integration: Option<String>,
    /// The connection's id
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// The provider's type of event
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// An event's outcome, a delivery's status, a request's kind
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// The id of a request, event, delivery or attempt
    #[arg(long, value_name = "UUID")]
    id: Option<String>,
    /// A text in it, in any case of letters
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Received within this time: 30s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 100)]
    limit: u32,
    /// Of requests also the query, the headers and the body, with secrets masked: what `tidegate simulate` reads
    #[arg(long)]
    whole: bool,
    /// JSON lines instead of a table
    #[arg(long)]
    json: bool,
    /// Go on with new ones as they come
    #[arg(long, short = 'f')]
    follow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// One row per request, refused ones too
    Requests,
    /// One row per event, with its outcome
    Events,
    /// One row per HTTP try of a delivery
    Attempts,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let client = Client::of(&shared.load()?.server.data)?;
        waiting()?.block_on(async {
            let mut filters = self.filters();
            print(&client, &filters).await?;
            if self.follow {
                self.follow(&client, &mut filters).await?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// Shows what has come since the last look, until interrupted. The window trails now by as long as a row may take.
    async fn follow(&self, client: &Client, filters: &mut Filters) -> anyhow::Result<()> {
        let mut from = now().before(LATE);
        loop {
            tokio::time::sleep(FOLLOW_EVERY).await;
            let until = now().before(LATE);
            (filters.since, filters.until) = (Some(from), Some(until));
            print(client, filters).await?;
            from = until;
        }
    }

    fn filters(&self) -> Filters {
        let json = self.json || self.follow;
        Filters {
            subject: match self.subject {
                Subject::Requests => "requests",
                Subject::Events => "events",
                Subject::Attempts => "attempts",
            }
            .to_owned(),
            environment: self.environment.clone(),
            integration: self.integration.clone(),
            connection: self.connection.clone(),
            event_type: self.event_type.clone(),
            outcome: self.outcome.clone(),
            id: self.id.clone(),
            text: self.text.clone(),
            since: self.since.map(|since| now().before(since)),
            until: None,
            limit: self.limit,
            whole: self.whole,
            format: if json {
                "JSONEachRow"
            } else {
                "PrettyCompactMonoBlock"
            }
            .to_owned(),
        }
    }
}

async fn print(client: &Client, filters: &Filters) -> anyhow::Result<()> {
    let mut answer = client.stream("/api/v1/search", filters).await?;
    let mut out = std::io::stdout().lock();
    while let Some(chunk) = answer.chunk().await? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

fn now() -> UnixMillis {
    UnixMillis::from(SystemTime::now())
}

/// Reads `30s`, `15m`, `2h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write 30s, 15m, 2h or 7d");
    let (unit_at, unit) = text.char_indices().next_back().ok_or_else(wrong)?;
    let number: u64 = text[..unit_at].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "s", "5", "5x", "-1s", "99999999999999999999d"] {
            assert!(
                duration(wrong).is_err_and(|error| error.contains("30s")),
                "{wrong}"
            );
        }
    }
}
