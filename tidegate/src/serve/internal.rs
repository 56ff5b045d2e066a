//! What processes of one system say to one another: calls to the registry's writer, over plain HTTP to the admin
//! address, sealed as a whole. In: an address and sealed bytes. Out: the sealed answer. Understands neither.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use tidegate_registry::{Pass, PassError};

use crate::api::WRITE_PATH;
use crate::config::Config;

/// How long a process may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Passes writes of the registry on.
///
/// # Errors
/// When no client can be made.
pub fn pass() -> anyhow::Result<Pass> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        // Every call on a connection of its own: one that was kept may be dead, and a write is not sent twice.
        .pool_max_idle_per_host(0)
        .build()?;
    Ok(Arc::new(move |address, sealed| {
        let http = http.clone();
        Box::pin(async move { send(&http, &address, sealed).await })
    }))
}

async fn send(http: &reqwest::Client, address: &str, sealed: Vec<u8>) -> Result<Vec<u8>, PassError> {
    let request = http.post(format!("http://{address}{WRITE_PATH}")).body(sealed);
    let answer = request.send().await.map_err(|error| match error.is_connect() {
        true => PassError::Unreached(words(&error)),
        false => PassError::Unanswered(words(&error)),
    })?;
    let status = answer.status();
    let body = answer
        .bytes()
        .await
        .map_err(|error| PassError::Unanswered(words(&error)))?;
    match status {
        StatusCode::OK => Ok(body.to_vec()),
        // It is still starting, or another program has its address now.
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_FOUND => {
            Err(PassError::Unreached(status.to_string()))
        }
        _ => Err(PassError::Refused(String::from_utf8_lossy(&body).into_owned())),
    }
}

/// An error with its causes: the client's own words say little.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// Where other processes reach this one's admin address: as configured, else as it listens, and when that is every
/// interface, the one that leads to Kafka.
#[must_use]
pub fn address(config: &Config, listens: SocketAddr) -> String {
    if !config.admin.advertise.is_empty() {
        return config.admin.advertise.clone();
    }
    if !listens.ip().is_unspecified() {
        return listens.to_string();
    }
    let ip = towards(&config.broker.kafka.bootstrap).unwrap_or_else(|| {
        tracing::warn!(
            "no way to Kafka is known yet: set admin.advertise to where other processes reach this one"
        );
        IpAddr::from([127, 0, 0, 1])
    });
    SocketAddr::new(ip, listens.port()).to_string()
}

/// This machine's address as the first of these brokers sees it; nothing is sent.
fn towards(bootstrap: &str) -> Option<IpAddr> {
    let broker = bootstrap.split(',').next()?.trim();
    let broker = broker.to_socket_addrs().ok()?.next()?;
    let any: SocketAddr = match broker {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(broker).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_names_an_address_at_which_others_reach_it() {
        let check = |advertise: &str, listens: &str, expected: &str| {
            let mut config = Config::default();
            config.admin.advertise = advertise.to_owned();
            config.broker.kafka.bootstrap = "127.0.0.1:9092,127.0.0.2:9092".to_owned();
            let listens = listens.parse().expect("an address");
            assert_eq!(address(&config, listens), expected);
        };
        check("", "10.0.0.7:8081", "10.0.0.7:8081");
        check("", "0.0.0.0:8081", "127.0.0.1:8081");
        check("api-0.api:8081", "0.0.0.0:8081", "api-0.api:8081");
    }
}
