//! The one way to ClickHouse: the official client, set up from the configuration.
//! In: a [`Config`]. Out: clients, and statements run within a time; over TLS for an `https://` address. Knows no tables.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::Client;
use clickhouse::error::{Error as ClickHouseError, Result};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::config::Config;
use super::error::Error;

/// How long a connection may be silent before the system asks whether anybody is there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long an unused connection is kept: shorter than ClickHouse keeps it (3 s).
const IDLE: Duration = Duration::from_secs(2);

/// A client that speaks to the configured database; its requests are LZ4 blocks.
pub(crate) fn connect(config: &Config) -> Result<Client, Error> {
    if config.url.is_empty() {
        let problem = "is empty: name ClickHouse's HTTP address, such as http://localhost:8123".to_owned();
        return Err(Error::Config { key: "url", problem });
    }
    let Ok(password) = std::str::from_utf8(config.password.expose()) else {
        return Err(Error::Config {
            key: "password",
            problem: "is no text: use UTF-8".to_owned(),
        });
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if config.database.is_empty() || !config.database.bytes().all(plain) {
        let problem = format!("is `{}`: use letters, digits and `_`", config.database);
        return Err(Error::Config {
            key: "database",
            problem,
        });
    }
    let http = HttpClient::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .build(connector(&config.roots_pem)?);
    Ok(Client::with_http_client(http)
        .with_url(&config.url)
        .with_user(&config.user)
        .with_password(password)
        .with_database(&config.database)
        .with_validation(false))
}

/// Connects in plain text or over TLS, as the address says.
fn connector(roots_pem: &str) -> std::result::Result<HttpsConnector<HttpConnector>, Error> {
    let mut connector = HttpConnector::new();
    connector.set_keepalive(Some(KEEPALIVE));
    connector.enforce_http(false);
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(tls(roots_pem)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector))
}

/// TLS with the public roots that are built in and the configured ones.
fn tls(roots_pem: &str) -> std::result::Result<ClientConfig, Error> {
    let unusable = |problem: String| Error::Config {
        key: "roots_pem",
        problem: format!("cannot be used ({problem}): give certificates in PEM"),
    };
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if roots.len() == webpki_roots::TLS_SERVER_ROOTS.len() && !roots_pem.trim().is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Runs a statement whose result nobody reads.
pub(crate) async fn execute(client: &Client, sql: &str, timeout: Duration) -> Result<()> {
    within(timeout, client.query_raw(sql).execute()).await
}

/// Waits for an answer of ClickHouse's, but not longer.
pub(crate) async fn within<T>(timeout: Duration, answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or(Err(ClickHouseError::TimedOut))
}
