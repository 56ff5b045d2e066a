//! What `tidegate doctor` looks at: everything that a server needs and that may be wrong, one finding each, with what
//! mends it. In: the configuration. Out: findings, as they are made. Changes nothing, makes nothing, and may run beside
//! a server.

mod kafka;
mod machine;
mod services;

use std::fmt;

use tidegate_schemas::Topic;

use crate::config::{BrokerKind, Config};
use crate::serve::{RoleName, Shape};

pub use kafka::{lag, watch};

/// The groups whose owners read what Kafka will delete, and their topics.
pub const READERS: [(Topic, &str); 5] = [
    (Topic::Requests, "processor"),
    (Topic::Events, "forward"),
    (Topic::Requests, "audit-requests"),
    (Topic::Outcomes, "audit-outcomes"),
    (Topic::Attempts, "audit-attempts"),
];

/// Where what was found begins on a line.
const INDENT: usize = 22;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Degree {
    /// As it should be.
    Fine,
    /// It works, and may not for ever.
    Doubtful,
    /// It does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// How bad it is.
    pub degree: Degree,
    /// What was found.
    pub found: String,
    /// What mends it; empty where nothing must be, or where `found` says it.
    pub remedy: String,
}

impl Finding {
    /// As it should be.
    pub fn fine(about: &'static str, found: impl fmt::Display) -> Self {
        Self::of(about, Degree::Fine, (found, ""))
    }

    /// It works, and may not for ever.
    pub fn doubtful(about: &'static str, found: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::of(about, Degree::Doubtful, (found, remedy))
    }

    /// It does not work.
    pub fn wrong(about: &'static str, found: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self::of(about, Degree::Wrong, (found, remedy))
    }

    fn of(
        about: &'static str,
        degree: Degree,
        (found, remedy): (impl fmt::Display, impl fmt::Display),
    ) -> Self {
        Self {
            about,
            degree,
            found: found.to_string(),
            remedy: remedy.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let degree = match self.degree {
            Degree::Fine => "ok   ",
            Degree::Doubtful => "warn ",
            Degree::Wrong => "WRONG",
        };
        let indent = " ".repeat(INDENT);
        let found = self.found.replace('\n', &format!("\n{indent}"));
        write!(out, "{degree}  {:<14} {found}", self.about)?;
        if !self.remedy.is_empty() {
            write!(out, "\n{indent}→ {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Looks at everything, and tells each finding as soon as it is made; the worst degree.
pub async fn examine(config: &Config, shape: &Shape, mut tell: impl FnMut(&Finding)) -> Degree {
    let mut worst = Degree::Fine;
    let mut say = |findings: Vec<Finding>| {
        for finding in findings {
            worst = worst.max(finding.degree);
            tell(&finding);
        }
    };
    say(settings(config, shape));
    say(machine::folder(config));
    say(machine::space(config));
    say(machine::keys(config));
    say(machine::definitions(config));
    say(machine::spill(config));
    if shape.needs_clickhouse() {
        say(services::clickhouse(config).await);
    }
    match config.broker.kind {
        BrokerKind::Embedded => say(machine::log(config)),
        BrokerKind::Kafka => {
            let topics = kafka::topics(&config.broker.kafka).await;
            let is_usable = topics.iter().all(|finding| finding.degree == Degree::Fine);
            say(topics);
            if is_usable {
                say(kafka::lags(&config.broker.kafka).await);
            }
            if shape.has(RoleName::Api) {
                say(services::admin_key(config));
            }
        }
    }
    say(services::server(config).await);
    worst
}

/// The configuration as a whole; that it can be read is known by now.
fn settings(config: &Config, shape: &Shape) -> Vec<Finding> {
    let about = "configuration";
    let limits = config.check_limits(|topic| match config.broker.kind {
        BrokerKind::Embedded => config.broker.embedded.message_bytes_max(topic),
        BrokerKind::Kafka => config.broker.kafka.message_bytes_max(topic),
    });
    let mut findings = Vec::new();
    if let Err(error) = shape.check(config) {
        findings.push(Finding::wrong(about, error, ""));
    }
    if let Err(error) = limits {
        findings.push(Finding::wrong(about, error, ""));
    }
    if findings.is_empty() {
        findings.push(Finding::fine(about, "its limits fit one another"));
    }
    findings
}
