//! Reaching the cluster: its first answer, its topics made and checked, and who waits for that. Without a spill a process
//! does not start before; with one it starts after a moment, and goes on asking. In: the configuration and the clients.
//! Out: whether the cluster can be used, as it becomes known, and in our words why not.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::cluster::Cluster;
use super::config::Config;
use super::pump::Pump;
use super::topics::{USED, prepare};
use super::trouble::Trouble;
use crate::error::Error;

/// How long a first answer is waited for, before it is looked why none comes.
const FIRST_ANSWER: Duration = Duration::from_millis(500);
/// A broker that expects another protocol only hangs up.
const HINT: &str =
    "(does a broker listen there, as broker.kafka.tls.enabled and broker.kafka.sasl.mechanism say?)";
/// How long a cluster may take to answer at the start before requests are spilled.
const START_WAIT: Duration = Duration::from_secs(2);
/// How soon a cluster that was not reached is asked again.
const REACH_AGAIN: Duration = Duration::from_millis(500);

/// Whether the cluster was ever reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It has not answered yet.
    Silent,
    /// It has, and its topics are being made and checked.
    Answering,
    Reached,
    /// It has answered, and cannot be used.
    Refused(String),
}

impl Cluster {
    /// Gives the cluster a moment to answer, and one that answers the time to be checked.
    pub(super) async fn wait_a_little(&self) -> Result<(), Error> {
        let mut reach = self.reach.subscribe();
        let answers = reach.wait_for(|reach| *reach != Reach::Silent);
        if tokio::time::timeout(START_WAIT, answers).await.is_ok()
            && let Ok(connected) =
                tokio::time::timeout(self.config.question_timeout(), self.connected()).await
        {
            return connected;
        }
        if let Some((why, true)) = self.trouble.last() {
            return Err(Error::kafka(
                format!("reach Kafka at {}", self.config.bootstrap),
                &why,
            ));
        }
        tracing::warn!(
            bootstrap = self.config.bootstrap,
            "Kafka does not answer: requests go into the spill until it does"
        );
        Ok(())
    }

    /// Makes and checks the topics, and asks where they end.
    pub(super) async fn ask(&self) -> Result<(), Error> {
        first_answer(&self.config, &self.asker, &self.trouble).await?;
        self.reach.send_replace(Reach::Answering);
        prepare(&self.config, &self.names, &self.admin).await?;
        for topic in USED {
            self.latest(topic).await?;
        }
        Ok(())
    }

    /// Waits until the cluster has answered and its topics were checked.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be used: the process must end, as it would have at its start.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut reach = self.reach.subscribe();
        let is_known = |reach: &Reach| matches!(reach, Reach::Reached | Reach::Refused(_));
        let reached = reach.wait_for(is_known).await;
        match reached.as_deref() {
            Ok(Reach::Refused(why)) => Err(Error::Config(why.clone())),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Whether it has.
    pub fn is_connected(&self) -> bool {
        *self.reach.borrow() == Reach::Reached
    }
}

/// Asks until the cluster answers, and lets the spill drain then.
pub async fn reach(cluster: Weak<Cluster>) {
    loop {
        let Some(cluster) = cluster.upgrade().filter(|cluster| !cluster.is_closed()) else {
            return;
        };
        let reach = match cluster.ask().await {
            Ok(()) => {
                cluster.requests.reached();
                Reach::Reached
            }
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "Kafka does not answer yet");
                drop(cluster);
                tokio::time::sleep(REACH_AGAIN).await;
                continue;
            }
            Err(error) => Reach::Refused(error.to_string()),
        };
        cluster.reach.send_replace(reach);
        return;
    }
}

/// Asks for a first answer of the cluster, until it comes or it is known why it never will.
async fn first_answer(config: &Config, asker: &Arc<Pump>, trouble: &Arc<Trouble>) -> Result<(), Error> {
    let (asker, trouble) = (asker.clone(), trouble.clone());
    let (until, bootstrap) = (
        Instant::now() + config.question_timeout(),
        config.bootstrap.clone(),
    );
    let reached = tokio::task::spawn_blocking(move || {
        loop {
            let answer = asker.consumer().fetch_metadata(None, FIRST_ANSWER);
            let Err(error) = answer else { return Ok(()) };
            let (why, is_hopeless) = trouble.last().unwrap_or_else(|| (error.to_string(), false));
            if is_hopeless {
                return Err(Error::kafka(format!("reach Kafka at {bootstrap}"), &why));
            }
            if Instant::now() >= until {
                return Err(Error::kafka(
                    format!("reach Kafka at {bootstrap}"),
                    &format!("{why} {HINT}"),
                ));
            }
        }
    });
    reached.await.map_err(|_| Error::Closed)?
}
