//! Reading a body within the limits: its size, the bytes in flight, its time. In: hyper's incoming body and its
//! announced length. Out: the bytes as received with their share of the budget, or the reason for a refusal. A body
//! too large is refused before it is read whenever its length is announced.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tidegate_schemas::Reason;

use crate::inflight::{Inflight, Share};

/// What bounds a body.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Its size in bytes.
    pub bytes_max: usize,
    /// The time it may take to arrive.
    pub timeout: Duration,
}

/// A body that was read whole, holding its share of the bytes in flight.
pub struct Body {
    /// The bytes as received.
    pub bytes: Bytes,
    /// Its share of the bytes in flight; given back when dropped.
    pub share: Share,
}

/// Reads the whole body.
///
/// # Errors
/// [`Reason::BodyTooLarge`], [`Reason::Overloaded`], [`Reason::BodyTimeout`], or [`Reason::BadRequest`] when it broke off.
pub async fn read(mut incoming: Incoming, limits: Limits, budget: &Inflight) -> Result<Body, Reason> {
    let hint = incoming.size_hint();
    let announced = hint.exact().unwrap_or_else(|| hint.lower());
    if announced > limits.bytes_max as u64 {
        return Err(Reason::BodyTooLarge);
    }
    let announced = usize::try_from(announced).map_err(|_| Reason::BodyTooLarge)?;
    let mut share = budget.take(announced).ok_or(Reason::Overloaded)?;
    if incoming.is_end_stream() {
        return Ok(Body {
            bytes: Bytes::new(),
            share,
        });
    }
    match tokio::time::timeout(limits.timeout, collect(&mut incoming, limits, &mut share)).await {
        Ok(read) => read.map(|bytes| Body { bytes, share }),
        Err(_) => Err(Reason::BodyTimeout),
    }
}

/// Joins the frames; a body of one frame is not copied.
async fn collect(incoming: &mut Incoming, limits: Limits, share: &mut Share) -> Result<Bytes, Reason> {
    let exact = incoming
        .size_hint()
        .exact()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let mut reserved = exact.unwrap_or_default();
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut total = 0usize;
    while let Some(frame) = incoming.frame().await {
        let Ok(chunk) = frame.map_err(|_| Reason::BadRequest)?.into_data() else {
            continue;
        };
        total = total.saturating_add(chunk.len());
        if total > limits.bytes_max {
            return Err(Reason::BodyTooLarge);
        }
        if total > reserved {
            let more = (total - reserved).max(64 << 10).min(limits.bytes_max - reserved);
            if !share.grow(more) {
                return Err(Reason::Overloaded);
            }
            reserved += more;
        }
        if total == chunk.len() {
            first = chunk;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(exact.unwrap_or(total * 2));
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&chunk);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
