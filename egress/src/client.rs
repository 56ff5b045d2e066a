//! The client: requests to targets and small documents from them, each within its limits. In: a request whose URI is
//! a [`Target`]'s. Out: the answer as received, redirects included, or a typed [`Error`]. Follows nothing, retries
//! nothing (but a request that a closing kept-alive connection had not begun to take).

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;

use crate::dial::{Dialler, TcpDialler};
use crate::resolve::Resolver;
use crate::{Config, ConfigError, Error, Rule, Target, UrlError};

/// What one exchange may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time for all of it: connecting, sending, the whole answer.
    pub timeout: Duration,
    /// The bytes of the answer's body that are read.
    pub answer_bytes_max: usize,
}

/// An answer, as much of its body as the limit allows.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most as long as the limit.
    pub body: Bytes,
    /// Whether the body went on beyond the limit; the rest was not read and the connection is given up.
    pub cut: bool,
}

/// HTTP out. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Dialler, Full<Bytes>>,
    dialler: TcpDialler,
    rule: Arc<Rule>,
    connect_timeout: Duration,
}

impl Client {
    /// A client under `config`.
    ///
    /// # Errors
    /// [`ConfigError`] when the further root certificates cannot be read.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let rule = Arc::new(Rule {
            allow: config.allow.clone(),
            https_only: config.https_only,
        });
        let dialler = TcpDialler {
            rule: rule.clone(),
            resolver: Resolver::new(config.lookups_max),
            slots: Arc::new(Semaphore::new(
                config.connections_max.clamp(1, Semaphore::MAX_PERMITS),
            )),
        };
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialler.clone());
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(config.idle_timeout_ms))
            .pool_max_idle_per_host(config.idle_connections_per_host_max)
            .build(Dialler {
                https,
                timeout: connect_timeout,
            });
        Ok(Self {
            http,
            dialler,
            rule,
            connect_timeout,
        })
    }

    /// Makes a target of `text`; see [`Rule::check_url`].
    ///
    /// # Errors
    /// [`UrlError`] when the text is no URL that may be called.
    pub fn check_url(&self, text: &str) -> Result<Target, UrlError> {
        self.rule.check_url(text)
    }

    /// Resolves the target's name and holds its addresses against the rule, without dialling.
    ///
    /// # Errors
    /// [`Error::Dns`], [`Error::AddressRefused`] or [`Error::Timeout`].
    pub async fn check_name(&self, target: &Target) -> Result<(), Error> {
        let host = target.uri().host().unwrap_or_default();
        let addresses = self.dialler.addresses(host, 0);
        match tokio::time::timeout(self.connect_timeout, addresses).await {
            Ok(found) => found.map(drop),
            Err(_) => Err(Error::Timeout {
                what: "answer from dns",
                after: self.connect_timeout,
            }),
        }
    }

    /// Sends one request and reads the answer within `limits`. The request's URI must be a [`Target`]'s.
    ///
    /// # Errors
    /// [`Error`] when there was no whole answer in time. An answer cut at the limit is none.
    pub async fn send(&self, request: Request<Full<Bytes>>, limits: Limits) -> Result<Answer, Error> {
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| typed(&error))?;
            read(response, limits.answer_bytes_max).await
        };
        match tokio::time::timeout(limits.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout {
                what: "whole answer",
                after: limits.timeout,
            }),
        }
    }

    /// Gets a small document: status 200, not larger than the limit.
    ///
    /// # Errors
    /// [`Error`], also for another status ([`Error::Status`]) and a larger body ([`Error::TooLarge`]).
    pub async fn fetch(&self, target: &Target, limits: Limits) -> Result<Bytes, Error> {
        let request = Request::get(target.uri())
            .header(http::header::ACCEPT, "application/json, */*")
            .body(Full::default())
            .expect("a target's URI and a literal header make a request");
        let answer = self.send(request, limits).await?;
        match answer {
            Answer { status, .. } if status != StatusCode::OK => Err(Error::Status {
                status: status.as_u16(),
            }),
            Answer { cut: true, .. } => Err(Error::TooLarge {
                limit_bytes: limits.answer_bytes_max,
            }),
            Answer { body, .. } => Ok(body),
        }
    }
}

/// TLS with the public roots that are built in and the configured ones.
fn tls(config: &Config) -> Result<rustls::ClientConfig, ConfigError> {
    let unusable = |reason: String| ConfigError::Roots { reason };
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(config.roots_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, Error> {
    let (head, mut body) = response.into_parts();
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut cut = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::Broken {
            reason: chain(&error),
        })?;
        let Ok(mut chunk) = frame.into_data() else {
            continue;
        };
        let room = bytes_max - first.len() - rest.len();
        cut = chunk.len() > room;
        chunk.truncate(room);
        // Nearly every answer is one chunk, which is passed on without a copy.
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
        if cut {
            break;
        }
    }
    let body = if rest.is_empty() {
        first
    } else {
        [first.as_ref(), rest.as_ref()].concat().into()
    };
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
        cut,
    })
}

/// The dialler's own error if it stands in the chain; else the connection broke.
fn typed(error: &legacy::Error) -> Error {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return ours.clone();
        }
        source = inner.source();
    }
    Error::Broken { reason: chain(error) }
}

/// The error and what it stems from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
