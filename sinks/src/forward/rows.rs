//! Attempt rows as they are written to `attempts`: JSON lines, without copying a text. In: how attempts and
//! deliveries ended. Out: the lines of one batch, cut into messages. Reads nothing back; audit does.

use tidegate_schemas::{
    AttemptId, AttemptRow, DeliveryId, DeliveryStatus, EndpointId, EnvironmentId, EventId, EventMeta, Reason,
    RequestId, UnixMillis,
};

use super::attempt::Attempted;
use super::event::Event;

/// A message of `attempts` is closed at this size; its last row may come on top. The topic takes 16 MiB by default.
const MESSAGE_BYTES: usize = 512 * 1024;

/// A row whose texts stand elsewhere.
type Row<'a> = AttemptRow<&'a str>;

/// How a delivery stands after an attempt, or without one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) status: DeliveryStatus,
    pub(crate) next_at: Option<UnixMillis>,
}

/// A delivery that ended without an attempt.
pub(crate) struct Closing<'a> {
    /// Where the event lies.
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) meta: &'a EventMeta,
    pub(crate) endpoint: EndpointId,
    /// The endpoint's name; empty once it is deleted.
    pub(crate) name: &'a str,
    pub(crate) reason: Reason,
    pub(crate) at: UnixMillis,
}

/// A delivery whose event was gone from `events` before it was decided: what is still known of it.
pub(crate) struct Orphan<'a> {
    /// Where the event lay; its earlier attempts name the same place.
    pub(crate) offset: u64,
    pub(crate) partition: u32,
    pub(crate) endpoint: EndpointId,
    /// The endpoint's environment; all zeros once it is deleted.
    pub(crate) environment: EnvironmentId,
    /// The endpoint's name; empty once it is deleted.
    pub(crate) name: &'a str,
    pub(crate) at: UnixMillis,
}

/// The rows of one batch.
#[derive(Default)]
pub(crate) struct Rows {
    closed: Vec<(u32, Vec<u8>)>,
    rows: u32,
    lines: Vec<u8>,
}

impl Rows {
    pub(crate) fn attempt(&mut self, attempted: &Attempted, standing: Standing) {
        let Attempted {
            event, destination, ..
        } = attempted;
        let endpoint = &destination.endpoint;
        self.push(&Row {
            attempt_id: AttemptId::new(attempted.attempted_at),
            endpoint: &endpoint.name,
            url: &endpoint.url,
            number: attempted.number,
            reason: attempted.reason,
            http_status: attempted.http_status,
            error: &attempted.error,
            attempted_at: attempted.attempted_at,
            duration_micros: u64::try_from(attempted.duration.as_micros()).unwrap_or(u64::MAX),
            response: &attempted.excerpt,
            ..row_of(event, endpoint.id, standing)
        });
    }

    pub(crate) fn closing(&mut self, closing: &Closing<'_>, status: DeliveryStatus) {
        let (meta, at) = (closing.meta, closing.at);
        self.push(&Row {
            attempt_id: AttemptId::new(at),
            event_partition: closing.partition,
            event_offset: closing.offset,
            endpoint: closing.name,
            reason: closing.reason,
            attempted_at: at,
            ..blank_row(
                meta,
                closing.endpoint,
                Standing {
                    status,
                    next_at: None,
                },
            )
        });
    }

    pub(crate) fn orphan(&mut self, orphan: &Orphan<'_>) {
        let nil = uuid::Uuid::nil();
        self.push(&Row {
            environment: orphan.environment,
            integration: "",
            received_at: orphan.at,
            attempt_id: AttemptId::new(orphan.at),
            delivery_id: DeliveryId(nil),
            event_id: EventId(nil),
            request_id: RequestId(nil),
            event_partition: orphan.partition,
            event_offset: orphan.offset,
            provider: "",
            connection: "",
            event_type: "",
            endpoint_id: orphan.endpoint,
            endpoint: orphan.name,
            url: "",
            number: 0,
            status: DeliveryStatus::Dead,
            reason: Reason::EventGone,
            http_status: 0,
            error: "its event was gone from the topic `events` before it could be sent",
            attempted_at: orphan.at,
            duration_micros: 0,
            response: "",
            next_at: None,
        });
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.closed.iter().map(|(_, lines)| lines.len()).sum::<usize>() + self.lines.len()
    }

    /// The messages of the batch: how many rows, and their lines.
    pub(crate) fn take(&mut self) -> Vec<(u32, Vec<u8>)> {
        self.close();
        std::mem::take(&mut self.closed)
    }

    fn push(&mut self, row: &Row<'_>) {
        serde_json::to_writer(&mut self.lines, row).expect("columns are JSON and a Vec takes all");
        self.lines.push(b'\n');
        self.rows += 1;
        if self.lines.len() >= MESSAGE_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.rows > 0 {
            self.closed
                .push((std::mem::take(&mut self.rows), std::mem::take(&mut self.lines)));
        }
    }
}

fn row_of(event: &Event, endpoint: EndpointId, standing: Standing) -> Row<'_> {
    Row {
        event_partition: event.partition,
        event_offset: event.offset,
        ..blank_row(&event.meta, endpoint, standing)
    }
}

fn blank_row(meta: &EventMeta, endpoint: EndpointId, standing: Standing) -> Row<'_> {
    Row {
        environment: meta.environment,
        integration: &meta.integration,
        received_at: meta.received_at,
        attempt_id: AttemptId(uuid::Uuid::nil()),
        delivery_id: DeliveryId::derive(meta.id, endpoint),
        event_id: meta.id,
        request_id: meta.request,
        event_partition: 0,
        event_offset: 0,
        provider: &meta.provider,
        connection: meta.connection.as_deref().unwrap_or_default(),
        event_type: &meta.event_type,
        endpoint_id: endpoint,
        endpoint: "",
        url: "",
        number: 0,
        status: standing.status,
        reason: Reason::Ok,
        http_status: 0,
        error: "",
        attempted_at: UnixMillis(0),
        duration_micros: 0,
        response: "",
        next_at: standing.next_at,
    }
}
