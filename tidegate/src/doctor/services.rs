//! What `doctor` looks at beside this machine's files and Kafka: ClickHouse or its embedded engine, the admin key, and a
//! server on the data folder. In: the configuration. Out: findings. Asks one question each and changes nothing.

use std::time::Duration;

use tidegate_sinks::audit;

use super::Finding;
use crate::admin_key;
use crate::api::SOCKET;
use crate::client::Client;
use crate::config::Config;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The configured ClickHouse, or the embedded engine's library.
pub async fn clickhouse(config: &Config) -> Vec<Finding> {
    let about = "ClickHouse";
    if config.clickhouse.url.is_empty() {
        let library = config.engine_library();
        return vec![if library.is_file() {
            Finding::fine(about, format!("embedded, {}", library.display()))
        } else {
            Finding::wrong(
                about,
                format!(
                    "the embedded engine is missing: there is no {}",
                    library.display()
                ),
                "`make engine`; or engine.library names another place, or clickhouse.url a server",
            )
        }];
    }
    let url = &config.clickhouse.url;
    let asked = tokio::time::timeout(ANSWER_MAX, tables(&config.clickhouse)).await;
    vec![match asked {
        Ok(Ok(0)) => Finding::doubtful(
            about,
            format!("{url} answers, but has no tables yet"),
            "`tidegate migrate`, or the first start of a process with the role audit makes them",
        ),
        Ok(Ok(_)) => Finding::fine(about, format!("{url} answers and has its tables")),
        Ok(Err(error)) => Finding::wrong(
            about,
            format!("{url}: {error:#}"),
            "check clickhouse.url, user and password, and that it runs; rows wait in the topics meanwhile",
        ),
        Err(_) => Finding::wrong(
            about,
            format!("{url} does not answer within {ANSWER_MAX:?}"),
            "check clickhouse.url, and that it runs; rows wait in the topics meanwhile",
        ),
    }]
}

/// How many of our tables there are.
async fn tables(config: &audit::Config) -> anyhow::Result<u64> {
    let sql = format!(
        "SELECT count() FROM system.tables WHERE database = '{}' AND name = 'webhook_events'",
        config.database
    );
    // The database itself may be missing yet.
    let anywhere = audit::Config {
        database: "system".to_owned(),
        ..config.clone()
    };
    let answer = audit::Reader::new(&anywhere)?.query(&audit::Question::new(sql), "TabSeparated")?;
    let text = answer.collect().await?;
    Ok(std::str::from_utf8(&text)?.trim().parse()?)
}

/// The admin key that a process with the role `api` needs on Kafka.
pub fn admin_key(_config: &Config) -> Vec<Finding> {
    let about = "admin key";
    vec![match admin_key::from_environment() {
        Ok(Some(_)) => Finding::fine(about, format!("{} is set", admin_key::VARIABLE)),
        Ok(None) => Finding::doubtful(
            about,
            format!("{} is not set", admin_key::VARIABLE),
            "set it before the first start of a process with the role api: `openssl rand -hex 32`",
        ),
        Err(error) => Finding::wrong(about, error, ""),
    }]
}

/// Whether a server runs on the data folder.
pub async fn server(config: &Config) -> Vec<Finding> {
    let about = "server";
    let folder = &config.server.data;
    if !folder.join(SOCKET).exists() {
        return vec![Finding::fine(about, format!("none runs on {}", folder.display()))];
    }
    let asked = async {
        let client = Client::of(folder)?;
        client.get::<serde_json::Value>("/readyz").await
    };
    vec![match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(says)) => match says.get("clickhouse").and_then(serde_json::Value::as_str) {
            Some(waits) if waits.starts_with("rows wait") => Finding::doubtful(about, waits, ""),
            _ => Finding::fine(about, "runs and is ready"),
        },
        Ok(Err(error)) => Finding::doubtful(about, format!("{error:#}"), "look into its log"),
        Err(_) => Finding::wrong(
            about,
            format!("runs and does not answer within {ANSWER_MAX:?}"),
            "look into its log, and start it again",
        ),
    }]
}
