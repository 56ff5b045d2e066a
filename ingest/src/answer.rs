//! Handshakes, answered at once: verified first where the definition says so, a delivered secret stored durably before
//! the answer, a confirming call made after it. In: the parsed request. Out: a reply, or nothing when it is no
//! handshake. What a handshake is, and what it is answered, stands in the definition.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tidegate_egress::Limits;
use tidegate_providers::{Answer, Awaiting, Call, HandshakeRefusal, ParsedRequest, SecretAt, Store};
use tidegate_schemas::{Reason, RequestId};

use crate::accept::Door;
use crate::arrival::Secrets;
use crate::judge::{At, verify};
use crate::reply::{self, Refusal, Reply};

/// How long a confirming call may take, and how much of its answer is read.
const CALL: Limits = Limits {
    timeout: std::time::Duration::from_secs(10),
    answer_bytes_max: 64 << 10,
};

/// What the request is answered, if it is a handshake; the inner error is the definition's own refusal.
///
/// # Errors
/// It must be verified first, and is not.
pub fn handshake(
    door: &Door,
    parsed: &ParsedRequest<'_>,
    at: At<'_>,
) -> Result<Option<Result<Answer, HandshakeRefusal>>, Refusal> {
    let Some(handshake) = at.definition.handshake(parsed, awaiting(door, at)) else {
        return Ok(None);
    };
    let verified = if handshake.needs_verified() {
        verify(at.definition, parsed, at.integration)?
    } else {
        None
    };
    let secrets = Secrets::of(at.integration, parsed.raw.received_at);
    Ok(Some(
        handshake.answer(verified.as_ref(), secrets.credentials(at.integration)),
    ))
}

/// Does what a handshake asks for, and answers it.
///
/// # Errors
/// The delivered secret was not stored.
pub async fn carry_out(door: &Door, id: RequestId, answer: Answer, at: At<'_>) -> Result<Reply, Refusal> {
    if let Some(store) = answer.store {
        keep(door, at, store).await?;
    }
    if let Some(call) = answer.call {
        confirm(door, call);
    }
    Ok(to_http(id, answer.reply))
}

fn awaiting(door: &Door, at: At<'_>) -> Awaiting {
    let connection = at.target.connection.as_deref().is_some_and(|id| {
        let tables = door.context.registry.read();
        tables
            .connection(&at.integration.id, id)
            .is_some_and(|connection| connection.awaits_secret())
    });
    Awaiting {
        integration: at.integration.awaits_secret,
        connection,
    }
}

async fn keep(door: &Door, at: At<'_>, store: Store) -> Result<(), Refusal> {
    let connection = match store.at {
        SecretAt::Integration => None,
        SecretAt::Connection => at.target.connection.clone(),
    };
    if (door.context.store_secret)(at.integration.id, connection, store.secret).await {
        return Ok(());
    }
    let message =
        "the delivered secret was not stored: none is awaited any more, or the registry cannot be written";
    Err(Refusal::new(Reason::HandshakeRefused, message))
}

fn confirm(door: &Door, call: Call) {
    let egress = door.context.egress.clone();
    tokio::spawn(async move {
        let outcome = match egress.check_url(&call.url) {
            Ok(target) => egress
                .fetch(&target, CALL)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a handshake's confirming call failed; the provider will ask again");
        }
    });
}

/// A definition's reply as an HTTP response.
pub fn to_http(id: RequestId, own: tidegate_providers::Reply) -> Reply {
    let status = StatusCode::from_u16(own.status).unwrap_or(StatusCode::OK);
    let mut reply = reply::build(id, status, None, Bytes::from(own.body));
    for (name, value) in own.headers {
        let header = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        );
        if let (Ok(name), Ok(value)) = header {
            reply.headers_mut().append(name, value);
        }
    }
    reply
}
