//! The way of a request through ingest: find its integration, hold it against the limits, read its body, answer a
//! handshake, refuse what is plainly forged, append the rest, and acknowledge it when it is durable. In: hyper's
//! request. Out: the reply. The order of these steps is the order of [`Door::receive`]; each has its place elsewhere.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use tidegate_broker::Record;
use tidegate_providers::Definition;
use tidegate_registry::Integration;
use tidegate_schemas::{Outcome, Reason, RequestKind, RequestMetaRef, Topic, UnixMillis};

use crate::answer;
use crate::arrival::Arrival;
use crate::body::{self, Body};
use crate::config::Config;
use crate::inflight::Inflight;
use crate::judge::{At, Early, Judged, judge};
use crate::metrics::{self, Counters};
use crate::rate::{Rate, Rates, Take};
use crate::refused::{Place, Refused};
use crate::reply::{self, Refusal, Reply};
use crate::route::{self, Target};
use crate::server::Context;

/// What all connections of the process share.
pub struct Door {
    pub(crate) context: Context,
    inflight: Inflight,
    rates: Rates,
    refused: Refused,
    counters: Counters,
}

/// One connection's way in. Its requests count references to it alone: a counter that all threads change costs more.
pub struct Sender {
    /// What it shares with the others.
    pub door: Arc<Door>,
    /// The address that it comes from.
    remote: Arc<str>,
}

impl Sender {
    /// The way in of a connection from `remote`.
    pub fn new(door: Arc<Door>, remote: SocketAddr) -> Arc<Self> {
        let remote = remote.ip().to_string().into();
        Arc::new(Self { door, remote })
    }

    /// Answers one request.
    pub fn receive(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Reply, Infallible>> + Send + use<> {
        let sender = self.clone();
        async move { Ok(sender.door.receive(request, &sender.remote).await) }
    }
}

/// A refusal, and the integration that the audit finds it under, once it is known.
struct Refusing {
    refusal: Refusal,
    rate: Option<(Rate, Take)>,
    body: Bytes,
}

impl From<Refusal> for Refusing {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            rate: None,
            body: Bytes::new(),
        }
    }
}

impl Door {
    /// What one process needs to serve.
    pub fn new(context: Context) -> Self {
        let inflight = Inflight::new(context.config.inflight_bytes_max);
        let rates = Rates::new(context.config.rates_max);
        let refused = Refused::new(context.broker.clone(), &context.config);
        Self {
            context,
            inflight,
            rates,
            refused,
            counters: Counters::new(),
        }
    }

    /// The limits.
    pub fn config(&self) -> &Config {
        &self.context.config
    }

    async fn receive(&self, request: Request<Incoming>, remote: &Arc<str>) -> Reply {
        let received_at = UnixMillis::from(SystemTime::now());
        let (head, incoming) = request.into_parts();
        let arrival = Arrival::new(head, remote.clone(), received_at);
        let retry_after = self.config().retry_after_seconds;
        let (target, integration, definition) = match self.locate(&arrival).await {
            Ok(found) => found,
            Err(refusal) => {
                metrics::answered(refusal.reason);
                return reply::refuse(arrival.id, &refusal, retry_after);
            }
        };
        let at = At {
            target: &target,
            integration: &integration,
            definition: &definition,
        };
        match self.admit(&arrival, incoming, at).await {
            Ok(reply) => reply,
            Err(refusing) => {
                let Refusing { refusal, rate, body } = *refusing;
                metrics::answered(refusal.reason);
                let status = refusal.status().as_u16();
                let meta = || {
                    let mut meta = arrival.meta(at, RequestKind::Refused, status);
                    meta.refusal = Some(refusal.reason);
                    meta.detail = &refusal.message;
                    meta.body_bytes = (body.len() as u64).max(arrival.announced_bytes());
                    meta.encode()
                };
                self.refused
                    .record(at.place(None), (&integration.key, meta), &body);
                let mut reply = reply::refuse(arrival.id, &refusal, retry_after);
                if let Some((rate, take)) = rate {
                    rate_headers(&mut reply, rate, take);
                }
                reply
            }
        }
    }

    /// The integration that the URL names, asked for again at the registry's end before it is called unknown.
    async fn locate(
        &self,
        arrival: &Arrival,
    ) -> Result<(Target, Arc<Integration>, Arc<Definition>), Refusal> {
        let target = route::target(arrival.path(), arrival.query()).map_err(unknown)?;
        let integration = match self.integration(&target) {
            Ok(found) => found,
            // Apart, as all that is rare: a request's future is moved about, and this would make it larger.
            Err(_) => Box::pin(self.integration_at_end(&target)).await?,
        };
        let definition = self.context.catalogue.get(&integration.provider).ok_or_else(|| {
            let message = format!(
                "the definition of provider `{}` is not loaded here",
                integration.provider
            );
            Refusal::new(Reason::NotReady, message)
        })?;
        Ok((target, integration, definition))
    }

    async fn integration_at_end(&self, target: &Target) -> Result<Arc<Integration>, Refusal> {
        self.read_to_end().await?;
        self.integration(target).map_err(unknown)
    }

    fn integration(&self, target: &Target) -> Result<Arc<Integration>, Reason> {
        let tables = self.context.registry.read();
        match tables.integration(&target.environment, &target.integration) {
            Some(found) if found.flags.enabled => Ok(found.clone()),
            Some(_) => Err(Reason::IntegrationOff),
            None if tables.environment(&target.environment).is_none() => Err(Reason::UnknownEnvironment),
            None => Err(Reason::UnknownIntegration),
        }
    }

    /// Before any verdict that a write could turn.
    async fn read_to_end(&self) -> Result<(), Refusal> {
        if self.context.registry.runs_on_copy() {
            let message = "the registry cannot be read just now, its copy does not know this, try again";
            return Err(Refusal::new(Reason::NotReady, message));
        }
        self.context.registry.read_to_end().await.map_err(|error| {
            tracing::warn!(%error, "the registry's end was not read");
            Refusal::new(
                Reason::NotReady,
                "the registry cannot be read just now, try again",
            )
        })
    }

    async fn admit(&self, arrival: &Arrival, incoming: Incoming, at: At<'_>) -> Result<Reply, Box<Refusing>> {
        self.check_limits(arrival, at)?;
        let limits = body::Limits {
            bytes_max: self.config().body_bytes_max,
            timeout: self.config().body_timeout(),
        };
        let Body { bytes, share } = body::read(incoming, limits, &self.inflight)
            .await
            .map_err(|reason| self.body_refusal(reason))?;
        let reply = self.decide(arrival, &bytes, at).await.map_err(|refusal| {
            Box::new(Refusing {
                body: bytes.clone(),
                ..Refusing::from(refusal)
            })
        })?;
        drop(share);
        Ok(reply)
    }

    fn check_limits(&self, arrival: &Arrival, at: At<'_>) -> Result<(), Box<Refusing>> {
        let config = self.config();
        let (count, bytes) = (arrival.headers.0.len(), arrival.header_bytes());
        if count > config.header_count_max || bytes > config.header_bytes_max {
            let message = format!(
                "{count} headers of {bytes} bytes: at most {} (ingest.header_count_max) of {} bytes (ingest.header_bytes_max)",
                config.header_count_max, config.header_bytes_max
            );
            return Err(Box::new(Refusal::new(Reason::HeadersTooLarge, message).into()));
        }
        if let Some(limit) = at.integration.rate_limit {
            let rate = Rate {
                per_second: f64::from(limit.per_second),
                burst: f64::from(limit.burst),
            };
            let take = self.rates.take(at.integration.id, rate, Instant::now());
            if !take.granted {
                let message = format!(
                    "more than {} requests a second (rate_limit of the integration)",
                    limit.per_second
                );
                let refusal = Refusal::new(Reason::RateLimited, message);
                return Err(Box::new(Refusing {
                    rate: Some((rate, take)),
                    ..Refusing::from(refusal)
                }));
            }
        }
        if !self.context.broker.has_space() {
            let limit = self.context.broker.space_limit();
            return Err(Box::new(
                no_space(&format!(
                    "what waits here has reached its limit ({limit}), try again"
                ))
                .into(),
            ));
        }
        Ok(())
    }

    fn body_refusal(&self, reason: Reason) -> Box<Refusing> {
        let config = self.config();
        let message = match reason {
            Reason::BodyTooLarge => {
                format!(
                    "the body is larger than {} bytes (ingest.body_bytes_max)",
                    config.body_bytes_max
                )
            }
            Reason::BodyTimeout => {
                format!(
                    "the body did not arrive within {} ms (ingest.body_timeout_ms)",
                    config.body_timeout_ms
                )
            }
            Reason::Overloaded => format!(
                "more than {} bytes of bodies are in flight (ingest.inflight_bytes_max), try again",
                config.inflight_bytes_max
            ),
            _ => "the body broke off".to_owned(),
        };
        Box::new(Refusal::new(reason, message).into())
    }

    /// Answers a handshake, or checks the request and appends it.
    async fn decide(&self, arrival: &Arrival, body: &Bytes, at: At<'_>) -> Result<Reply, Refusal> {
        let url = arrival.url(&self.context.public_url, at.integration);
        let judged = match judge(self, arrival.raw(body, &url, at.integration), (at, Early::Yes)) {
            Err(refusal) if refusal.reason.outcome() == Some(Outcome::Rejected) => {
                Box::pin(self.judge_again(arrival, (body, &url), at)).await?
            }
            judged => judged?,
        };
        match judged {
            Judged::Handshake(Ok(answer)) => {
                let reply = Box::pin(answer::carry_out(self, arrival.id, answer, at)).await?;
                self.record_answered((arrival, body), at, (Reason::Handshake, reply.status()));
                Ok(reply)
            }
            Judged::Handshake(Err(refused)) => {
                let reply = answer::to_http(arrival.id, refused.reply);
                self.record_answered((arrival, body), at, (refused.refusal.reason, reply.status()));
                Ok(reply)
            }
            Judged::Genuine { reply, place } => {
                let status = reply.as_ref().map_or(200, |reply| reply.status);
                let mut meta = arrival.meta(at, RequestKind::Received, status);
                meta.url = &url;
                self.append(meta, body, place).await?;
                Ok(reply.map_or_else(
                    || reply::success(arrival.id),
                    |own| answer::to_http(arrival.id, own),
                ))
            }
        }
    }

    /// Judges a request anew at the registry's end, so that a secret changed a moment ago costs no genuine request.
    /// While that end cannot be read nobody is called a forger: what can be placed is accepted, the processor decides.
    async fn judge_again(
        &self,
        arrival: &Arrival,
        (body, url): (&Bytes, &str),
        at: At<'_>,
    ) -> Result<Judged, Refusal> {
        if let Err(unread) = self.read_to_end().await {
            return if at.definition.early_check_required() {
                Err(unread)
            } else {
                judge(self, arrival.raw(body, url, at.integration), (at, Early::No))
            };
        }
        let fresh = self.integration(at.target).map_err(unknown)?;
        let at = At {
            integration: &fresh,
            ..at
        };
        judge(self, arrival.raw(body, url, &fresh), (at, Early::Yes))
    }

    /// Appends a request, and returns when it is durable.
    async fn append(&self, mut meta: RequestMetaRef<'_>, body: &Bytes, place: Place) -> Result<(), Refusal> {
        meta.body_bytes = body.len() as u64;
        let record = Record {
            topic: Topic::Requests,
            partition: place.partition,
            key: Bytes::copy_from_slice(meta.integration.as_bytes()),
            meta: Bytes::from(meta.encode()),
            value: body.clone(),
        };
        let began = Instant::now();
        self.context.broker.append(vec![record]).await.map_err(|error| {
            tracing::debug!(%error, "a request was not appended");
            no_space(&error.to_string())
        })?;
        self.counters
            .accepted(body.len(), self.inflight.used(), began.elapsed());
        Ok(())
    }

    /// Appends, for the audit alone, a handshake that was answered or refused here.
    fn record_answered(
        &self,
        (arrival, body): (&Arrival, &Bytes),
        at: At<'_>,
        (reason, status): (Reason, StatusCode),
    ) {
        metrics::answered(reason);
        let kind = match reason {
            Reason::Handshake => RequestKind::Answered,
            _ => RequestKind::Refused,
        };
        let meta = || {
            let mut meta = arrival.meta(at, kind, status.as_u16());
            meta.refusal = Some(reason);
            meta.body_bytes = body.len() as u64;
            meta.encode()
        };
        self.refused
            .record(at.place(None), (&at.integration.key, meta), body);
    }
}

fn unknown(reason: Reason) -> Refusal {
    let message = match reason {
        Reason::UnknownEnvironment => "no environment has this id",
        Reason::UnknownIntegration => "the environment has no integration of this key",
        Reason::IntegrationOff => "the integration is switched off",
        _ => {
            "webhooks come to /webhook/{environment}/{integration} or /webhook/{environment}/{integration}/{connection}"
        }
    };
    Refusal::new(reason, message)
}

fn no_space(message: &str) -> Refusal {
    Refusal::new(Reason::NoSpace, message)
}

/// The `X-RateLimit-*` headers and `Retry-After` of a 429.
fn rate_headers(reply: &mut Reply, rate: Rate, take: Take) {
    let seconds = take.retry_after.as_secs() + u64::from(take.retry_after.subsec_nanos() > 0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a burst is a whole u32"
    )]
    let limit = rate.burst as u64;
    let headers = reply.headers_mut();
    headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    headers.insert("x-ratelimit-limit", HeaderValue::from(limit));
    headers.insert("x-ratelimit-remaining", HeaderValue::from(take.remaining));
    headers.insert("x-ratelimit-reset", HeaderValue::from(seconds.max(1)));
}
