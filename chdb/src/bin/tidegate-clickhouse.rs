//! The engine's server as a program of its own, for tests that should not need the whole of Tidegate.
//!
//! In: `--data DIR --listen ADDRESS [--library FILE]`, and the password in `TIDEGATE_CLICKHOUSE_PASSWORD`. Out: the address on standard output.
//! `tidegate clickhouse` calls the same function.

use std::process::ExitCode;

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
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--data" => config.data = value.into(),
            "--listen" => config.listen = value.parse()?,
            "--library" => config.library = value.into(),
            _ => return Err(format!("{name} is not known: use --data, --listen, --library").into()),
        }
    }
    let server = Server::open(config).await?;
    println!("{}", server.address());
    server
        .run(async { tokio::signal::ctrl_c().await.unwrap_or(()) })
        .await?;
    Ok(())
}
