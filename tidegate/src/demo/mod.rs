//! `tidegate demo`: the main job on real webhooks, in one process and a temporary folder. Starts a server with
//! everything embedded and a receiver, applies `demo.yaml`, tells `story.toml`, and prints what became of each request,
//! from ClickHouse. Providers are named in the data files alone.

mod receiver;
mod report;
mod story;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use crate::api::apply::{Applied, Wanted};
use crate::client::Client;
use crate::config::Config;
use crate::serve::{Server, Shape, catalogue};
use receiver::Receiver;

const MANIFEST: &str = include_str!("demo.yaml");

/// A demo that was told: still running, so that its user can look around.
pub struct Demo {
    server: Server,
    /// What is not as it should be.
    pub wrong: Vec<String>,
    /// The environment's URLs, by integration.
    pub urls: BTreeMap<String, String>,
    /// The secret of every integration.
    pub secret: String,
}

/// What a demo sets in a configuration: free ports, a folder of its own, this machine's receiver allowed, quick retries.
///
/// # Errors
/// When the changes are no configuration.
pub fn configure(mut config: Config, folder: &Path) -> anyhow::Result<Config> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.data = folder.to_owned();
    config.ingest.listen = free;
    config.admin.listen = free;
    config.egress.allow.push("127.0.0.0/8".parse()?);
    config.forward.schedule_ms = vec![1_000, 2_000, 4_000, 8_000];
    config.clickhouse.url = String::new();
    Ok(config)
}

/// Starts everything, sends every step and reports on it, line by line.
///
/// # Errors
/// When something cannot start or be asked; what merely turns out wrong is in [`Demo::wrong`].
pub async fn tell(config: Config, mut print: impl FnMut(String)) -> anyhow::Result<Demo> {
    let data = config.server.data.clone();
    let catalogue = catalogue(&config)?;
    let receiver = Receiver::start()
        .await
        .context("the demo's receiver cannot start")?;
    let server = Server::start(config, &Shape::default()).await?;
    let client = Client::of(&data)?;
    let secret = random_secret();
    let applied = apply(&client, &receiver, &secret).await?;
    print(format!("applied:\n{}", indented(&applied.plan)));
    let urls: BTreeMap<_, _> = applied
        .integrations
        .into_iter()
        .map(|it| (it.integration, it.url))
        .collect();
    let mut told = Vec::new();
    for step in story::steps() {
        let url = urls
            .get(&step.integration)
            .with_context(|| format!("no integration `{}`", step.integration))?;
        told.push(story::tell(&catalogue, step, (url, &secret)).await?);
    }
    let mut wrong = Vec::new();
    for sent in &told {
        let (verdict, complaints) = report::wait(&client, sent, || receiver.arrived()).await?;
        print(report::page(sent, &verdict).trim_end().to_owned());
        wrong.extend(complaints);
    }
    wrong.extend(
        receiver
            .wrong()
            .into_iter()
            .map(|error| format!("the official library refuses a delivery: {error}")),
    );
    Ok(Demo {
        server,
        wrong,
        urls,
        secret,
    })
}

async fn apply(client: &Client, receiver: &Receiver, secret: &str) -> anyhow::Result<Applied> {
    let endpoints = ["main", "shaky"].map(|name| (name, endpoint_secret()));
    let mut variables = BTreeMap::from([
        ("DEMO_SECRET".to_owned(), secret.to_owned()),
        ("DEMO_RECEIVER".to_owned(), receiver.url()),
    ]);
    for (name, secret) in &endpoints {
        receiver.expect(name, secret);
        variables.insert(format!("DEMO_{}_SECRET", name.to_uppercase()), secret.clone());
    }
    let wanted = Wanted {
        file: "demo.yaml".to_owned(),
        text: MANIFEST.to_owned(),
        variables,
        prune: false,
        write: true,
    };
    client.post("/api/v1/apply", &wanted).await
}

fn random_secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A Standard Webhooks secret: `whsec_` and the base64 of 32 random bytes.
fn endpoint_secret() -> String {
    use base64::Engine as _;
    let bytes = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
    format!(
        "whsec_{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    )
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

impl Demo {
    /// Ends the server.
    ///
    /// # Errors
    /// When it does not end cleanly.
    pub async fn end(self) -> anyhow::Result<()> {
        self.server.stop().await
    }
}
