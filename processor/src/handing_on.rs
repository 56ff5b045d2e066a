//! dedupe → order → debounce → detect → route for one event. In: an event on its way. Out: its row, its message, and
//! what is to be held for it. Windows that it ends are [handed on](crate::window_end) before or behind it.

use std::borrow::Cow;

use tidegate_registry::Integration;
use tidegate_schemas::{Coalesced, EventId, Outcome, Reason, UnixMillis};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::event::{Event, Events, Examined, Payload};
use crate::event_records::{EventRecords, Routed};
use crate::flood::{Arrival, Content, DeliveryKey, Fate, Fingerprint, Unchecked};
use crate::metrics;
use crate::pipeline::Pipeline;
use crate::routes::Routes;
use crate::state::State;
use crate::steps::debounce::Place;
use crate::steps::order::Rank;
use crate::steps::route::Route;
use crate::tracked::{Ledger, Subject, Tracked, Verdict};

/// What deciding works on: the partition's state and the batch's outputs.
pub(crate) struct Desk<'d> {
    pub now: UnixMillis,
    pub state: &'d mut State,
    pub routes: &'d Routes,
    pub ledger: &'d Ledger,
    pub records: &'d mut EventRecords,
    /// The windows that keep an event of the request at hand.
    pub to_hold: &'d mut Vec<(Fingerprint, Place)>,
}

/// An event with the request it came in.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub examined: &'a Examined,
    pub found: &'a Events,
    pub event: &'a Event,
}

/// An event that is handed on.
pub(crate) struct Handed<'a> {
    pub at: At<'a>,
    pub route: &'a Route,
    /// Whether it is dropped when its object has not changed.
    pub detects: bool,
    pub window: Option<EventId>,
    pub coalesced: Option<&'a Coalesced>,
    /// What its row says besides.
    pub note: &'a str,
}

impl Pipeline {
    /// Controls the flood and routes: one event on its way to its outcome.
    pub fn control<'d>(&self, at: At<'d>, tracked: Tracked<'d>, desk: &mut Desk<'d>) {
        let Some(integration) = &at.examined.integration else {
            return end_nowhere(tracked, desk.routes.of(at.examined, at.event));
        };
        let connection = tracked.subject.connection;
        let policy = desk
            .routes
            .policies
            .of(integration.id, connection, &at.event.event_type);
        let arrival = arrival(at, integration, &tracked.subject);
        let judged = desk.state.flood.judge(&arrival, policy, desk.now);
        match judged.unchecked {
            Some(Unchecked::WindowsFull) => metrics::count_unchecked("windows"),
            Some(Unchecked::ObjectsFull) => metrics::count_unchecked("objects"),
            Some(Unchecked::NoObject) | None => {}
        }
        if let Some(ended) = judged.before {
            self.hand_on_window(ended, Some(at.examined), desk);
        }
        let unchecked = judged.unchecked.map_or("", Unchecked::in_words);
        let note = joined(tracked.note, unchecked);
        let window = match judged.fate {
            Fate::Held(window) | Fate::Passes(Some(window)) => Some(window),
            _ => None,
        };
        match judged.fate {
            Fate::Repeat => tracked.has_outcome(),
            Fate::Duplicate => tracked.end(&Verdict::flood(Reason::DeliverySeen, "", None)),
            Fate::Stale(newest) => tracked.end(&Verdict::flood(Reason::OlderVersion, &lost_to(newest), None)),
            Fate::Held(_) => {
                tracked.end(&Verdict::flood(Reason::Absorbed, &note, window));
                if let Some(object) = judged.kept_by {
                    desk.to_hold.push((object, arrival.place));
                }
            }
            Fate::Passes(_) => {
                let handed = Handed {
                    at,
                    route: desk.routes.of(at.examined, at.event),
                    detects: policy.detect_changes,
                    window,
                    coalesced: None,
                    note: &note,
                };
                self.hand_on(tracked, &handed, desk);
            }
        }
        if let Some(ended) = judged.after {
            self.hand_on_window(ended, Some(at.examined), desk);
        }
    }

    /// detect → route.
    pub fn hand_on(&self, tracked: Tracked<'_>, handed: &Handed<'_>, desk: &mut Desk<'_>) {
        let mut note = Cow::Borrowed(handed.note);
        match self.detect(&tracked.subject, handed, desk.state) {
            Content::Changed => {}
            Content::Unknown => {
                let full = Unchecked::ObjectsFull.in_words();
                if !handed.note.contains(full) {
                    metrics::count_unchecked("objects");
                }
                note = joined(handed.note, full);
            }
            Content::Unchanged(hash) => {
                let detail = format!("the content's hash is {hash:016x}, as before");
                return tracked.end(&Verdict::flood(Reason::SameContent, &detail, handed.window));
            }
        }
        match handed.route {
            Route::To(endpoints) => {
                let routed = Routed {
                    endpoints,
                    coalesced: handed.coalesced,
                };
                desk.records
                    .push(&tracked.subject, (handed.at.found, handed.at.event), routed);
                tracked.end(&Verdict {
                    outcome: Outcome::Routed,
                    reason: Reason::Ok,
                    detail: &note,
                    endpoints,
                    window: handed.window,
                });
            }
            Route::Nowhere(refused) => tracked.end(&Verdict {
                window: handed.window,
                ..refused.into()
            }),
        }
    }

    fn detect(&self, subject: &Subject<'_>, handed: &Handed<'_>, state: &mut State) -> Content {
        let At {
            examined,
            found,
            event,
        } = handed.at;
        let Some(integration) = &examined.integration else {
            return Content::Changed;
        };
        let Some(object) = object_of(event, integration, (subject.connection, &*state)) else {
            return Content::Changed;
        };
        if event.object.deleted {
            state.flood.forget_content(object);
            return Content::Changed;
        }
        let Some(content) = content_of(event, found).filter(|_| handed.detects) else {
            return Content::Changed;
        };
        let of_type = xxh3_64(event.event_type.as_bytes());
        let raw = xxh3_64_with_seed(content, of_type);
        state.flood.detect(object, raw, || {
            let definition = self.catalogue.get(&integration.provider);
            let hash = definition
                .and_then(|definition| definition.content_hash(event.object.rule, content, of_type));
            hash.unwrap_or(raw)
        })
    }
}

/// What stands for the object of an event; none without a connection or an object key.
pub(crate) fn object_of(
    event: &Event,
    integration: &Integration,
    (connection, state): (Option<&str>, &State),
) -> Option<Fingerprint> {
    let object_key = event.object_key.as_deref()?;
    Some(state.flood.object(integration.id, connection?, object_key))
}

fn content_of<'a>(event: &'a Event, found: &'a Events) -> Option<&'a [u8]> {
    let span = event.object.content.clone()?;
    match &event.payload {
        Payload::Span(_) => found.body.get(span),
        Payload::Own(own) => own.get(span),
    }
}

fn arrival<'a>(at: At<'a>, integration: &Integration, subject: &Subject<'a>) -> Arrival<'a> {
    let At {
        examined,
        found,
        event,
    } = at;
    let bytes: &[u8] = match &event.payload {
        Payload::Span(span) => found.body.get(span.clone()).unwrap_or_default(),
        Payload::Own(own) => own,
    };
    let by_id = event.delivery_id.as_deref().map(DeliveryKey::Id);
    Arrival {
        id: subject.id,
        integration: integration.id,
        connection: subject.connection,
        event_type: &event.event_type,
        place: Place {
            offset: examined.request.pointer.offset,
            position: event.position,
        },
        received_at: examined.request.meta.received_at,
        delivery: if event.told_by_payload {
            Some(DeliveryKey::Payload(bytes))
        } else {
            by_id
        },
        object: event.object_key.as_deref(),
        deleted: event.object.deleted,
        version: event.object.rank,
        time: event.time,
        payload_bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        on_demand: examined.request.asked.replay,
    }
}

/// Both notes, each once.
fn joined<'n>(first: &'n str, second: &'n str) -> Cow<'n, str> {
    match (first.is_empty(), second.is_empty() || first.contains(second)) {
        (true, _) => Cow::Borrowed(second),
        (_, true) => Cow::Borrowed(first),
        _ => Cow::Owned(format!("{first}; {second}")),
    }
}

fn lost_to(newest: Rank) -> String {
    match newest {
        Rank::Version(version) => format!("the version of rank {version} was seen"),
        Rank::Time(time) => format!("an event of {} ms was seen", time.0),
    }
}

fn end_nowhere(tracked: Tracked<'_>, route: &Route) {
    if let Route::Nowhere(refused) = route {
        tracked.end(&refused.into());
    }
}

impl<'v> Verdict<'v> {
    /// A verdict of flood control.
    fn flood(reason: Reason, detail: &'v str, window: Option<EventId>) -> Self {
        Self {
            outcome: reason.outcome().unwrap_or(Outcome::Failed),
            reason,
            detail,
            endpoints: &[],
            window,
        }
    }
}
