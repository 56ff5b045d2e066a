//! A started engine for a test, and how to speak to it.
//!
//! In: nothing, or how the engine should differ. Out: [`Started`]; its child and its directory go when it is dropped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use tidegate_chdb::supervise::{Config, Endpoint, Engine, State};

/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Started {
    pub engine: Engine,
    pub endpoint: Endpoint,
    pub client: Client,
    pub directory: tempfile::TempDir,
}

/// What an answer says.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(response: Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub fn library() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/chdb/libchdb.so");
    let library = std::env::var_os("TIDEGATE_LIBCHDB").map_or(built, PathBuf::from);
    assert!(
        library.exists(),
        "the ClickHouse engine is not at {}: run `make deps`",
        library.display()
    );
    library
}

/// What becomes the child: this crate's own small program.
pub fn command(directory: &Path, more: &[&str]) -> Config {
    let library = library().into_os_string();
    let more = more.iter().map(Into::into);
    let arguments = ["--library".into(), library].into_iter().chain(more).collect();
    Config::new(
        PathBuf::from(env!("CARGO_BIN_EXE_tidegate-clickhouse")),
        arguments,
        directory.join("tables"),
    )
}

impl Started {
    pub async fn new() -> Started {
        Started::with(&[]).await
    }

    pub async fn with(more: &[&str]) -> Started {
        let directory = tempfile::tempdir().unwrap();
        Started::begin(command(directory.path(), more), directory).await
    }

    pub async fn begin(config: Config, directory: tempfile::TempDir) -> Started {
        let engine = Engine::start(config).unwrap();
        let endpoint = engine.ready(PATIENCE).await.unwrap();
        Started {
            engine,
            endpoint,
            client: Client::new(),
            directory,
        }
    }

    pub fn process(&self) -> u32 {
        match self.engine.state() {
            State::Ready { process, .. } => process,
            state => panic!("the engine is not ready: {state}"),
        }
    }

    /// A POST as the user, with these parameters in the URL.
    pub fn post(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.with_user(self.client.post(self.url(parameters)))
    }

    pub fn get(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.with_user(self.client.get(self.url(parameters)))
    }

    pub fn url(&self, parameters: &[(&str, &str)]) -> reqwest::Url {
        reqwest::Url::parse_with_params(&self.endpoint.url, parameters).unwrap()
    }

    fn with_user(&self, request: RequestBuilder) -> RequestBuilder {
        request
            .header("X-ClickHouse-User", &self.endpoint.user)
            .header("X-ClickHouse-Key", self.endpoint.password.reveal())
    }

    pub async fn ask(&self, sql: &str) -> Answer {
        Answer::of(self.post(&[]).body(sql.to_owned()).send().await.unwrap()).await
    }

    /// The answer to what has to succeed.
    pub async fn sql(&self, sql: &str) -> String {
        let answer = self.ask(sql).await;
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
        answer.body
    }

    /// Waits until `sql` answers `wanted`.
    pub async fn wait_for(&self, sql: &str, wanted: &str) {
        let waiting = async {
            while self.sql(sql).await != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("{sql} never answered {wanted:?}"));
    }
}

/// The most memory that a process has held, in bytes.
pub fn peak_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Forgets the peak so far.
pub fn reset_peak(process: u32) {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
}
