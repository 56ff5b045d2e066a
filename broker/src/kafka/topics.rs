//! The topics on Kafka: their names, the settings that our promises need, made where they are missing and checked at
//! every start. In: the [`Config`] and the cluster. Out: nothing, or an error that names topic, setting, found and
//! needed. Never changes a topic that is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;
use tidegate_schemas::Topic;

use super::client::{self, OVERHEAD_BYTES, Told};
use super::cluster::Cluster;
use super::config::Config;
use super::ends::Ends;
use crate::error::Error;
use crate::reader::blocking;

/// The topics that are used on Kafka: all but `audit`, in whose place stand the notes of the audit's groups.
pub const USED: [Topic; 8] = [
    Topic::Requests,
    Topic::Events,
    Topic::Outcomes,
    Topic::Attempts,
    Topic::Dead,
    Topic::State,
    Topic::Retries,
    Topic::Registry,
];

/// How often, and for how long, a topic that was just made is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The names of the topics, both ways.
#[derive(Clone)]
pub struct Names {
    names: Arc<Vec<(Topic, String)>>,
}

impl Names {
    pub fn new(prefix: &str) -> Self {
        let names = Topic::ALL.iter().map(|topic| (*topic, topic.name(prefix)));
        Self {
            names: Arc::new(names.collect()),
        }
    }

    /// A topic's full name.
    pub fn of(&self, topic: Topic) -> &str {
        let named = self.names.iter().find(|(at, _)| *at == topic);
        named
            .map(|(_, name)| name.as_str())
            .expect("every topic has a name")
    }

    /// The topic of a full name.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.names
            .iter()
            .find(|(_, at)| at == name)
            .map(|(topic, _)| *topic)
    }
}

/// What a setting of a topic must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    AtLeast(u64),
    /// At least so many milliseconds, or without limit (-1).
    AtLeastOrNoLimit(u64),
    NoLimit,
    Delete,
}

/// The settings that a topic's promises need, as Kafka names them.
fn needed(config: &Config, topic: Topic) -> Vec<(&'static str, Needed)> {
    let retention = config.retention(topic).map_or(Needed::NoLimit, |kept| {
        Needed::AtLeastOrNoLimit(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX))
    });
    vec![
        // A compacted topic has holes, and a journal's offsets must be consecutive.
        ("cleanup.policy", Needed::Delete),
        (
            "max.message.bytes",
            Needed::AtLeast(config.message_bytes_max(topic) as u64),
        ),
        (
            "min.insync.replicas",
            Needed::AtLeast(u64::from(config.min_insync)),
        ),
        ("retention.bytes", Needed::NoLimit),
        ("retention.ms", retention),
    ]
}

impl Needed {
    /// The value that a new topic is given.
    fn value(self) -> String {
        match self {
            Needed::AtLeast(value) | Needed::AtLeastOrNoLimit(value) => value.to_string(),
            Needed::NoLimit => "-1".to_owned(),
            Needed::Delete => "delete".to_owned(),
        }
    }

    fn is_met_by(self, found: &str) -> bool {
        let number = found.parse::<i64>();
        match self {
            Needed::AtLeast(least) => {
                number.is_ok_and(|number| u64::try_from(number).is_ok_and(|it| it >= least))
            }
            Needed::AtLeastOrNoLimit(least) => {
                number.is_ok_and(|number| number == -1 || u64::try_from(number).is_ok_and(|it| it >= least))
            }
            Needed::NoLimit => number == Ok(-1),
            Needed::Delete => found == "delete",
        }
    }
}

impl std::fmt::Display for Needed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Needed::AtLeast(value) => write!(out, "at least {value}"),
            Needed::AtLeastOrNoLimit(value) => write!(out, "at least {value} or -1"),
            Needed::NoLimit => out.write_str("-1"),
            Needed::Delete => out.write_str("delete"),
        }
    }
}

/// Makes the topics that are missing, and checks all.
///
/// # Errors
/// [`Error::Topic`] for the first that does not hold what is promised, [`Error::Kafka`] when the cluster does not answer.
pub async fn prepare(config: &Config, names: &Names, admin: &Arc<AdminClient<Told>>) -> Result<(), Error> {
    let missing = missing(&look(config, names, admin).await?);
    if !missing.is_empty() {
        if !config.create_topics {
            return Err(absent(names, missing[0]));
        }
        create(config, names, (admin, &missing)).await?;
        wait_for(config, names, admin).await?;
    }
    let looked = look(config, names, admin).await?;
    let short = looked.into_iter().filter_map(|(_, error)| error);
    let settings = check_settings(config, names, (admin, &USED)).await?;
    short.chain(settings).next().map_or(Ok(()), Err)
}

/// Everything in which the topics that are there fall short, and those that are missing. Makes nothing.
///
/// # Errors
/// [`Error::Config`] when the configuration cannot work, [`Error::Kafka`] when the cluster does not answer.
pub async fn shortfalls(config: &Config) -> Result<Vec<Error>, Error> {
    config.check()?;
    let names = Names::new(&config.prefix);
    let told = Told {
        client: "admin",
        ends: Arc::new(Ends::new(names.clone(), &config.partitions)),
        trouble: Arc::default(),
    };
    let admin: AdminClient<Told> = client::producer(config, config.append_timeout_ms)
        .create_with_context(told)
        .map_err(|error| Error::kafka("make a client (broker.kafka)", &error))?;
    let admin = Arc::new(admin);
    let looked = look(config, &names, &admin).await?;
    let there: Vec<Topic> = looked.iter().map(|(topic, _)| *topic).collect();
    let absent = missing(&looked).into_iter().map(|topic| absent(&names, topic));
    let absent: Vec<Error> = absent.collect();
    let settings = check_settings(config, &names, (&admin, &there)).await?;
    let layouts = looked.into_iter().filter_map(|(_, error)| error);
    Ok(absent.into_iter().chain(layouts).chain(settings).collect())
}

fn absent(names: &Names, topic: Topic) -> Error {
    Error::topic(
        names.of(topic),
        "topic",
        ("missing", "made; set broker.kafka.create_topics"),
    )
}

/// How long each topic that has a limit is kept, as Kafka says.
pub async fn kept(cluster: &Cluster) -> Result<Vec<(Topic, Option<Duration>)>, Error> {
    let (admin, names) = cluster.admin();
    let found = settings(&cluster.config, names, (admin, &USED)).await?;
    let kept = found.iter().map(|(topic, found)| {
        let value = found.get("retention.ms").and_then(|entry| entry.value.as_deref());
        let limit = value
            .and_then(|value| value.parse().ok())
            .map(Duration::from_millis);
        (*topic, limit)
    });
    Ok(kept.collect())
}

/// The topics that are there, each with how its partitions or copies fall short, if they do.
type Looked = Vec<(Topic, Option<Error>)>;

fn missing(looked: &Looked) -> Vec<Topic> {
    let is_missing = |topic: &&Topic| looked.iter().all(|(there, _)| there != *topic);
    USED.iter().filter(is_missing).copied().collect()
}

/// Looks on a thread for it: the question blocks.
async fn look(config: &Config, names: &Names, admin: &Arc<AdminClient<Told>>) -> Result<Looked, Error> {
    let (config, names, admin) = (config.clone(), names.clone(), admin.clone());
    blocking(move || look_now(&config, &names, &admin)).await
}

/// What is there; whether it has the right partitions and copies.
fn look_now(config: &Config, names: &Names, admin: &AdminClient<Told>) -> Result<Looked, Error> {
    let metadata = admin
        .inner()
        .fetch_metadata(None, config.question_timeout())
        .map_err(|error| Error::kafka(format!("reach Kafka at {}", config.bootstrap), &error))?;
    let found: HashMap<&str, &MetadataTopic> = metadata.topics().iter().map(|it| (it.name(), it)).collect();
    let there = USED.iter().filter_map(|topic| {
        let found = found.get(names.of(*topic))?;
        (!found.partitions().is_empty()).then(|| (*topic, check_layout(config, *topic, found).err()))
    });
    Ok(there.collect())
}

fn check_layout(config: &Config, topic: Topic, found: &MetadataTopic) -> Result<(), Error> {
    let (wanted, partitions) = (config.partitions_of(topic) as usize, found.partitions().len());
    if wanted != partitions {
        let needed = format!("{wanted} (broker.kafka.partitions)");
        return Err(Error::topic(
            found.name(),
            "partitions",
            (&partitions.to_string(), &needed),
        ));
    }
    let copies = found
        .partitions()
        .iter()
        .map(|it| it.replicas().len())
        .min()
        .unwrap_or(0);
    if copies < usize::from(config.replication) {
        let needed = format!("at least {} (broker.kafka.replication)", config.replication);
        return Err(Error::topic(
            found.name(),
            "replication",
            (&copies.to_string(), &needed),
        ));
    }
    Ok(())
}

fn options(config: &Config) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(config.question_timeout()))
        .operation_timeout(Some(config.question_timeout()))
}

async fn create(
    config: &Config,
    names: &Names,
    (admin, missing): (&AdminClient<Told>, &[Topic]),
) -> Result<(), Error> {
    let settings: Vec<(Topic, Vec<(&str, String)>)> = missing
        .iter()
        .map(|topic| {
            let needed = needed(config, *topic).into_iter();
            // A batch may be larger than its one message by what surrounds it.
            let value = |(name, needed)| match (name, needed) {
                ("max.message.bytes", Needed::AtLeast(bytes)) => {
                    (name, (bytes + OVERHEAD_BYTES as u64).to_string())
                }
                (name, needed) => (name, needed.value()),
            };
            (*topic, needed.map(value).collect())
        })
        .collect();
    let new: Vec<NewTopic<'_>> = settings
        .iter()
        .map(|(topic, settings)| {
            let partitions = i32::try_from(config.partitions_of(*topic)).unwrap_or(i32::MAX);
            let copies = TopicReplication::Fixed(i32::from(config.replication));
            let new = NewTopic::new(names.of(*topic), partitions, copies);
            settings
                .iter()
                .fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let made = admin
        .create_topics(&new, &options(config))
        .await
        .map_err(|error| Error::kafka("make the topics", &error))?;
    for topic in made {
        match topic {
            // Another process that starts beside this one was faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::kafka(format!("make topic {topic}"), &code)),
        }
    }
    Ok(())
}

async fn wait_for(config: &Config, names: &Names, admin: &Arc<AdminClient<Told>>) -> Result<(), Error> {
    let until = tokio::time::Instant::now() + config.question_timeout();
    while let Some(topic) = missing(&look(config, names, admin).await?).first() {
        if tokio::time::Instant::now() >= until {
            return Err(Error::topic(
                names.of(*topic),
                "topic",
                ("made but not to be seen", "there"),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// A topic's settings as Kafka has them.
type Settings = Vec<(Topic, ConfigResource)>;

/// The settings of these topics; of a cluster's nodes some learn of a topic that was just made a little later.
async fn settings(
    config: &Config,
    names: &Names,
    topics: (&AdminClient<Told>, &[Topic]),
) -> Result<Settings, Error> {
    let until = tokio::time::Instant::now() + config.question_timeout();
    loop {
        let topic = match known_settings(config, names, topics).await? {
            Ok(settings) => return Ok(settings),
            Err(unknown) => unknown,
        };
        if tokio::time::Instant::now() >= until {
            let unknown = ("unknown to the node that was asked", "known to all");
            return Err(Error::topic(names.of(topic), "topic", unknown));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The settings, or the first topic whose settings are not known yet.
async fn known_settings(
    config: &Config,
    names: &Names,
    (admin, topics): (&AdminClient<Told>, &[Topic]),
) -> Result<Result<Settings, Topic>, Error> {
    if topics.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let asked: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|topic| ResourceSpecifier::Topic(names.of(*topic)))
        .collect();
    let answers = admin
        .describe_configs(&asked, &options(config))
        .await
        .map_err(|error| Error::kafka("read the topics' settings", &error))?;
    let mut settings = Vec::new();
    for (topic, answer) in topics.iter().zip(answers) {
        let name = names.of(*topic);
        match answer {
            Ok(found) if found.entries.is_empty() => return Ok(Err(*topic)),
            Ok(found) => settings.push((*topic, found)),
            Err(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Err(*topic)),
            Err(error) => return Err(Error::kafka(format!("read the settings of {name}"), &error)),
        }
    }
    Ok(Ok(settings))
}

/// Every setting of these topics that falls short.
async fn check_settings(
    config: &Config,
    names: &Names,
    topics: (&AdminClient<Told>, &[Topic]),
) -> Result<Vec<Error>, Error> {
    let mut short = Vec::new();
    for (topic, found) in settings(config, names, topics).await? {
        for (setting, needed) in needed(config, topic) {
            let value = found.get(setting).and_then(|entry| entry.value.as_deref());
            let value = value.unwrap_or("nothing");
            if !needed.is_met_by(value) {
                short.push(Error::topic(
                    names.of(topic),
                    setting,
                    (value, &needed.to_string()),
                ));
            }
        }
    }
    Ok(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_met_by_more_and_never_by_less() {
        let check = |needed: Needed, met: &[&str], unmet: &[&str]| {
            met.iter()
                .for_each(|found| assert!(needed.is_met_by(found), "{needed}: {found}"));
            unmet
                .iter()
                .for_each(|found| assert!(!needed.is_met_by(found), "{needed}: {found}"));
        };
        check(Needed::AtLeast(5), &["5", "6"], &["4", "-1", "many", ""]);
        check(
            Needed::AtLeastOrNoLimit(5),
            &["5", "6", "-1"],
            &["4", "-2", "nothing"],
        );
        check(Needed::NoLimit, &["-1"], &["0", "9223372036854775807"]);
        check(Needed::Delete, &["delete"], &["compact", "compact,delete"]);
    }

    #[test]
    fn journals_are_kept_without_limit() {
        for topic in USED {
            let needed = needed(&Config::default(), topic);
            let retention = needed.iter().find(|(name, _)| *name == "retention.ms");
            assert_eq!(
                retention.map(|(_, it)| *it == Needed::NoLimit),
                Some(topic.is_journal()),
                "{topic}"
            );
        }
    }

    #[test]
    fn names_lead_back_to_their_topics() {
        let names = Names::new("house.");
        for topic in Topic::ALL.iter().copied() {
            assert_eq!(names.topic(names.of(topic)), Some(topic));
        }
        assert_eq!(names.topic("requests"), None, "without the prefix");
    }
}
