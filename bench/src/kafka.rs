//! A real Kafka node for benchmarks, and processes of `tidegate` on it. In: a folder. Out: addresses, and the CPU that each
//! process has spent, so that the broker's stands apart from ours. All of it ends when it is dropped. Measures nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tidegate::client::Client;
use tidegate_broker::embedded::PartitionCounts;
use tidegate_broker::{Broker, kafka};

use crate::{Failure, cpu};

/// How long anything may take to start or stop.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A running node.
pub struct Node {
    folder: PathBuf,
    /// Where clients reach it.
    pub bootstrap: String,
    pid: u32,
}

fn script() -> Result<Command, Failure> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(Command::new(
        workspace
            .ok_or("bench lies in the workspace")?
            .join("dev/kafka.sh"),
    ))
}

impl Node {
    /// Formats and starts a node below `folder`.
    ///
    /// # Errors
    /// When the jars or a JDK are missing (`make kafka`), or it does not start.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let folder = folder.join("kafka");
        // A port of its own: another node of the same machine may have the usual one.
        let port = 20_000 + std::process::id() % 10_000;
        let started = script()?
            .arg("start")
            .arg(&folder)
            .args(["1", &port.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !started.status.success() {
            return Err("Kafka does not start (make kafka)".into());
        }
        let bootstrap = String::from_utf8(started.stdout)?.trim().to_owned();
        let pid = std::fs::read_to_string(folder.join("1/pid"))?.trim().parse()?;
        Ok(Self {
            folder,
            bootstrap,
            pid,
        })
    }

    /// The CPU time it has spent.
    ///
    /// # Errors
    /// When it has ended.
    pub fn spent(&self) -> Result<Duration, Failure> {
        cpu::of(self.pid)
    }

    /// The topics of a benchmark, so many partitions of `requests` and of `events`.
    #[must_use]
    pub fn config(&self, prefix: &str, partitions: u32) -> kafka::Config {
        kafka::Config {
            bootstrap: self.bootstrap.clone(),
            prefix: prefix.to_owned(),
            partitions: PartitionCounts {
                requests: partitions,
                events: partitions,
                ..PartitionCounts::default()
            },
            question_timeout_ms: 60_000,
            append_timeout_ms: 120_000,
            request_timeout_ms: 60_000,
            queue_bytes_max: 1 << 30,
            ..kafka::Config::default()
        }
    }

    /// Connects to them.
    ///
    /// # Errors
    /// When the topics cannot be made.
    pub async fn connect(&self, config: &kafka::Config) -> Result<Broker, Failure> {
        Ok(Broker::connect(config).await?)
    }

    /// The settings of a process that works on the topics of `config`, as environment variables.
    #[must_use]
    pub fn settings(&self, config: &kafka::Config, keys: &Path) -> BTreeMap<String, String> {
        let of = &config.partitions;
        let settings = [
            ("BROKER__KIND", "kafka".to_owned()),
            ("BROKER__KAFKA__BOOTSTRAP", config.bootstrap.clone()),
            ("BROKER__KAFKA__PREFIX", config.prefix.clone()),
            ("BROKER__KAFKA__PARTITIONS__REQUESTS", of.requests.to_string()),
            ("BROKER__KAFKA__PARTITIONS__EVENTS", of.events.to_string()),
            (
                "BROKER__KAFKA__QUESTION_TIMEOUT_MS",
                config.question_timeout_ms.to_string(),
            ),
            ("SERVER__KEY_FILE", keys.display().to_string()),
            ("INGEST__LISTEN", "127.0.0.1:0".to_owned()),
            ("ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
            ("EGRESS__ALLOW", r#"["127.0.0.0/8"]"#.to_owned()),
            ("LOG__LEVEL", "info".to_owned()),
        ];
        let settings = settings.into_iter();
        let named = settings.map(|(key, value)| (format!("TIDEGATE__{key}"), value));
        let key = "an-admin-key-that-only-benchmarks-know".to_owned();
        named.chain([("TIDEGATE_ADMIN_KEY".to_owned(), key)]).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let stopped = script().and_then(|mut script| Ok(script.arg("stop").arg(&self.folder).status()?));
        if let Err(error) = stopped {
            eprintln!("Kafka was not ended: {error}");
        }
    }
}

/// A running `tidegate serve` with some roles; killed when dropped.
pub struct Process {
    child: Child,
    data: PathBuf,
}

impl Process {
    /// Starts it on a folder; it is not waited for.
    ///
    /// # Errors
    /// When the program `tidegate` does not lie beside this one.
    pub fn start(data: &Path, roles: &str, settings: &BTreeMap<String, String>) -> Result<Self, Failure> {
        std::fs::create_dir_all(data)?;
        let printed = std::fs::File::create(data.join("printed.txt"))?;
        let child = Command::new(std::env::current_exe()?.with_file_name("tidegate"))
            .args(["serve", "--roles", roles, "--data"])
            .arg(data)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()
            .map_err(|error| format!("the program `tidegate` beside this one (cargo build): {error}"))?;
        Ok(Self {
            child,
            data: data.to_owned(),
        })
    }

    /// Waits until its roles have started.
    ///
    /// # Errors
    /// When they do not, with what it printed.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        while self.metric("tidegate_").await.is_none() {
            if self.child.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                return Err(format!("`tidegate serve` is not ready: {}", self.printed()).into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The sum of a family of metrics (of lines that begin so); `None` while it is not ready.
    pub async fn metric(&self, family: &str) -> Option<f64> {
        let client = Client::of(&self.data).ok()?;
        client.get_text("/readyz").await.ok()?;
        let metrics = client.get_text("/metrics").await.ok()?;
        let lines = metrics.lines().filter(|line| line.starts_with(family));
        Some(
            lines
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum(),
        )
    }

    /// What it printed.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.data.join("printed.txt")).unwrap_or_default()
    }

    /// The CPU time it has spent.
    ///
    /// # Errors
    /// When it has ended.
    pub fn spent(&self) -> Result<Duration, Failure> {
        cpu::of(self.child.id())
    }

    /// Stops it where it is, as a machine that sleeps.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn pause(&self) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn go_on(&self) -> Result<(), Failure> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Ends it in good order, and waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn terminate(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
