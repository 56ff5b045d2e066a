//! The engine's server as a program of its own, for tests that should not need the whole of Tidegate.
//!
//! In: `--data DIR --listen ADDRESS [--library FILE] [--parent-fd N]`, or `--watch DIR` to be the parent of another; the password in `TIDEGATE_CLICKHOUSE_PASSWORD`, or by the parent's pipe.
//! Out: the address on standard output. `tidegate clickhouse` calls the same functions.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tidegate_chdb::supervise::{self, Engine};
use tidegate_chdb::{Config, Password, Server};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config {
        library: std::env::var_os("TIDEGATE_LIBCHDB").unwrap_or_default().into(),
        ..Config::default()
    };
    config.password = Password::new(std::env::var("TIDEGATE_CLICKHOUSE_PASSWORD").unwrap_or_default());
    let mut parent_fd = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--data" => config.data = value.into(),
            "--listen" => config.listen = value.parse()?,
            "--library" => config.library = value.into(),
            "--parent-fd" => parent_fd = Some(value.parse()?),
            "--memory" => config.memory_bytes_max = value.parse()?,
            "--watch" => return watch(value.into()).await,
            "--lock-wait-ms" => config.lock_wait_ms = value.parse()?,
            _ => return Err(format!("{name} is not known").into()),
        }
    }
    if let Some(parent_fd) = parent_fd {
        return Ok(tidegate_chdb::serve_parent(config, parent_fd).await?);
    }
    let server = Server::open(config).await?;
    println!("{}", server.address());
    server
        .run(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
        .await?;
    Ok(())
}

/// Is the parent of a child on `data`, says where that answers, and waits to be killed.
async fn watch(data: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::start(supervise::Config::new(std::env::current_exe()?, Vec::new(), data))?;
    let endpoint = engine.ready(Duration::from_secs(60)).await?;
    println!("{} {}", endpoint.url, endpoint.password.reveal());
    std::future::pending().await
}
