//! The rows of one batch as they go to `outcomes`: JSON lines of [`EventRow`](tidegate_schemas::EventRow), in messages
//! no larger than their limit. In: a subject and its verdict. Out: records. Judges nothing.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hashbrown::HashSet;
use tidegate_broker::Record;
use tidegate_schemas::{
    Attribution, EndpointId, EventId, EventRow, Metadata, Outcome, PayloadKind, Pointer, RowsMeta, Topic,
    UnixMillis, WRITE_VERSION,
};

use crate::config::Config;
use crate::event::Payload;
use crate::tracked::{Subject, Verdict};

/// The rows of one batch.
#[derive(Debug)]
pub(crate) struct Rows {
    commit: u64,
    decided_at: UnixMillis,
    message_bytes_max: usize,
    payload_bytes_max: usize,
    text_bytes_max: usize,
    lines: Vec<u8>,
    rows: u32,
    full: Vec<(Bytes, u32)>,
    held: HeldLines,
    by_outcome: [u64; Outcome::ALL.len()],
}

/// A row whose texts stand elsewhere.
type Row<'a> = EventRow<Cow<'a, str>, &'a [EndpointId]>;

impl Rows {
    /// No rows yet, for the batch whose journal message will be at `commit`.
    pub fn new(commit: u64, decided_at: UnixMillis, config: &Config) -> Self {
        Self {
            commit,
            decided_at,
            message_bytes_max: config.outcomes_message_bytes_max,
            payload_bytes_max: config.row_payload_bytes_max,
            text_bytes_max: config.text_bytes_max,
            lines: Vec::new(),
            rows: 0,
            full: Vec::new(),
            held: HeldLines::default(),
            by_outcome: [0; Outcome::ALL.len()],
        }
    }

    /// Writes the row of one event.
    pub fn push(&mut self, subject: &Subject<'_>, verdict: &Verdict<'_>) {
        let row = self.row(subject, verdict);
        let id = row.event_id;
        if verdict.outcome == Outcome::Debounced {
            return self.held.push(id, &row);
        }
        let before = self.lines.len();
        serde_json::to_writer(&mut self.lines, &row).expect(WRITES);
        self.lines.push(b'\n');
        self.end_line(before);
        if verdict.window.is_some() {
            self.held.remove(id);
        }
        if let Some(count) = self.by_outcome.get_mut(verdict.outcome as usize) {
            *count += 1;
        }
    }

    /// How many bytes of rows there are.
    pub fn len_bytes(&self) -> usize {
        self.full.iter().map(|(lines, _)| lines.len()).sum::<usize>()
            + self.lines.len()
            + self.held.lines.len()
    }

    /// How many rows each outcome has; the debounced are counted when their window ends.
    pub fn by_outcome(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.iter().copied().zip(self.by_outcome)
    }

    /// The messages for one partition of `outcomes`.
    pub fn into_records(mut self, partition: u32) -> Vec<Record> {
        let held = std::mem::take(&mut self.held);
        let out = held.taken_out();
        if self.lines.is_empty() && out.is_empty() && held.lines.len() <= self.message_bytes_max {
            // Most of a flood's batches hold everything: their rows need not be copied.
            self.rows = u32::try_from(held.places.len()).expect("a batch has fewer events than 4 billion");
            self.lines = held.lines;
        } else {
            for line in held.without(&out) {
                let before = self.lines.len();
                self.lines.extend_from_slice(line);
                self.end_line(before);
            }
        }
        self.close_message();
        let commit = self.commit;
        let record = move |(value, rows)| Record {
            topic: Topic::Outcomes,
            partition,
            key: Bytes::new(),
            meta: RowsMeta {
                v: WRITE_VERSION,
                rows,
                commit,
            }
            .encode()
            .into(),
            value,
        };
        self.full.into_iter().map(record).collect()
    }

    /// Ends the line that begins at `before`: one that makes the message too large begins the next.
    fn end_line(&mut self, before: usize) {
        if self.lines.len() > self.message_bytes_max && before > 0 {
            let last = self.lines.split_off(before);
            self.close_message();
            self.lines = last;
        }
        self.rows += 1;
    }

    fn close_message(&mut self) {
        if self.rows > 0 {
            let lines = std::mem::take(&mut self.lines);
            self.full.push((lines.into(), std::mem::take(&mut self.rows)));
        }
    }

    fn row<'a>(&self, subject: &'a Subject<'_>, verdict: &'a Verdict<'_>) -> Row<'a> {
        let meta = &subject.request.meta;
        let Pointer { partition, offset } = subject.request.pointer;
        let own = |text: &'a str| Cow::Borrowed(cut(text, self.text_bytes_max));
        let text = |text: &'a Option<Box<str>>| own(text.as_deref().unwrap_or_default());
        let event = subject.event;
        let payload = self.payload(subject);
        Row {
            environment: meta.environment,
            integration: own(&meta.integration),
            received_at: meta.received_at,
            event_id: subject.id,
            request_id: meta.id,
            request_partition: partition,
            request_offset: offset,
            position: subject.position(),
            provider: own(subject.provider),
            connection: subject.connection.unwrap_or_default().into(),
            attribution: match subject.connection {
                Some(_) => Attribution::Matched,
                None => Attribution::None,
            },
            event_type: event.map_or(Cow::default(), |event| own(&event.event_type)),
            delivery_key: event.map_or(Cow::default(), |event| text(&event.delivery_id)),
            object_key: event.map_or(Cow::default(), |event| text(&event.object_key)),
            object_version: event.map_or(Cow::default(), |event| text(&event.object_version)),
            event_time: event.and_then(|event| event.time),
            outcome: verdict.outcome,
            reason: verdict.reason,
            detail: own(verdict.detail),
            verified: subject.proof,
            window: verdict.window,
            endpoints: verdict.endpoints,
            payload_kind: payload.kind,
            span_start: payload.span_start,
            span_bytes: payload.span_bytes,
            payload: payload.text,
            replay_of: subject.replay_of(),
            decided_at: self.decided_at,
            commit: self.commit,
        }
    }

    /// Where the payload is: a span of the body, or its own text where that is not too large for a row.
    fn payload<'a>(&self, subject: &'a Subject<'_>) -> RowPayload<'a> {
        let Some(event) = subject.event else {
            return RowPayload::whole(&subject.request.body);
        };
        let kind = event.payload_kind;
        match &event.payload {
            Payload::Span(span) => RowPayload {
                kind,
                span_start: span.start as u64,
                span_bytes: span.len() as u64,
                text: Cow::Borrowed(""),
            },
            Payload::Own(bytes) => RowPayload {
                kind,
                span_start: 0,
                span_bytes: 0,
                text: match std::str::from_utf8(bytes) {
                    _ if bytes.len() > self.payload_bytes_max => Cow::Borrowed(""),
                    Ok(text) if kind != PayloadKind::Base64 => Cow::Borrowed(text),
                    _ => Cow::Owned(STANDARD.encode(bytes)),
                },
            },
        }
    }
}

/// Rows of events that are held: when one is handed on in the same batch, its later row takes the place.
#[derive(Debug, Default)]
struct HeldLines {
    lines: Vec<u8>,
    /// Whose row stands where.
    places: Vec<(u128, Range<usize>)>,
    /// Whose rows were taken out, of so many that there were.
    removed: Vec<(u128, usize)>,
}

impl HeldLines {
    fn push(&mut self, id: EventId, row: &Row<'_>) {
        let start = self.lines.len();
        serde_json::to_writer(&mut self.lines, row).expect(WRITES);
        self.lines.push(b'\n');
        self.places.push((id.0.as_u128(), start..self.lines.len()));
    }

    fn remove(&mut self, id: EventId) {
        self.removed.push((id.0.as_u128(), self.places.len()));
    }

    /// Which rows do not hold, in order: of two rows for one event the later is true.
    fn taken_out(&self) -> Vec<usize> {
        if self.removed.is_empty() && self.is_each_once() {
            return Vec::new();
        }
        // A row stands at twice its number, and between two rows what was taken out of those before.
        let rows = self
            .places
            .iter()
            .enumerate()
            .map(|(at, (id, _))| (*id, 2 * at + 1));
        let removed = self.removed.iter().map(|(id, of)| (*id, 2 * of));
        let mut order: Vec<(u128, usize)> = rows.chain(removed).collect();
        order.sort_unstable();
        let pairs = order.iter().zip(order.iter().skip(1));
        let behind = pairs.filter(|((id, at), (next, _))| id == next && at % 2 == 1);
        let mut out: Vec<usize> = behind.map(|((_, at), _)| at / 2).collect();
        out.sort_unstable();
        out
    }

    /// Whether no event has two rows.
    fn is_each_once(&self) -> bool {
        let mut ids = HashSet::with_capacity(self.places.len());
        self.places.iter().all(|(id, _)| ids.insert(*id))
    }

    fn without(&self, out: &[usize]) -> impl Iterator<Item = &[u8]> {
        let places = self.places.iter().enumerate();
        let left = places.filter(|(at, _)| out.binary_search(at).is_err());
        left.filter_map(|(_, (_, place))| self.lines.get(place.clone()))
    }
}

struct RowPayload<'a> {
    kind: PayloadKind,
    span_start: u64,
    span_bytes: u64,
    text: Cow<'a, str>,
}

impl RowPayload<'_> {
    /// The whole body of a request that was never read further.
    fn whole(body: &[u8]) -> Self {
        Self {
            kind: match std::str::from_utf8(body) {
                Ok("") => PayloadKind::Headers,
                Ok(_) => PayloadKind::Text,
                Err(_) => PayloadKind::Base64,
            },
            span_start: 0,
            span_bytes: body.len() as u64,
            text: Cow::Borrowed(""),
        }
    }
}

/// Why a row can always be written.
const WRITES: &str = "a row has text keys and writes to memory";

/// At most `bytes_max` of a text, cut between characters.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}
