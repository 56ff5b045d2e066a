//! `tidegate simulate`: what a flood control policy would do to recorded requests or a described burst, offline. In: a
//! file, the embedded log, the topic on Kafka, or ClickHouse through the running server. Out: a timeline, sums, and a comparison. Sends nothing.

use std::io::{BufReader, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use tidegate_broker::embedded::browse;
use tidegate_broker::{Message, kafka};
use tidegate_registry::manifest::FloodFacts;
use tidegate_schemas::{Topic, UnixMillis};

use super::logs::duration;
use crate::api::facts::facts;
use crate::api::question::Question;
use crate::client::Client;
use crate::command::{Shared, waiting};
use crate::config::{BrokerKind, Config};
use crate::serve::catalogue;
use crate::simulate::burst::Burst;
use crate::simulate::events::{Finder, Found};
use crate::simulate::policy::Policy;
use crate::simulate::recording::Recording;
use crate::simulate::timeline::{Timeline, run};
use crate::simulate::{Event, lines, report};

/// Try a flood control policy on recorded requests or a described burst, on a virtual clock.
#[derive(Args)]
#[command(
    after_help = "A burst is described in a few lines (docs/burst.toml explains them):\n\n\
    tidegate simulate docs/burst.toml --policy 'debounce: {quiet: 2s, max_wait: 10s}'\n\
    tidegate simulate docs/burst.toml --policy 'debounce: on' --against 'detect_changes: true'\n\n\
    Requests are recorded by `logs`, read from the topic, from this machine's log or from ClickHouse:\n\n\
    tidegate logs requests --since 1h -n 10000 --whole --json > recorded.jsonl\n\
    tidegate simulate recorded.jsonl --policy tidegate.yaml\n\
    kcat -C -b broker:9092 -t requests -e -J | tidegate simulate - --policy new.yaml --against old.yaml\n\
    tidegate simulate --log --integration crm --policy 'debounce: on'          # also beside a running serve\n\
    tidegate simulate --topic --policy 'rate: {per_second: 50}'                # from Kafka, in no group
    tidegate simulate --since 2h --policy 'debounce: on'                       # from ClickHouse\n\
    tidegate simulate --where \"connection = 'acme'\" --policy 'debounce: on'\n\n\
    A policy is what stands below `flood:` in the file of `tidegate apply`, or that whole file."
)]
pub struct Arguments {
    /// Recorded requests as JSON lines (`-`: standard input), or a burst (a file ending in .toml)
    #[arg(
        value_name = "FILE",
        conflicts_with_all = ["log", "topic", "condition", "since"],
        required_unless_present_any = ["log", "topic", "condition", "since"]
    )]
    file: Option<String>,
    /// Read this machine's embedded log (in --data), also beside the server that writes it
    #[arg(long, conflicts_with_all = ["topic", "condition", "since"])]
    log: bool,
    /// Read the topic of requests on the Kafka that the configuration names; no group is disturbed
    #[arg(long, conflicts_with_all = ["condition", "since"])]
    topic: bool,
    /// Read the requests that fit an SQL condition on the view `requests`, through the running server
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Read the requests received within this time, through the running server: 30s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// The policy: a file, or the policy itself; without one the configuration's defaults
    #[arg(long, short = 'p', value_name = "POLICY")]
    policy: Option<String>,
    /// Another policy to hold it against
    #[arg(long, value_name = "POLICY")]
    against: Option<String>,
    /// Only requests of the integration with this key
    #[arg(long, short = 'i', value_name = "KEY")]
    integration: Option<String>,
    /// Whose events are that name no connection themselves
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// How many lines of the timeline are shown; 0: none
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    lines: usize,
    /// How many requests are read from ClickHouse at most
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER")]
    requests_max: u32,
    /// The whole timeline and the sums as JSON lines
    #[arg(long)]
    json: bool,
}

/// What is run.
struct Subject {
    events: Vec<Event>,
    /// What it is, in a line or two.
    described: String,
    integrations: Vec<(String, String, FloodFacts)>,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let config = shared.load()?;
        let default = config.processor.flood.policy();
        let mut policy = match &self.policy {
            Some(given) => Policy::read(given, default.clone())?,
            None => Policy::of_defaults(default.clone()),
        };
        let against = self.against.as_deref().map(|given| Policy::read(given, default));
        let mut against = against.transpose()?;
        let subject = match self.file.as_deref() {
            Some(file) if file.ends_with(".toml") => burst(file)?,
            _ => self.recorded(&config, &policy)?,
        };
        if subject.events.is_empty() {
            bail!("there are no events: {}", subject.described);
        }
        for policy in std::iter::once(&policy).chain(&against) {
            let integrations = subject.integrations.iter();
            policy.check(integrations.map(|(key, provider, facts)| (&**key, &**provider, *facts)))?;
        }
        let limits = &config.processor;
        let timeline = run(&subject.events, &mut policy, limits);
        let other = against
            .as_mut()
            .map(|against| run(&subject.events, against, limits));
        let policies = (&policy, against.as_ref());
        if self.json {
            print_json(&subject.events, policies, (&timeline, other.as_ref()))?;
        } else {
            self.print(&subject, policies, (&timeline, other.as_ref()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn recorded(&self, config: &Config, policy: &Policy) -> anyhow::Result<Subject> {
        let mut recording = Recording::new(self.integration.clone());
        match self.file.as_deref() {
            Some("-") => recording.read("standard input", std::io::stdin().lock())?,
            Some(file) => {
                let opened = std::fs::File::open(file).with_context(|| format!("cannot read {file}"))?;
                recording.read(file, BufReader::new(opened))?;
            }
            None if self.log => read_log(config, &mut recording)?,
            None if self.topic => read_topic(config, &mut recording)?,
            None => {
                let rows = waiting()?.block_on(self.rows(config))?;
                recording.read("ClickHouse's answer", &rows[..])?;
            }
        }
        let catalogue = catalogue(config)?;
        let requests = recording.requests();
        let finder = Finder {
            catalogue: &catalogue,
            cfg: &policy.cfg(),
            connection: self.connection.as_deref().map(Into::into),
        };
        let found = finder.find(requests)?;
        let requests = requests.len();
        let providers = facts(&catalogue);
        let integrations = found.integrations.iter().map(|(key, provider)| {
            let facts = providers.get(provider).map(|facts| facts.flood);
            (key.clone(), provider.clone(), facts.unwrap_or_default())
        });
        Ok(Subject {
            integrations: integrations.collect(),
            described: described(requests, &recording, &found),
            events: found.events,
        })
    }

    /// The rows of requests that ClickHouse holds.
    async fn rows(&self, config: &Config) -> anyhow::Result<Vec<u8>> {
        let mut conditions = vec!["kind = 'received'".to_owned()];
        if let Some(since) = self.since {
            let from = UnixMillis::from(SystemTime::now()).before(since).0;
            conditions.push(format!("received_at >= fromUnixTimestamp64Milli({from}, 'UTC')"));
        }
        if let Some(condition) = &self.condition {
            conditions.push(format!("({condition})"));
        }
        let sql = format!(
            "SELECT kind, request_id, environment, integration, provider, connection, method, path, query, headers, \
             base64Encode(body) AS body_base64, body_bytes, status, request_partition, request_offset, \
             toUnixTimestamp64Milli(received_at) AS received_at \
             FROM (SELECT * FROM requests WHERE {} ORDER BY received_at, request_partition, request_offset LIMIT {})",
            conditions.join(" AND "),
            self.requests_max
        );
        let client = Client::of(&config.server.data)?;
        let question = Question {
            sql,
            format: "JSONEachRow".to_owned(),
        };
        let mut answer = client.stream("/api/v1/query", &question).await?;
        let mut rows = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            rows.extend_from_slice(&chunk);
        }
        Ok(rows)
    }

    fn print(
        &self,
        subject: &Subject,
        (policy, against): (&Policy, Option<&Policy>),
        (timeline, other): (&Timeline, Option<&Timeline>),
    ) -> anyhow::Result<()> {
        let mut text = format!("{}\n\n", subject.described);
        report::timeline(&mut text, (&subject.events, timeline), self.lines)?;
        let other = against.zip(other);
        let other = other.map(|(policy, timeline)| (&*policy.name, &timeline.sums));
        report::sums(&mut text, (&policy.name, &timeline.sums), other)?;
        written(std::io::stdout().lock().write_all(text.as_bytes()))
    }
}

/// The events of a described burst.
fn burst(file: &str) -> anyhow::Result<Subject> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let burst = Burst::parse(file, &text)?;
    let events = burst.events();
    let described = format!(
        "{file}: {} events on {} objects of {} connections in {}, seed {}",
        burst.events,
        burst.objects,
        burst.connections,
        report::span(&events),
        burst.seed
    );
    Ok(Subject {
        events,
        described,
        integrations: vec![("burst".to_owned(), "burst".to_owned(), burst.facts())],
    })
}

fn read_log(config: &Config, recording: &mut Recording) -> anyhow::Result<()> {
    let folder = config.log_folder();
    if !folder.is_dir() && config.broker.kind == BrokerKind::Kafka {
        bail!("the configuration's broker is Kafka, so there is no log: read its topic with --topic");
    }
    if !folder.is_dir() {
        bail!(
            "there is no log in {}: name its data folder with --data",
            folder.display()
        );
    }
    let mut failed = None;
    browse(&folder, Topic::Requests, |message| {
        record(message, recording, &mut failed)
    })?;
    failed.map_or(Ok(()), Err)
}

fn read_topic(config: &Config, recording: &mut Recording) -> anyhow::Result<()> {
    if config.broker.kind != BrokerKind::Kafka {
        bail!("the configuration's broker is no Kafka (broker.kind): read the embedded log with --log");
    }
    let mut failed = None;
    let take = |message| record(message, recording, &mut failed);
    kafka::browse(&config.broker.kafka, Topic::Requests, take)?;
    failed.map_or(Ok(()), Err)
}

/// Records a message, unless one before it could not be.
fn record(message: Message, recording: &mut Recording, failed: &mut Option<anyhow::Error>) {
    let pointer = message.pointer();
    if failed.is_none() {
        *failed = recording.message(&message.meta, message.value, pointer).err();
    }
}

fn described(requests: usize, recording: &Recording, found: &Found) -> String {
    let mut text = format!(
        "{requests} requests with {} events in {}",
        found.events.len(),
        report::span(&found.events)
    );
    let notes = [
        (
            recording.passed_over,
            "requests that ingest refused or answered itself were passed over",
        ),
        (recording.bodiless, "requests have lost their body"),
        (recording.unreadable, "messages cannot be read"),
        (found.malformed, "requests are malformed"),
        (found.filtered, "events are filtered by their definition"),
        (
            found.unattributed,
            "events name no connection, and are never held (--connection names one)",
        ),
    ];
    for (number, note) in notes.into_iter().filter(|(number, _)| *number > 0) {
        text.push_str(&format!("\n{number} {note}"));
    }
    text
}

fn print_json(
    events: &[Event],
    (policy, against): (&Policy, Option<&Policy>),
    (timeline, other): (&Timeline, Option<&Timeline>),
) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut print = || -> std::io::Result<()> {
        for line in &timeline.lines {
            writeln!(out, "{}", lines::line(events, line))?;
        }
        let mut last = serde_json::json!({ "sums": lines::sums(&policy.name, &timeline.sums) });
        if let Some((against, other)) = against.zip(other) {
            last["against"] = lines::sums(&against.name, &other.sums);
        }
        writeln!(out, "{last}")?;
        out.flush()
    };
    written(print())
}

/// Whoever reads the output may have seen enough.
fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
