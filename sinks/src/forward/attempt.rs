//! One HTTP try of a delivery: the request is made, sent, and its end judged. In: an event and a destination. Out: an
//! [`Attempted`]. Decides neither when the next try is nor what is journalled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tidegate_egress::{Answer, Error, Limits};
use tidegate_schemas::{Reason, UnixMillis};

use super::Shared;
use super::destination::{Destination, Numbered, mode_for};
use super::event::Event;
use super::gate::{Ending, Permit};
use super::schedule::retry_after;

/// An attempt that has ended.
pub(crate) struct Attempted {
    pub(crate) event: Arc<Event>,
    pub(crate) destination: Arc<Destination>,
    /// Which try it was, from 1.
    pub(crate) number: u32,
    pub(crate) reason: Reason,
    pub(crate) http_status: u16,
    pub(crate) error: String,
    pub(crate) attempted_at: UnixMillis,
    pub(crate) duration: Duration,
    /// The first bytes of the answer's body, as text.
    pub(crate) excerpt: String,
    pub(crate) retry_after: Option<Duration>,
}

/// Makes the `number`-th attempt to deliver `event`.
pub(crate) async fn attempt(
    shared: &Shared,
    event: Arc<Event>,
    destination: Arc<Destination>,
    (number, permit): (u32, Permit),
) -> Attempted {
    let (now, began) = (shared.clock.now(), Instant::now());
    let mode = mode_for(&shared.registry, &destination.endpoint, &event.meta);
    let numbered = Numbered {
        number,
        now,
        mode,
        legacy_headers: shared.config.legacy_headers,
    };
    let mut attempted = Attempted {
        event,
        destination,
        number,
        reason: Reason::Ok,
        http_status: 0,
        error: String::new(),
        attempted_at: now,
        duration: Duration::ZERO,
        excerpt: String::new(),
        retry_after: None,
    };
    match attempted.destination.request(&attempted.event, &numbered) {
        Ok(request) => {
            let limits = Limits {
                timeout: attempted
                    .destination
                    .timeout(Duration::from_millis(shared.config.timeout_ms)),
                answer_bytes_max: shared.config.answer_bytes_max,
            };
            match shared.client.send(request, limits).await {
                Ok(answer) => attempted.judge(&answer, shared.config.excerpt_bytes, now),
                Err(error) => (attempted.reason, attempted.error) = (reason_of(&error), error.to_string()),
            }
        }
        Err(unready) => (attempted.reason, attempted.error) = (unready.reason, unready.error),
    }
    attempted.duration = began.elapsed();
    permit.end(attempted.ending());
    attempted
}

impl Attempted {
    fn judge(&mut self, answer: &Answer, excerpt_bytes: usize, now: UnixMillis) {
        self.http_status = answer.status.as_u16();
        self.reason = match answer.status {
            status if status.is_success() => Reason::Ok,
            status if status.is_redirection() => Reason::Redirect,
            StatusCode::GONE => Reason::Gone,
            _ => Reason::Status,
        };
        let excerpt = answer.body.get(..excerpt_bytes).unwrap_or(&answer.body);
        self.excerpt = String::from_utf8_lossy(excerpt).into_owned();
        if self.reason != Reason::Ok {
            self.error = format!("the endpoint answered {}", answer.status);
            let header = answer.headers.get(http::header::RETRY_AFTER);
            self.retry_after = header.and_then(|value| retry_after(value.to_str().ok()?, now));
        }
    }

    fn ending(&self) -> Ending {
        match (self.reason, self.http_status) {
            (Reason::Ok, _) => Ending::Success,
            (Reason::Timeout | Reason::Connect | Reason::Broken, _) | (_, 408 | 425 | 429 | 500..) => {
                Ending::Overload
            }
            _ => Ending::Failure,
        }
    }
}

fn reason_of(error: &Error) -> Reason {
    match error {
        Error::UrlUnusable(_) => Reason::UrlUnusable,
        Error::Dns { .. } => Reason::Dns,
        Error::AddressRefused(_) => Reason::AddressRefused,
        Error::Connect { .. } => Reason::Connect,
        Error::Tls { .. } => Reason::Tls,
        Error::Timeout { .. } => Reason::Timeout,
        // The last two belong to fetched documents and do not come from an exchange.
        Error::Broken { .. } | Error::TooLarge { .. } | Error::Status { .. } => Reason::Broken,
    }
}
