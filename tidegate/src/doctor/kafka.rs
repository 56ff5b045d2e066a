//! What `doctor` looks at in Kafka: whether it answers, whether the topics hold what is promised, and how much of the
//! time that they are kept is used up by readers that are behind. The last a server watches too, while it runs.
//! In: how Kafka is reached. Out: findings. Makes no topic.

use std::time::Duration;

use tidegate_broker::kafka::{Config, Standing};
use tidegate_broker::{Broker, Error};
use tokio_util::sync::CancellationToken;

use super::{Degree, Finding, READERS};

/// How often a server looks.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// The share of the time that a topic is kept from which on a reader that is behind is told.
const USED_DOUBTFUL: f64 = 0.5;

/// Whether Kafka answers, and in what its topics fall short.
pub async fn topics(config: &Config) -> Vec<Finding> {
    let short = match Broker::shortfalls(config).await {
        Ok(short) => short,
        Err(error @ Error::Config(_)) => return vec![Finding::wrong("Kafka", error, "")],
        Err(error) => {
            let remedy = "check broker.kafka.bootstrap, tls and sasl, and that the cluster runs";
            return vec![Finding::wrong("Kafka", error, remedy)];
        }
    };
    if short.is_empty() {
        let found = format!(
            "{} answers, and its topics hold what is promised",
            config.bootstrap
        );
        return vec![Finding::fine("Kafka", found)];
    }
    short.iter().map(|error| shortfall(config, error)).collect()
}

fn shortfall(config: &Config, error: &Error) -> Finding {
    let Error::Topic {
        topic,
        setting,
        needed,
        ..
    } = error
    else {
        return Finding::wrong("topic", error, "");
    };
    match *setting {
        "topic" if config.create_topics => Finding::doubtful(
            "topic",
            format!("{topic} is missing"),
            "it is made at the first start",
        ),
        "topic" => Finding::wrong(
            "topic",
            format!("{topic} is missing"),
            "make it, or set broker.kafka.create_topics = true",
        ),
        "partitions" | "replication" => Finding::wrong(
            "topic",
            error,
            format!(
                "set what broker.kafka says to what {topic} has, or make the topic anew before anything is in it"
            ),
        ),
        setting => {
            let value = needed
                .trim_start_matches("at least ")
                .split(' ')
                .next()
                .unwrap_or_default();
            let remedy = format!(
                "`kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} \
                 --add-config {setting}={value}`",
                config.bootstrap
            );
            Finding::wrong("topic", error, remedy)
        }
    }
}

/// How far every group of readers is behind.
pub async fn lags(config: &Config) -> Vec<Finding> {
    let mut looks_only = Config {
        create_topics: false,
        ..config.clone()
    };
    looks_only.spill.enabled = false;
    let asked = async {
        let broker = Broker::connect(&looks_only).await?;
        let standings = broker.standings(&READERS).await;
        broker.close().await?;
        standings
    };
    match asked.await {
        Ok(standings) if standings.is_empty() => vec![Finding::fine("lag", "nothing has been read yet")],
        Ok(standings) => standings.iter().map(lag).collect(),
        Err(error) => vec![Finding::wrong("lag", error, "")],
    }
}

/// How far a group is behind.
pub fn lag(standing: &Standing) -> Finding {
    let Standing {
        group,
        topic,
        waiting,
        lost,
        ..
    } = standing;
    let percent = standing.used() * 100.0;
    let found = format!(
        "{group} has {waiting} messages of {topic} to read, the oldest for {}; {percent:.0} % of the time that they are \
         kept",
        time(standing.oldest)
    );
    if *lost > 0 {
        let found = format!("{group}: Kafka has deleted {lost} messages of {topic} before they were read");
        let remedy = "nothing brings them back: keep the topic longer, and run more processes with that role";
        return Finding::wrong("lag", found, remedy);
    }
    if standing.used() >= USED_DOUBTFUL {
        let remedy =
            format!("run more processes of {group}, mend what holds it up, or keep {topic} longer meanwhile");
        return Finding::doubtful("lag", found, remedy);
    }
    Finding::fine("lag", found)
}

fn time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Looks now and then while a server runs: the metrics learn of it, and the log when it is half.
///
/// # Errors
/// Never: what cannot be asked now is asked later.
pub async fn watch(broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    while tokio::time::timeout(LOOK_EVERY, stop.cancelled()).await.is_err() {
        match broker.standings(&READERS).await {
            Ok(standings) => {
                let told = standings
                    .iter()
                    .map(lag)
                    .filter(|finding| finding.degree > Degree::Fine);
                told.for_each(|finding| tracing::warn!(remedy = finding.remedy, "{}", finding.found));
            }
            Err(error) => tracing::debug!(%error, "nobody knows how far readers are behind"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::Topic;

    use super::*;

    #[test]
    fn a_reader_that_is_half_the_kept_time_behind_is_told() {
        let check = |hours: u64, lost: u64, expected: Degree| {
            let standing = Standing {
                group: "processor".to_owned(),
                topic: Topic::Requests,
                waiting: 7,
                lost,
                oldest: Duration::from_secs(hours * 3600),
                kept: Some(Duration::from_secs(168 * 3600)),
            };
            let finding = lag(&standing);
            assert_eq!(finding.degree, expected, "{finding}");
            assert!(finding.found.contains("processor"), "{finding}");
            assert_eq!(finding.remedy.is_empty(), expected == Degree::Fine, "{finding}");
        };
        check(0, 0, Degree::Fine);
        check(83, 0, Degree::Fine);
        check(84, 0, Degree::Doubtful);
        check(0, 1, Degree::Wrong);
    }
}
