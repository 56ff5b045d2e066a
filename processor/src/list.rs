//! The list that a window hands over when it keeps all: the payloads of its events as one JSON array, under the last
//! one's id. In: events. Out: an event. Masked as they are; reads nothing.

use bytes::Bytes;
use tidegate_providers::payload::to_json;
use tidegate_schemas::{Headers, PayloadKind};

use crate::event::{Event, Payload, Whose};
use crate::handing_on::At;

/// The last event with the payloads of all as its own.
pub(crate) fn list_of<'a>(last: At<'_>, events: impl Iterator<Item = At<'a>>) -> Event {
    let mut list = vec![b'['];
    for at in events {
        if list.len() > 1 {
            list.push(b',');
        }
        let payload = at.event.payload.bytes(&at.found.body);
        match at.event.payload_kind {
            PayloadKind::Json => list.extend_from_slice(&payload),
            kind => {
                let headers: Headers = serde_json::from_str(at.found.headers.get()).unwrap_or_default();
                list.extend_from_slice(&to_json(kind, &payload, &headers));
            }
        }
    }
    list.push(b']');
    let event = last.event;
    Event {
        position: event.position,
        payload_kind: PayloadKind::Json,
        payload: Payload::Own(Bytes::from(list)),
        event_type: event.event_type.clone(),
        delivery_id: event.delivery_id.clone(),
        told_by_payload: event.told_by_payload,
        time: event.time,
        object_key: event.object_key.clone(),
        object_version: event.object_version.clone(),
        // What its content was stood in its own payload.
        object: crate::event::ObjectFacts {
            content: None,
            ..event.object.clone()
        },
        whose: Whose::Nobody,
    }
}
