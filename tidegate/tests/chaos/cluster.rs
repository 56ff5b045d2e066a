//! Tidegate on three Kafka nodes under load: nodes, all of Kafka, processors and forwarders are killed with -9, one of them
//! in the middle of a rebalance, and an ingest with requests in its spill. Every request that was answered with a 2xx is
//! decided once and delivered, what comes twice stays within the bound that is promised, and order is kept ([`order`],
//! [`spilled`]). A whole server takes the webhooks and stays; beside it run a processor and a forwarder of their own, so
//! that another is always there to take over. `TIDEGATE_CHAOS_ROUNDS` sets how often all of it happens, and
//! `TIDEGATE_CHAOS_FAULTS` names the faults, if not all are wanted.

mod order;
mod spilled;

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::kafka;
use tidegate_testkit::kafka::Kafka;
use tidegate_testkit::server::{Launch, Server};

use crate::chance::Chance;
use crate::reckoning::reckon;
use crate::{PATIENCE, Running, alone, begin, count, until};

/// Partitions of `requests`, and of `events`.
const PARTITIONS: u32 = 4;
/// Attempts under way at once, in each of two forwarders.
const IN_FLIGHT: u64 = 2 * 16;
/// Ended attempts that are committed at once, by each partition of `events`.
const ATTEMPTS: u64 = 32;
/// Events that are decided at once, by each partition of `requests`.
const EVENTS: u64 = 32;
/// After so long without a sign of life others take over: longer than a cluster takes to do without a node.
const SESSION_MS: u64 = 15_000;

/// How often it is looked whether partitions move.
const POLL: Duration = Duration::from_millis(10);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// One node is killed.
    Node,
    /// All nodes are killed, and are away for a while.
    AllNodes,
    /// A processor is killed, and is back before or after others have taken over.
    Processor,
    /// A forwarder is killed likewise.
    Forwarder,
    /// A processor is killed while partitions are on their way to a third one, which is killed too.
    Rebalance,
    /// All nodes are killed or stand still, and an ingest is killed that has requests in its spill.
    Spill,
}

const FAULTS: [Fault; 6] = [
    Fault::Node,
    Fault::Processor,
    Fault::Rebalance,
    Fault::AllNodes,
    Fault::Forwarder,
    Fault::Spill,
];

/// The faults of a round, in their order.
fn faults() -> Vec<Fault> {
    let named = |name: &str| FAULTS.into_iter().find(|fault| format!("{fault:?}") == name);
    std::env::var("TIDEGATE_CHAOS_FAULTS").map_or(FAULTS.to_vec(), |names| {
        let faults = names.split(',').map(|name| named(name.trim()));
        faults
            .collect::<Option<_>>()
            .unwrap_or_else(|| panic!("TIDEGATE_CHAOS_FAULTS: {names:?} are not of {FAULTS:?}"))
    })
}

impl Fault {
    /// How many times over it may make others do what was in flight again: an outage ends once for what it cut off, and
    /// once for what was begun in its midst.
    fn weight(self) -> u64 {
        match self {
            Fault::Node | Fault::Processor | Fault::Forwarder => 1,
            Fault::AllNodes | Fault::Rebalance | Fault::Spill => 2,
        }
    }
}

/// Everything that runs. What is dropped first ends first: Kafka outlives its clients.
struct House {
    running: Running,
    processor: Option<Server>,
    forwarder: Option<Server>,
    kafka: Kafka,
    config: kafka::Config,
    folder: TempDir,
    chance: Chance,
}

#[test]
fn what_was_answered_with_2xx_is_delivered_over_three_nodes_whoever_is_killed() {
    alone(async {
        let (rounds, faults) = (count("TIDEGATE_CHAOS_ROUNDS", 1), faults());
        let away = Duration::from_secs(count("TIDEGATE_CHAOS_AWAY_S", 8));
        let mut house = House::start().await;
        house.running.goes_on().await;
        for round in 1..=rounds {
            for fault in &faults {
                house.suffer(*fault, away).await;
                house.running.goes_on().await;
                println!("{fault:?}: {} requests accepted", house.running.load.accepted());
            }
            println!("{round} of {rounds} rounds with the cluster");
        }
        let weight = rounds * faults.iter().map(|fault| fault.weight()).sum::<u64>();
        // Partitions go to and fro once at the start, without a fault too.
        house.reckon(weight.max(1)).await;
    });
}

impl House {
    async fn start() -> House {
        let kafka = Kafka::start(3).await;
        let config = config(&kafka);
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let settings = settings(&config, keys.to_str().unwrap());
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let running = begin(folder.path(), &settings, crate::MANIFEST).await;
        let start = async |role| beside(&running.server, &folder, (role, role)).start().await;
        let (processor, forwarder) = tokio::join!(start("processor"), start("forward"));
        House {
            running,
            processor: Some(processor),
            forwarder: Some(forwarder),
            kafka,
            config,
            folder,
            chance: Chance::new(),
        }
    }

    async fn suffer(&mut self, fault: Fault, away: Duration) {
        match fault {
            Fault::Node => {
                let nodes = self.kafka.nodes();
                let node = usize::try_from(self.chance.below(nodes as u64)).expect("one of three");
                self.kafka.kill(node);
                self.running.goes_on().await;
                self.kafka.start_node(node).await;
            }
            Fault::AllNodes => {
                (0..self.kafka.nodes()).for_each(|node| self.kafka.kill(node));
                passed(away).await;
                self.kafka.start_all().await;
            }
            Fault::Processor => {
                let killed = self.processor.take().expect("it runs").kill();
                self.processor = Some(self.back(killed).await);
            }
            Fault::Forwarder => {
                let killed = self.forwarder.take().expect("it runs").kill();
                self.forwarder = Some(self.back(killed).await);
            }
            Fault::Rebalance => self.suffer_in_a_rebalance().await,
            Fault::Spill => self.suffer_with_a_spill(away).await,
        }
    }

    async fn suffer_in_a_rebalance(&mut self) {
        let processor = self.processor.take().expect("it runs");
        let servers = [&self.running.server, &processor];
        let before = lost(&servers).await;
        let third = beside(&self.running.server, &self.folder, ("third", "processor")).spawn();
        let began = Instant::now();
        while lost(&servers).await <= before {
            // Who joins while a rebalance is under way is given what was taken away before it came.
            let metrics = third.asked("/metrics").await.unwrap_or_default();
            if moved(&metrics, "gained") > 0.0 {
                println!("the third processor is given what was on its way");
                break;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "no partition goes to the third processor"
            );
            tokio::time::sleep(POLL).await;
        }
        let killed = processor.kill();
        self.running.goes_on().await;
        drop(third.kill());
        self.processor = Some(self.back(killed).await);
    }

    /// Starts again what was killed, at once or when others have taken over.
    async fn back(&mut self, killed: Launch) -> Server {
        if self.chance.below(2) == 0 {
            passed(Duration::from_millis(SESSION_MS)).await;
            self.running.goes_on().await;
        }
        killed.start().await
    }

    /// Lays everything side by side; what went wrong weighs so much in all.
    async fn reckon(self, weight: u64) {
        let Running {
            server,
            receiver,
            load,
            ..
        } = self.running;
        let account = reckon(&server, load, &receiver).await;
        let batch = EVENTS * u64::from(PARTITIONS);
        let bound = weight * (IN_FLIGHT + ATTEMPTS * u64::from(PARTITIONS) + batch);
        let again = order::of_events(&self.config, account.delivered).await;
        println!("counted: {account} ({bound} are promised at most), {again} events written again");
        assert!(
            account.repeats <= bound,
            "{} repeats, {bound} are promised at most",
            account.repeats
        );
        assert!(again <= weight * batch, "{again} events are in `events` again");
    }
}

/// So much time is over.
async fn passed(time: Duration) {
    let began = Instant::now();
    until("the time is over", || began.elapsed() > time).await;
}

/// Partitions that processes have lost so far.
async fn lost(servers: &[&Server]) -> f64 {
    let mut lost = 0.0;
    for server in servers {
        lost += moved(&server.get("/metrics").await, "lost");
    }
    lost
}

/// Partitions that a process has lost or gained so far, by its own count.
fn moved(metrics: &str, change: &str) -> f64 {
    let counter = format!(r#"rebalanced_partitions_total{{change="{change}"}}"#);
    let lines = metrics.lines().filter(|line| line.contains(&counter));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// A process with one role on a folder of its own, beside a whole server.
fn beside(whole: &Server, folder: &TempDir, (name, role): (&str, &str)) -> Launch {
    whole
        .launch()
        .at(&folder.path().join(name))
        .set("TIDEGATE_ROLES", role)
}

fn config(kafka: &Kafka) -> kafka::Config {
    kafka::Config {
        bootstrap: kafka.bootstrap(),
        prefix: "chaos.".to_owned(),
        replication: 3,
        min_insync: 2,
        partitions: PartitionCounts {
            requests: PARTITIONS,
            events: PARTITIONS,
            outcomes: 1,
            attempts: 1,
            dead: 1,
            audit: 1,
        },
        question_timeout_ms: 60_000,
        ..kafka::Config::default()
    }
}

fn settings(config: &kafka::Config, keys: &str) -> Vec<(&'static str, String)> {
    let (partitions, fixed) = (PARTITIONS.to_string(), |text: &str| text.to_owned());
    vec![
        ("BROKER__KIND", fixed("kafka")),
        ("BROKER__KAFKA__BOOTSTRAP", config.bootstrap.clone()),
        ("BROKER__KAFKA__PREFIX", config.prefix.clone()),
        ("BROKER__KAFKA__REPLICATION", config.replication.to_string()),
        ("BROKER__KAFKA__MIN_INSYNC", config.min_insync.to_string()),
        (
            "BROKER__KAFKA__QUESTION_TIMEOUT_MS",
            config.question_timeout_ms.to_string(),
        ),
        ("BROKER__KAFKA__SESSION_TIMEOUT_MS", SESSION_MS.to_string()),
        ("BROKER__KAFKA__PARTITIONS__REQUESTS", partitions.clone()),
        ("BROKER__KAFKA__PARTITIONS__EVENTS", partitions),
        ("BROKER__KAFKA__PARTITIONS__OUTCOMES", fixed("1")),
        ("BROKER__KAFKA__PARTITIONS__ATTEMPTS", fixed("1")),
        ("BROKER__KAFKA__PARTITIONS__DEAD", fixed("1")),
        ("SERVER__KEY_FILE", fixed(keys)),
        // As the constants above; and a try that a kill cut off is made again soon.
        ("FORWARD__IN_FLIGHT_MAX", fixed("16")),
        ("FORWARD__ENDPOINT_IN_FLIGHT_MAX", fixed("16")),
        ("FORWARD__COMMIT_ATTEMPTS_MAX", ATTEMPTS.to_string()),
        ("FORWARD__TIMEOUT_MS", fixed("2000")),
        ("PROCESSOR__BATCH_EVENTS_MAX", EVENTS.to_string()),
        ("PROCESSOR__READ_MESSAGES_MAX", EVENTS.to_string()),
    ]
}
