//! What an event costs on its whole way: `tidegate serve` (embedded log with every append synced, embedded ClickHouse,
//! one endpoint) takes signed webhooks from a generator process until each is delivered and its rows are in ClickHouse.
//! CPU is that of the `tidegate` process, and of its ClickHouse child apart; generator and receiver are not counted. With
//! `kafka` the topics lie on a real Kafka node instead (`acks=all`), whose CPU stands apart too.
//!
//! Run: `cargo build --release -p tidegate -p tidegate-bench && target/release/whole [kafka] [EVENTS [PER_SECOND [DIRECTORY
//! [PROVIDER CASE]]]]`; PER_SECOND 0 (default): as fast as they are accepted. Needs `libchdb.so` (`make engine`).
//! `TIDEGATE_BENCH_HOLD` names seconds to wait before the load, for a profiler to be attached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::api::apply::{Applied, Wanted};
use tidegate::api::question::Question;
use tidegate::client::Client;
use tidegate_bench::idle::Idle;
use tidegate_bench::kafka::Node;
use tidegate_bench::webhook::{Choice, SECRET};
use tidegate_bench::{Failure, cpu, load, micros_each};

const CONNECTIONS: u64 = 64;
const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("generate").is_some() {
        return generate(arguments.collect()).await;
    }
    let on_kafka = arguments.next_if_eq("kafka").is_some();
    let events = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let per_second = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let choice = Choice::read(arguments)?;
    let folder = tempfile::tempdir_in(parent)?;
    let receiver = Idle::start()?;
    let node = on_kafka.then(|| Node::start(folder.path())).transpose()?;
    let settings = node.as_ref().map(|node| {
        let config = node.config("whole.", 32);
        node.settings(&config, &folder.path().join("keys"))
    });
    let server = Serve::start(folder.path(), &settings.unwrap_or_default()).await?;
    let url = server.apply(&choice, &receiver).await?;
    let request = server.request(&choice, &url, folder.path())?;
    hold().await?;
    let before = node.as_ref().map(Node::spent).transpose()?;
    let mut spent = server.measure(&request, (events, per_second), &receiver).await?;
    if let (Some(node), Some(before)) = (&node, before) {
        spent.broker = Some(node.spent()?.saturating_sub(before));
    }
    spent.print(events);
    Ok(())
}

/// The generator's process: `ADDRESS FILE EVENTS PER_SECOND`.
async fn generate(arguments: Vec<String>) -> Result<(), Failure> {
    let [address, file, events, per_second] = arguments.as_slice() else {
        return Err("usage: whole generate ADDRESS FILE EVENTS PER_SECOND".into());
    };
    let load = (events.parse()?, CONNECTIONS, per_second.parse()?);
    load::send(address, std::fs::read(file)?, load).await
}

async fn hold() -> Result<(), Failure> {
    if let Ok(seconds) = std::env::var("TIDEGATE_BENCH_HOLD") {
        tokio::time::sleep(Duration::from_secs(seconds.parse()?)).await;
    }
    Ok(())
}

/// A running `tidegate serve`; killed when dropped.
struct Serve {
    child: Child,
    client: Client,
}

/// A request, encoded in a file, and whom it is for.
struct Request {
    address: String,
    file: PathBuf,
}

/// What the way cost.
struct Spent {
    server: Duration,
    engine: Duration,
    accepted: Duration,
    delivered: Duration,
    complete: Duration,
    attempts: u64,
    threads: BTreeMap<String, Duration>,
    /// Kafka's node, where the topics lie there.
    broker: Option<Duration>,
}

impl Serve {
    async fn start(folder: &Path, settings: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let (data, config) = (folder.join("tidegate"), folder.join("tidegate.toml"));
        std::fs::write(
            &config,
            "[ingest]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [egress]\nallow = [\"127.0.0.0/8\"]\n[log]\nlevel = \"warn\"\n",
        )?;
        let child = Command::new(std::env::current_exe()?.with_file_name("tidegate"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(&data)
            .envs(settings)
            .env("TIDEGATE__LOG__LEVEL", "warn")
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("the program `tidegate` beside this one (cargo build): {error}"))?;
        let mut child = Killed(Some(child));
        let begun = Instant::now();
        loop {
            if let Ok(client) = Client::of(&data)
                && let Ok(status) = client.get::<serde_json::Value>("/api/v1/status").await
                && status.get("audit") == Some(&json!(true))
            {
                let child = child.0.take().ok_or("it was started above")?;
                return Ok(Self { child, client });
            }
            if begun.elapsed() > PATIENCE {
                return Err("`tidegate serve` is not ready".into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Makes an integration with a connection, and an endpoint. Returns where to send.
    async fn apply(&self, choice: &Choice, receiver: &Idle) -> Result<String, Failure> {
        let manifest = json!({ "environments": { "bench": {
            "integrations": { "bench": {
                "provider": choice.provider,
                "secret": "${BENCH_SECRET}",
                // The same request is sent over and over.
                "flood": { "dedupe": false },
                "connections": { "first": { "properties": choice.properties()? } },
            } },
            "endpoints": { "all": { "url": format!("http://{}/deliveries", receiver.address) } },
        } } });
        let wanted = Wanted {
            file: "the benchmark's manifest".to_owned(),
            text: manifest.to_string(),
            variables: BTreeMap::from([("BENCH_SECRET".to_owned(), SECRET.to_owned())]),
            prune: false,
            write: true,
        };
        let applied: Applied = self.client.post("/api/v1/apply", &wanted).await?;
        Ok(applied
            .integrations
            .first()
            .ok_or("no integration was made")?
            .url
            .clone())
    }

    fn request(&self, choice: &Choice, url: &str, folder: &Path) -> Result<Request, Failure> {
        let sample = choice.signed(url)?;
        let address = url.split('/').nth(2).ok_or("a URL has a host")?.to_owned();
        let file = folder.join("request");
        std::fs::write(&file, load::encode(&sample, &address))?;
        println!(
            "a signed body of {} bytes, {CONNECTIONS} connections",
            sample.body.len()
        );
        Ok(Request { address, file })
    }

    async fn measure(
        &self,
        request: &Request,
        (events, per_second): (u64, u32),
        receiver: &Idle,
    ) -> Result<Spent, Failure> {
        let pid = self.child.id();
        let engine = *cpu::children(pid)?
            .first()
            .ok_or("there is no ClickHouse child")?;
        let (server_before, engine_before) = (cpu::of(pid)?, cpu::of(engine)?);
        let (threads_before, begun) = (cpu::by_thread(pid)?, Instant::now());
        let mut generator = Command::new(std::env::current_exe()?)
            .args(["generate", &request.address])
            .arg(&request.file)
            .args([events.to_string(), per_second.to_string()])
            .spawn()?;
        let ended = tokio::task::spawn_blocking(move || generator.wait()).await??;
        if !ended.success() {
            return Err("the generator failed".into());
        }
        let accepted = begun.elapsed();
        until(|| async { Ok(receiver.answered() >= events) }).await?;
        let delivered = begun.elapsed();
        // The tables, not the views on them: counting must not cost what is measured.
        for table in ["webhook_requests", "webhook_events", "delivery_attempts"] {
            until(|| async { Ok(self.count(table).await? >= events) }).await?;
        }
        let mut threads = cpu::by_thread(pid)?;
        for (name, spent) in &mut threads {
            *spent = spent.saturating_sub(threads_before.get(name).copied().unwrap_or_default());
        }
        Ok(Spent {
            server: cpu::of(pid)?.saturating_sub(server_before),
            engine: cpu::of(engine)?.saturating_sub(engine_before),
            accepted,
            delivered,
            complete: begun.elapsed(),
            attempts: receiver.answered(),
            threads,
            broker: None,
        })
    }

    async fn count(&self, table: &str) -> Result<u64, Failure> {
        let question = Question {
            sql: format!("SELECT count() FROM {table}"),
            format: "TabSeparated".to_owned(),
        };
        let answer = self.client.stream("/api/v1/query", &question).await?;
        Ok(answer.text().await?.trim().parse()?)
    }
}

async fn until<F: Future<Output = Result<bool, Failure>>>(done: impl Fn() -> F) -> Result<(), Failure> {
    let begun = Instant::now();
    while !done().await? {
        if begun.elapsed() > PATIENCE {
            return Err("not everything arrived".into());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

impl Spent {
    fn print(&self, events: u64) {
        let each = |spent| micros_each(spent, events);
        println!(
            "{events} events: accepted in {:.1?}, delivered in {:.1?}, rows complete in {:.1?}; {} attempts arrived",
            self.accepted, self.delivered, self.complete, self.attempts
        );
        println!(
            "tidegate, the whole path: {:.1} µs of CPU an event (aim 35)",
            each(self.server)
        );
        for (name, spent) in &self.threads {
            println!("  of these in threads `{name}`: {:.1} µs", each(*spent));
        }
        println!(
            "its ClickHouse child: {:.1} µs of CPU an event",
            each(self.engine)
        );
        if let Some(broker) = self.broker {
            println!("Kafka's node: {:.1} µs of CPU an event", each(broker));
        }
    }
}

/// A child that does not outlive an error.
struct Killed(Option<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            kill(child);
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

fn kill(child: &mut Child) {
    let ended = child.kill().and_then(|()| child.wait());
    if let Err(error) = ended {
        eprintln!("`tidegate serve` was not ended: {error}");
    }
}
