//! How a command reaches the running server: HTTP over `DATA/admin.sock`, which only this machine's owner of the data
//! folder can open, so no key is needed. In: a path and a body. Out: the answer, or the problem that the server named.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A server's socket.
pub struct Client {
    socket: PathBuf,
    http: reqwest::Client,
}

/// The part of an RFC 9457 problem that a person reads.
#[derive(serde::Deserialize)]
struct Problem {
    title: String,
    #[serde(default)]
    detail: String,
}

impl Client {
    /// A client of the server whose data lies in `data`.
    ///
    /// # Errors
    /// When no server listens there.
    pub fn of(data: &Path) -> anyhow::Result<Self> {
        let socket = data.join(crate::api::SOCKET);
        if !socket.exists() {
            bail!(
                "no server runs on {}: start one with `tidegate serve --data {}`, or name another folder with --data",
                data.display(),
                data.display()
            );
        }
        let http = reqwest::Client::builder()
            .unix_socket(socket.clone())
            .no_proxy()
            .build()?;
        Ok(Self { socket, http })
    }

    /// GETs JSON.
    ///
    /// # Errors
    /// When the server does not answer, or answers a problem.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.send(self.http.get(url(path))).await?;
        answer
            .json()
            .await
            .context("the server's answer is not what this version expects")
    }

    /// GETs text, such as `/metrics`.
    ///
    /// # Errors
    /// When the server does not answer, or answers a problem.
    pub async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.send(self.http.get(url(path))).await?;
        Ok(answer.text().await?)
    }

    /// POSTs JSON and reads JSON.
    ///
    /// # Errors
    /// When the server does not answer, or answers a problem.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let answer = self.send(self.http.post(url(path)).json(body)).await?;
        answer
            .json()
            .await
            .context("the server's answer is not what this version expects")
    }

    /// POSTs JSON and hands the answer's body on as it comes.
    ///
    /// # Errors
    /// When the server does not answer, or answers a problem.
    pub async fn stream(&self, path: &str, body: &impl Serialize) -> anyhow::Result<reqwest::Response> {
        self.send(self.http.post(url(path)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let answer = request.send().await.with_context(|| {
            format!(
                "no answer on {}: is the server still running?",
                self.socket.display()
            )
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if problem.detail.is_empty() => bail!("{}", problem.title),
            Ok(problem) => bail!("{}: {}", problem.title, problem.detail),
            Err(_) => bail!("the server answered {status}: {text}"),
        }
    }
}

fn url(path: &str) -> String {
    format!("http://tidegate{path}")
}
