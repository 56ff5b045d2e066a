//! A way of finding events that needs no definition: each line of the body is an event, the words of the line are the
//! connections it reaches. `panic` panics, `panic` as a connection panics later, `key URL` waits for a key.

use serde_json::value::to_raw_value;
use tidegate_providers::{KeyKind, KeyLookup, KeyRequest};
use tidegate_registry::Integration;
use tidegate_schemas::{PayloadKind, Proof, Reason};

use crate::event::{Event, Events, Finding, ObjectFacts, Payload, Refused, Whose};
use crate::examine::Context;
use crate::request::Request;

/// Finds events line by line.
pub(crate) fn find_lines(request: &Request, _: &Integration, context: &Context<'_>) -> Finding {
    let text = std::str::from_utf8(&request.body).expect("a test's body is text");
    assert!(text != "panic", "the body says panic");
    if let Some(url) = text.strip_prefix("key ") {
        return find_by_key(request, url, context);
    }
    let mut start = 0;
    let mut events = Vec::new();
    for (position, line) in (0..).zip(text.split('\n')) {
        let connections: Vec<Box<str>> = line.split_whitespace().map(Into::into).collect();
        let whose = match connections.first().map(|first| &**first) {
            None => Whose::Nobody,
            Some("reject") => Whose::Refused(Refused::new(Reason::SignatureWrong, "the line says so")),
            Some(_) => Whose::Connections(connections),
        };
        events.push(event(position, start..start + line.len(), whose));
        start += line.len() + 1;
    }
    found(request, events)
}

fn find_by_key(request: &Request, url: &str, context: &Context<'_>) -> Finding {
    let (url, key_id) = url.split_once(' ').unwrap_or((url, ""));
    let key = KeyRequest {
        kind: KeyKind::Text("secret".to_owned()),
        url: url.to_owned(),
        key_id: Some(key_id.to_owned()).filter(|id| !id.is_empty()),
    };
    match context.keys.lookup(&key) {
        KeyLookup::Found(_) => found(request, vec![event(0, 0..request.body.len(), Whose::Nobody)]),
        KeyLookup::KeyIdUnknown { fetched_at } if fetched_at >= request.meta.received_at => {
            Finding::Refused(Refused::new(Reason::KeyUnknown, "the set does not hold it"))
        }
        KeyLookup::KeyIdUnknown { .. } | KeyLookup::NotFetched => Finding::Undecided(key),
    }
}

fn found(request: &Request, events: Vec<Event>) -> Finding {
    Finding::Events(Events {
        proof: Proof::Body,
        body: request.body.clone(),
        headers: to_raw_value(&request.meta.headers).expect("headers are texts"),
        events,
    })
}

fn event(position: u32, span: std::ops::Range<usize>, whose: Whose) -> Event {
    Event {
        position,
        payload_kind: PayloadKind::Text,
        payload: Payload::Span(span),
        event_type: "line".into(),
        delivery_id: None,
        told_by_payload: false,
        time: None,
        object_key: None,
        object_version: None,
        object: ObjectFacts::default(),
        whose,
    }
}
