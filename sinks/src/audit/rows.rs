//! Messages made into rows: a request's metadata and masked body, the JSON lines of outcomes and attempts.
//! In: typed rows. Out: their values in RowBinary, in the order that the `_COLUMNS` beside each function names.

use tidegate_schemas::{AttemptRow, EventId, EventRow, RequestMeta, UnixMillis};
use uuid::Uuid;

use super::masking::Masked;
use super::row_binary::RowWriter;

/// The columns that [`write_request`] writes.
pub(crate) const REQUEST_COLUMNS: &str = "environment, integration, received_at, request_id, request_partition, \
     request_offset, kind, provider, connection, method, path, query, headers, remote, body, body_bytes, status, \
     refusal, detail, spilled, appended_at";

/// Where a request lies and when it was appended there.
pub(crate) struct Place {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) appended_at: UnixMillis,
}

/// Writes one row of `webhook_requests`.
pub(crate) fn write_request(out: &mut RowWriter, meta: &RequestMeta, masked: &Masked<'_>, place: &Place) {
    out.uuid(meta.environment.0);
    out.text(&meta.integration);
    out.time(meta.received_at);
    out.uuid(meta.id.0);
    out.u32(place.partition);
    out.u64(place.offset);
    out.text(meta.kind.label());
    out.text(&meta.provider);
    out.text(meta.connection.as_deref().unwrap_or_default());
    out.text(&meta.method);
    out.text(&meta.path);
    out.text(masked.query.as_ref());
    out.count(masked.headers.0.len());
    for (name, value) in &masked.headers.0 {
        out.text(name);
        out.text(value.as_bytes());
    }
    out.text(meta.remote.as_deref().unwrap_or_default());
    out.text(masked.body.as_ref());
    out.u64(meta.body_bytes);
    out.u16(meta.status);
    out.text(meta.refusal.map_or("", |refusal| refusal.label()));
    out.text(&meta.detail);
    out.u8(u8::from(meta.spilled));
    out.time(place.appended_at);
    out.end_row();
}

/// The columns that [`write_event`] writes.
pub(crate) const EVENT_COLUMNS: &str = "environment, integration, received_at, event_id, request_id, \
     request_partition, request_offset, position, provider, connection, attribution, event_type, delivery_key, \
     object_key, object_version, event_time, outcome, reason, detail, verified, window, endpoints, payload_kind, \
     span_start, span_bytes, text, replay_of, decided_at, version";

/// Writes one row of `webhook_events`.
pub(crate) fn write_event<T: AsRef<[u8]>>(out: &mut RowWriter, row: &EventRow<T>) {
    let or_zeros = |id: Option<EventId>| id.map_or(Uuid::nil(), |id| id.0);
    out.uuid(row.environment.0);
    out.text(&row.integration);
    out.time(row.received_at);
    out.uuid(row.event_id.0);
    out.uuid(row.request_id.0);
    out.u32(row.request_partition);
    out.u64(row.request_offset);
    out.u32(row.position);
    out.text(&row.provider);
    out.text(&row.connection);
    out.text(row.attribution.label());
    out.text(&row.event_type);
    out.text(&row.delivery_key);
    out.text(&row.object_key);
    out.text(&row.object_version);
    out.time_or_null(row.event_time);
    out.text(row.outcome.label());
    out.text(row.reason.label());
    out.text(&row.detail);
    out.text(row.verified.label());
    out.uuid(or_zeros(row.window));
    out.count(row.endpoints.len());
    for endpoint in &row.endpoints {
        out.uuid(endpoint.0);
    }
    out.text(row.payload_kind.label());
    out.u64(row.span_start);
    out.u64(row.span_bytes);
    out.text(&row.payload);
    out.uuid(or_zeros(row.replay_of));
    out.time(row.decided_at);
    out.u64(row.commit);
    out.end_row();
}

/// The columns that [`write_attempt`] writes.
pub(crate) const ATTEMPT_COLUMNS: &str = "environment, integration, received_at, attempt_id, delivery_id, event_id, \
     request_id, event_partition, event_offset, provider, connection, event_type, endpoint_id, endpoint, url, number, \
     status, reason, http_status, error, attempted_at, duration_micros, response, next_at, version";

/// Writes one row of `delivery_attempts`; `version` is that of the message it came in.
pub(crate) fn write_attempt<T: AsRef<[u8]>>(out: &mut RowWriter, row: &AttemptRow<T>, version: u64) {
    out.uuid(row.environment.0);
    out.text(&row.integration);
    out.time(row.received_at);
    out.uuid(row.attempt_id.0);
    out.uuid(row.delivery_id.0);
    out.uuid(row.event_id.0);
    out.uuid(row.request_id.0);
    out.u32(row.event_partition);
    out.u64(row.event_offset);
    out.text(&row.provider);
    out.text(&row.connection);
    out.text(&row.event_type);
    out.uuid(row.endpoint_id.0);
    out.text(&row.endpoint);
    out.text(&row.url);
    out.u32(row.number);
    out.text(row.status.label());
    out.text(row.reason.label());
    out.u16(row.http_status);
    out.text(&row.error);
    out.time(row.attempted_at);
    out.u64(row.duration_micros);
    out.text(&row.response);
    out.time_or_null(row.next_at);
    out.u64(version);
    out.end_row();
}
