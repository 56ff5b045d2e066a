//! `tidegate clickhouse`: the embedded ClickHouse engine behind ClickHouse's HTTP interface. `serve` runs it as its
//! child; alone it is a small ClickHouse for other tools.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tidegate_chdb::{Config, Password, Server};

use crate::command::Shared;
use crate::{logging, serve};

/// Run the embedded ClickHouse engine behind ClickHouse's HTTP interface.
#[derive(Args)]
#[command(
    after_help = "TIDEGATE_CLICKHOUSE_PASSWORD=… tidegate clickhouse --data ./ch --listen 127.0.0.1:8123\n\
    curl -u default:… 'http://127.0.0.1:8123/?query=SELECT+version()'\n\n\
    Without a password one is generated and printed. The library comes by `make engine`."
)]
pub struct Arguments {
    /// The address
    #[arg(long, default_value = "127.0.0.1:8123")]
    listen: SocketAddr,
    /// `libchdb.so`; without it: engine.library, TIDEGATE_LIBCHDB, beside this program, or build/chdb/
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// How much memory queries may take together, in bytes
    #[arg(long, value_name = "BYTES")]
    memory_bytes_max: Option<u64>,
    /// The pipe that ends with the parent; given by `serve`
    #[arg(long, hide = true, value_name = "FD")]
    parent_fd: Option<i32>,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self, shared: &Shared) -> anyhow::Result<ExitCode> {
        let settings = shared.load()?;
        logging::install(&settings.log)?;
        let password = std::env::var("TIDEGATE_CLICKHOUSE_PASSWORD").unwrap_or_default();
        let mut config = Config {
            library: self.library.unwrap_or_else(|| settings.engine_library()),
            data: settings.server.data.clone(),
            listen: self.listen,
            memory_bytes_max: self.memory_bytes_max.unwrap_or(settings.engine.memory_bytes_max),
            password: Password::new(password.clone()),
            ..Config::default()
        };
        serve::runtime()?.block_on(async {
            if let Some(parent_fd) = self.parent_fd {
                tidegate_chdb::serve_parent(config, parent_fd).await?;
                return Ok(ExitCode::SUCCESS);
            }
            let told = serve::signal()?;
            if password.is_empty() {
                config.password = Password::generate();
                println!("password of user {}: {}", config.user, config.password.reveal());
            }
            let server = Server::open(config).await?;
            println!("ClickHouse {} on http://{}", server.version(), server.address());
            server.run(told).await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
