//! A message of `requests` as the processor takes it: what to decide, what to read first, what to pass over.
//! In: a message. Out: a [`Request`], a [`Replay`] that names one, or the reason why neither can be read. A newer
//! metadata version is an error that stops the reader. Looks at no body.

use bytes::Bytes;
use tidegate_broker::Message;
use tidegate_schemas::{
    EnvironmentId, Headers, MetaError, Metadata, Pointer, Reason, RequestId, RequestKind, RequestMeta, Topic,
    UnixMillis,
};
use uuid::Uuid;

use crate::event::Refused;

/// A request to decide.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Where it lies.
    pub pointer: Pointer,
    /// Its metadata.
    pub meta: RequestMeta,
    /// Its body, byte for byte.
    pub body: Bytes,
    /// Which of its events are asked for.
    pub asked: Asked,
    /// The verdict that reading it gave already.
    pub given: Option<Refused>,
}

/// Why a request is decided, and which of its events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The one event; `None`: all of them.
    pub position: Option<u32>,
    /// Whether a `replay` command asks.
    pub replay: bool,
    /// When it was set aside first, if it was.
    pub aside_since: Option<UnixMillis>,
    /// Whose turn it is, when it was set aside because of a rate.
    pub in_turn: Option<InTurn>,
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InTurn {
    /// The connection; none for events without one.
    pub connection: Option<Box<str>>,
}

impl Asked {
    /// Whether the event at `position` is asked for.
    pub fn covers(&self, position: u32) -> bool {
        self.position.is_none_or(|asked| asked == position)
    }

    /// Whether the event is asked for as this connection's.
    pub fn covers_connection(&self, connection: &str) -> bool {
        let in_turn = self.in_turn.as_ref();
        let wanted = in_turn.and_then(|turn| turn.connection.as_deref());
        wanted.is_none_or(|wanted| wanted == connection)
    }
}

/// A `replay` command.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    /// The command itself, for the row of one that asks for what is gone.
    pub command: Request,
    /// The request it asks for.
    pub pointer: Pointer,
    /// The event; `None`: all of them.
    pub position: Option<u32>,
}

/// What a message turns out to be.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A request to decide.
    Request(Request),
    /// A request to read again first.
    Replay(Replay),
    /// What ingest refused or answered itself: nothing to decide.
    PassOver,
}

impl Request {
    /// A request of which nothing is left but where it lay, found out at `now`.
    pub fn gone(pointer: Pointer, now: UnixMillis) -> Self {
        let meta = salvage(&Message {
            topic: Topic::Requests,
            partition: pointer.partition,
            offset: pointer.offset,
            timestamp: now,
            key: Bytes::new(),
            meta: Bytes::new(),
            value: Bytes::new(),
        });
        let detail = "the request was set aside and is gone from the topic";
        let mut request = request(pointer, meta, Bytes::new());
        request.given = Some(Refused::new(Reason::RequestGone, detail));
        request
    }

    /// The same with the verdict that it cannot be decoded.
    fn undecodable(mut self, detail: String) -> Self {
        self.given = Some(Refused::new(Reason::Undecodable, detail));
        self
    }
}

impl Replay {
    /// The request asked for, out of the message found at the pointer.
    ///
    /// # Errors
    /// Written by a newer Tidegate: the reader stops.
    pub fn resolve(self, found: Option<Message>) -> Result<Request, MetaError> {
        let Replay {
            mut command,
            position,
            ..
        } = self;
        match found.map(take).transpose()? {
            Some(Taken::Request(mut request)) => {
                request.asked = Asked {
                    position,
                    replay: true,
                    ..Asked::default()
                };
                Ok(request)
            }
            None => {
                let detail = "the request that the replay asks for is gone from the topic";
                command.given = Some(Refused::new(Reason::RequestGone, detail));
                Ok(command)
            }
            Some(Taken::Replay(_) | Taken::PassOver) => {
                Ok(command.undecodable("the replay command names a message that holds no events".to_owned()))
            }
        }
    }
}

/// Reads a message's metadata.
///
/// # Errors
/// Written by a newer Tidegate: the reader stops.
pub(crate) fn take(message: Message) -> Result<Taken, MetaError> {
    let pointer = Pointer {
        partition: message.partition,
        offset: message.offset,
    };
    let meta = match RequestMeta::decode(&message.meta) {
        Ok(meta) => meta,
        Err(error) if error.stops_reader() => return Err(error),
        Err(error) => {
            let request = request(pointer, salvage(&message), Bytes::new());
            return Ok(Taken::Request(request.undecodable(error.to_string())));
        }
    };
    Ok(match (meta.kind, meta.replay) {
        (RequestKind::Received, _) => Taken::Request(request(pointer, meta, message.value)),
        (RequestKind::Answered | RequestKind::Refused, _) => Taken::PassOver,
        (RequestKind::Replay, Some(of)) if of.pointer.partition == pointer.partition => {
            Taken::Replay(Replay {
                pointer: of.pointer,
                position: of.position,
                command: request(pointer, meta, Bytes::new()),
            })
        }
        (RequestKind::Replay, _) => {
            let command = request(pointer, meta, Bytes::new());
            Taken::Request(
                command.undecodable("the replay command names no request of its partition".to_owned()),
            )
        }
    })
}

fn request(pointer: Pointer, meta: RequestMeta, body: Bytes) -> Request {
    Request {
        pointer,
        meta,
        body,
        asked: Asked::default(),
        given: None,
    }
}

/// What can still be told of a request whose metadata cannot be decoded. An id that is lost is made of the pointer, so
/// that deciding twice yields it twice.
fn salvage(message: &Message) -> RequestMeta {
    let json: serde_json::Value = serde_json::from_slice(&message.meta).unwrap_or_default();
    let text = |name: &str| {
        json.get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    let made = (u128::from(message.partition) << 64) | u128::from(message.offset);
    let received_at = json.get("received_at").and_then(serde_json::Value::as_u64);
    RequestMeta {
        v: tidegate_schemas::WRITE_VERSION,
        kind: RequestKind::Received,
        id: text("id")
            .parse()
            .unwrap_or(RequestId(uuid_of(message.timestamp, made))),
        environment: text("environment").parse().unwrap_or(EnvironmentId(Uuid::nil())),
        integration: text("integration").to_owned(),
        provider: text("provider").to_owned(),
        connection: None,
        method: String::new(),
        path: String::new(),
        query: String::new(),
        url: String::new(),
        headers: Headers::default(),
        received_at: received_at.map_or(message.timestamp, |at| UnixMillis(at).min(UnixMillis::MAX)),
        remote: None,
        body_bytes: message.value.len() as u64,
        status: 0,
        refusal: None,
        detail: String::new(),
        spilled: false,
        replay: None,
    }
}

/// A UUIDv8 of a time and 74 bits of one's own.
fn uuid_of(time: UnixMillis, own: u128) -> Uuid {
    let bits = (u128::from(time.0) << 80) | (own & ((1 << 74) - 1));
    uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::Outcome;

    use super::*;

    fn message(meta: &str) -> Message {
        Message {
            topic: Topic::Requests,
            partition: 3,
            offset: 17,
            timestamp: UnixMillis(1_700_000_000_000),
            key: Bytes::new(),
            meta: Bytes::copy_from_slice(meta.as_bytes()),
            value: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn an_undecodable_message_has_the_same_id_every_time() {
        let id = |meta: &str| match take(message(meta)) {
            Ok(Taken::Request(request)) => {
                let given = request.given.expect("it cannot be decoded");
                assert_eq!(
                    (given.outcome, given.reason),
                    (Outcome::Failed, Reason::Undecodable)
                );
                request.meta.id
            }
            other => panic!("{meta} is taken as {other:?}"),
        };
        assert_eq!(id("nonsense"), id("{"));
        assert_eq!(id("nonsense").0.get_version_num(), 8);
        let known = r#"{"v":1,"kind":"received","id":"0192f0c1-2b3c-7d4e-8f90-123456789abc"}"#;
        assert_eq!(id(known).to_string(), "0192f0c1-2b3c-7d4e-8f90-123456789abc");
    }

    #[test]
    fn a_newer_version_stops_the_reader() {
        let error = take(message(r#"{"v":2,"shape":"unknown"}"#)).expect_err("newer");
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}
