//! The messages of one batch for `events`. In: a routed event with its endpoints. Out: records whose key is the
//! connection and the object, so that what is about one object stays in order. Decides nothing.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_broker::Record;
use tidegate_schemas::{
    Coalesced, EndpointId, EnvironmentId, EventId, EventKind, PayloadKind, Pointer, Proof, RequestId, Topic,
    UnixMillis, WRITE_VERSION,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Event, Events};
use crate::outcomes::cut;
use crate::tracked::Subject;

/// The records of one batch.
#[derive(Debug)]
pub(crate) struct EventRecords {
    commit: u64,
    partitions: u32,
    text_bytes_max: usize,
    written: BytesMut,
    records: Vec<Record>,
    bytes: usize,
}

/// [`EventMeta`](tidegate_schemas::EventMeta), borrowed: the same fields in the same order.
#[derive(Serialize)]
struct Meta<'a> {
    v: u32,
    kind: EventKind,
    id: EventId,
    request: RequestId,
    pointer: Pointer,
    position: u32,
    environment: EnvironmentId,
    integration: &'a str,
    provider: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_key: Option<&'a str>,
    verified: Proof,
    received_at: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<UnixMillis>,
    payload: PayloadKind,
    headers: &'a RawValue,
    endpoints: &'a [EndpointId],
    commit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    coalesced: Option<&'a Coalesced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<EventId>,
}

/// What a routed event is given besides what it is.
#[derive(Clone, Copy)]
pub(crate) struct Routed<'a> {
    /// The endpoints it goes to.
    pub endpoints: &'a [EndpointId],
    /// What it stands for.
    pub coalesced: Option<&'a Coalesced>,
}

impl EventRecords {
    /// No records yet, for the batch whose journal message will be at `commit`.
    pub fn new(commit: u64, partitions: u32, text_bytes_max: usize) -> Self {
        Self {
            commit,
            partitions,
            text_bytes_max,
            written: BytesMut::new(),
            records: Vec::new(),
            bytes: 0,
        }
    }

    /// Writes the message of one event.
    pub fn push(&mut self, subject: &Subject<'_>, (found, event): (&Events, &Event), routed: Routed<'_>) {
        let key = self.key(subject, event);
        let meta = self.meta(subject, (found, event), routed);
        let value = event.payload.bytes(&found.body);
        self.bytes += key.len() + meta.len() + value.len();
        self.records.push(Record {
            topic: Topic::Events,
            partition: partition_of(&key, self.partitions),
            key,
            meta,
            value,
        });
    }

    /// How many bytes the records have.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// The records, in the order of the events.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Connection and object key; the connection alone without an object; the integration when unattributed.
    fn key(&mut self, subject: &Subject<'_>, event: &Event) -> Bytes {
        match subject.connection {
            Some(connection) => {
                self.written.put_slice(connection.as_bytes());
                if let Some(object_key) = &event.object_key {
                    self.written.put_u8(b'/');
                    self.written
                        .put_slice(cut(object_key, self.text_bytes_max).as_bytes());
                }
            }
            None => self
                .written
                .put_slice(subject.request.meta.integration.as_bytes()),
        }
        self.written.split().freeze()
    }

    fn meta(
        &mut self,
        subject: &Subject<'_>,
        (found, event): (&Events, &Event),
        routed: Routed<'_>,
    ) -> Bytes {
        let meta = &subject.request.meta;
        let meta = Meta {
            v: WRITE_VERSION,
            kind: EventKind::Event,
            id: subject.id,
            request: meta.id,
            pointer: subject.request.pointer,
            position: event.position,
            environment: meta.environment,
            integration: &meta.integration,
            provider: subject.provider,
            connection: subject.connection,
            event_type: cut(&event.event_type, self.text_bytes_max),
            object_key: event
                .object_key
                .as_deref()
                .map(|key| cut(key, self.text_bytes_max)),
            verified: subject.proof,
            received_at: meta.received_at,
            event_time: event.time,
            payload: event.payload_kind,
            headers: &found.headers,
            endpoints: routed.endpoints,
            commit: self.commit,
            coalesced: routed.coalesced,
            replay_of: subject.replay_of(),
        };
        self.written.reserve(1024 + found.headers.get().len());
        serde_json::to_writer((&mut self.written).writer(), &meta).expect("metadata writes to memory");
        self.written.split().freeze()
    }
}

/// A partition of `events` for a key: the same one for ever, because their number is fixed when the registry is made.
fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = xxh3_64(key) % u64::from(partitions.max(1));
    u32::try_from(hash).expect("less than a u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_partition_for_ever() {
        let places = ["acme-42/contact/1", "acme-42/contact/2", "acme-42", "crm", ""]
            .map(|key| partition_of(key.as_bytes(), 32));
        assert_eq!(places, [7, 19, 16, 2, 2]);
    }
}
