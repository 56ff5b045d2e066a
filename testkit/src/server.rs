//! The real `tidegate serve` as a process of its own, for tests. In: the program's path, a folder, settings as
//! environment variables. Out: its address, answers of its admin socket, and signals to it and its engine, until the
//! [`Server`] is dropped: then it is killed, and its engine ends with it; the end of what it printed is shown when the
//! test has failed. Decides nothing about what the answers should be.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};

/// How long anything that a test waits for may take: a loaded machine starts the engine slowly.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many of the last lines that a server printed are shown after a failure.
const LINES_SHOWN: usize = 60;

/// What every server of a test is given; a test's own settings lie over it.
const SETTINGS: &[(&str, &str)] = &[
    ("TIDEGATE__ADMIN__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE__INGEST__LISTEN", "127.0.0.1:0"),
    ("TIDEGATE_ADMIN_KEY", "an-admin-key-that-only-tests-know-of"),
    ("TIDEGATE__EGRESS__ALLOW", r#"["127.0.0.0/8"]"#),
    ("TIDEGATE__FORWARD__SCHEDULE_MS", "[500, 1000, 2000]"),
    ("TIDEGATE__LOG__LEVEL", "warn"),
    ("TIDEGATE__BROKER__EMBEDDED__SEGMENT_BYTES", "67108864"),
    ("TIDEGATE__CLICKHOUSE__BLOCK_WAIT_MS", "200"),
];

/// A program, a data folder and settings: what a server is started from, again and again.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    data: PathBuf,
    settings: BTreeMap<String, String>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    child: Child,
    http: reqwest::Client,
}

impl Launch {
    /// A server of `program` on the folder `data`.
    #[must_use]
    pub fn new(program: &Path, data: &Path) -> Self {
        let settings = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            program: program.to_owned(),
            data: data.to_owned(),
            settings: settings.collect(),
        }
    }

    /// The folder it works on.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The same settings on another folder.
    #[must_use]
    pub fn at(&self, data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            ..self.clone()
        }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A command of the program with the settings, on the folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("TIDEGATE_DATA", &self.data)
            .envs(&self.settings);
        command
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; with what it printed.
    pub async fn start(&self) -> Server {
        let mut server = self.spawn();
        server.ready().await;
        server
    }

    /// Starts the server and waits for nothing. What it prints is added to what earlier ones on the folder printed.
    ///
    /// # Panics
    /// When the system gives no process.
    #[must_use]
    pub fn spawn(&self) -> Server {
        std::fs::create_dir_all(&self.data).expect("the data folder can be made");
        let printed = OpenOptions::new().create(true).append(true).open(self.printed());
        let printed = printed.expect("a file for what the server prints");
        let child = self
            .command(&["serve"])
            .stdin(Stdio::null())
            .stdout(printed.try_clone().expect("a file can be opened twice"))
            .stderr(printed)
            .spawn()
            .expect("the program starts");
        let http = reqwest::Client::builder()
            .unix_socket(self.data.join("admin.sock"))
            .no_proxy()
            .build()
            .expect("a client of the admin socket");
        Server {
            launch: self.clone(),
            child,
            http,
        }
    }

    fn printed(&self) -> PathBuf {
        self.data.join("printed.txt")
    }
}

impl Server {
    /// Waits until every role has started.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; with what it printed.
    pub async fn ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!(
                    "the server ended ({status}) before it was ready:\n{}",
                    self.printed()
                );
            }
            let answer = self.http.get("http://tidegate/readyz").send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the server is not ready after {PATIENCE:?}:\n{}",
                self.printed()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What it was started from.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.launch.printed()).unwrap_or_default()
    }

    /// Its process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where ingest listens: `http://ADDRESS`.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ingest(&self) -> String {
        let status: Value = serde_json::from_str(&self.get("/api/v1/status").await).expect("status is JSON");
        let ingest = status.get("ingest").and_then(Value::as_str);
        ingest.expect("status names ingest's address").to_owned()
    }

    /// GETs a path of the admin socket.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> String {
        self.asked(path).await.expect("the admin socket answers")
    }

    /// The same; `None` when it does not answer, because it only just begins.
    pub async fn asked(&self, path: &str) -> Option<String> {
        let answer = self.http.get(format!("http://tidegate{path}")).send().await;
        answer.ok()?.text().await.ok()
    }

    /// Applies a manifest and hands back the URL of every integration: (environment, key) → URL.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn apply(
        &self,
        text: &str,
        variables: &BTreeMap<String, String>,
    ) -> BTreeMap<(String, String), String> {
        let wanted = json!({ "file": "test.yaml", "text": text, "variables": variables, "prune": false, "write": true });
        let answer = self
            .post("/api/v1/apply", &wanted)
            .await
            .unwrap_or_else(|problem| {
                panic!("the manifest was refused: {problem}");
            });
        let applied: Value = serde_json::from_str(&answer).expect("an answer to apply is JSON");
        let field = |webhook: &Value, name: &str| webhook[name].as_str().unwrap_or_default().to_owned();
        let webhooks = applied["integrations"].as_array().cloned().unwrap_or_default();
        let urls = webhooks.iter().map(|webhook| {
            let key = (field(webhook, "environment"), field(webhook, "integration"));
            (key, field(webhook, "url"))
        });
        urls.collect()
    }

    /// Asks ClickHouse for rows.
    ///
    /// # Errors
    /// The problem that the server answers, such as a ClickHouse that is not up.
    pub async fn query(&self, sql: &str) -> Result<Vec<Value>, String> {
        let question = json!({ "sql": sql, "format": "JSONEachRow" });
        let answer = self.post("/api/v1/query", &question).await?;
        let rows = answer.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        rows.map_err(|error| format!("not JSON lines ({error}): {answer}"))
    }

    /// Asks ClickHouse until the rows are as wanted, and hands the last ones back even when they never are.
    pub async fn query_until(&self, sql: &str, mut enough: impl FnMut(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let rows = self.query(sql).await;
            if let Ok(rows) = &rows
                && enough(rows)
            {
                return rows.clone();
            }
            if began.elapsed() > PATIENCE {
                return rows.unwrap_or_else(|problem| {
                    panic!("ClickHouse does not answer: {problem}\n{}", self.printed())
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// POSTs JSON to a path of the admin socket.
    ///
    /// # Errors
    /// The status and the problem, or why there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<String, String> {
        answer(self.http.post(url(path)).json(body)).await
    }

    /// PATCHes JSON at a path of the admin socket.
    ///
    /// # Errors
    /// As [`Server::post`].
    pub async fn patch(&self, path: &str, body: &Value) -> Result<String, String> {
        answer(self.http.patch(url(path)).json(body)).await
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the server does not end after SIGTERM:\n{}",
                self.printed()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it as `kill -9` does, and hands back what it was started from.
    ///
    /// # Panics
    /// When it has ended before, by itself.
    #[must_use]
    pub fn kill(mut self) -> Launch {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(
            ended.is_none(),
            "the server ended by itself before it was killed: {ended:?}"
        );
        self.end();
        self.launch.clone()
    }

    /// Sends a signal to it.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for can be sent a signal");
    }

    /// The process id of its engine, while it has one.
    #[must_use]
    pub fn engine(&self) -> Option<u32> {
        let server = self.pid().to_string();
        let processes = std::fs::read_dir("/proc").expect("the system lists its processes");
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .find(|pid: &u32| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // "pid (name) state parent …": the name may hold anything.
                let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
                let mut fields = rest.split_whitespace();
                fields.next().is_some_and(|state| state != "Z") && fields.next() == Some(&server)
            })
    }

    /// Sends a signal to its engine, and says which process that was.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal_engine(&self, signal: Signal) -> u32 {
        let engine = self.engine().expect("the engine runs");
        let pid = i32::try_from(engine).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("the engine can be sent a signal");
        engine
    }

    fn end(&mut self) {
        // That it has already ended does not matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url(path: &str) -> String {
    format!("http://tidegate{path}")
}

/// The text of a good answer; the status and the text of another.
async fn answer(request: reqwest::RequestBuilder) -> Result<String, String> {
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        Ok(text)
    } else {
        Err(format!("{status}: {text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let printed = self.printed();
            let lines: Vec<_> = printed.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..);
            println!(
                "the end of what the server printed:\n{}",
                last.unwrap_or_default().join("\n")
            );
        }
    }
}
