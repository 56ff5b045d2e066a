//! The way of a request through the processor:
//!
//! ```text
//! verify → split → attribute → set aside? → dedupe → order → debounce → detect → route ⇒ one outcome each
//! ```
//!
//! In: requests of one partition, in order. Out: what a [`Batch`] holds: rows, events, and what is set aside. The
//! pipeline awaits and fetches, the steps decide. The first three run on several threads, the others on one, in order.
//! Commits nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_broker::Broker;
use tidegate_providers::{Catalogue, KeyRequest};
use tidegate_registry::{FloodPolicy, Registry};
use tidegate_schemas::{Reason, Topic, UnixMillis};
use tokio::sync::Semaphore;

use crate::batch::Batch;
use crate::config::Config;
use crate::event::{Event, Events, Examined, Finding, Refused, Whose};
use crate::examine::{Context, Find, examine, panicked};
use crate::flood::Ended;
use crate::handing_on::{At, object_of};
use crate::key_queue::key_queue;
use crate::key_sets::KeyStore;
use crate::metrics;
use crate::request::Request;
use crate::routes::Routes;
use crate::set_aside::{Cause, Entry, Queue, Wait};
use crate::state::{State, StateLimits};
use crate::tracked::{Ledger, Subject, Tracked};

/// What the row of an event says that passed because no more could be set aside.
pub(crate) const NO_ROOM_ASIDE: &str = "not set aside: processor.set_aside_bytes_max is reached";

/// What all partitions share.
pub(crate) struct Pipeline {
    pub broker: Broker,
    pub registry: Registry,
    /// The registry's end up to which its tables are known to be applied.
    pub registry_read: AtomicU64,
    pub catalogue: Arc<Catalogue>,
    pub keys: KeyStore,
    pub config: Config,
    /// The flood control that holds where nothing is set.
    pub policy: FloodPolicy,
    /// What each partition's state may take.
    pub limits: StateLimits,
    /// As many permits as there are threads to examine on.
    pub threads: Arc<Semaphore>,
    /// How the events of a request are found; only tests give another than [`crate::examine::find_events`].
    pub find: Find,
}

impl Pipeline {
    /// verify → split → attribute, and where what is found will go. What a write to the registry could turn is
    /// examined again after the registry's end has been read, unless it was known to be read already.
    pub async fn examine(self: &Arc<Self>, requests: Vec<Request>) -> (Vec<Examined>, Routes) {
        let end = self.broker.offsets(Topic::Registry, 0).end;
        // What is known without asking is the end itself only where this process's broker is the only one.
        let is_read = !self.broker.is_shared() && self.registry_read.load(Ordering::Acquire) >= end;
        let mut examined = self.examine_all(requests).await;
        let mut routes = self.routes(&examined);
        if !is_read && (routes.could_turn() || examined.iter().any(Examined::could_turn)) {
            match self.registry.read_to_end().await {
                Ok(()) => drop(self.registry_read.fetch_max(end, Ordering::AcqRel)),
                Err(error) => tracing::warn!(%error, "deciding by the registry as it is known"),
            }
            examined = self.examine_again(examined).await;
            routes = self.routes(&examined);
        }
        (examined, routes)
    }

    /// set aside? → dedupe → order → debounce → detect → route, for one request.
    pub fn decide(&self, examined: &Examined, state: &mut State, batch: &mut Batch<'_>) {
        let decided = catch_unwind(AssertUnwindSafe(|| match &examined.finding {
            Finding::Events(found) => self.decide_events((examined, found), state, batch),
            Finding::Refused(refused) => batch.ledger.track(Subject::whole(examined)).end(&refused.into()),
            Finding::Undecided(key) => self.await_key((examined, key), state, batch),
        }));
        if let Err(panic) = decided {
            // Its events have written their rows while the panic unwound.
            panicked(&*panic);
        }
    }

    /// detect → route, for what a window kept.
    pub fn fire(&self, ended: Ended, state: &mut State, batch: &mut Batch<'_>) {
        let mut desk = batch.desk(state);
        let fired = catch_unwind(AssertUnwindSafe(|| self.hand_on_window(ended, None, &mut desk)));
        if let Err(panic) = fired {
            panicked(&*panic);
        }
    }

    fn decide_events(
        &self,
        (examined, found): (&Examined, &Events),
        state: &mut State,
        batch: &mut Batch<'_>,
    ) {
        let mut desk = batch.desk(state);
        for (event, tracked) in tracked_events((examined, found), desk.ledger) {
            if let Whose::Refused(refused) = &event.whose {
                tracked.end(&refused.into());
                continue;
            }
            if is_gone(event, &tracked) {
                let detail = "its connection was deleted while it waited its turn".to_owned();
                tracked.end(&(&Refused::new(Reason::RequestGone, detail)).into());
                continue;
            }
            let Some(tracked) = self.await_connection(tracked, desk.state, desk.now) else {
                continue;
            };
            let at = At {
                examined,
                found,
                event,
            };
            if let Some(tracked) = self.await_turn(tracked, at, &mut desk) {
                self.control(at, tracked, &mut desk);
            }
        }
    }

    /// The offsets of requests whose events a window would hand on while `examined` is decided, and which are not at
    /// hand: they are read first.
    pub fn missing(&self, examined: &Examined, (state, routes): (&State, &Routes)) -> Vec<u64> {
        let (Finding::Events(found), Some(integration)) = (&examined.finding, &examined.integration) else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        if state.flood.open_windows() == 0 {
            return missing;
        }
        for event in &found.events {
            let Whose::Connections(connections) = &event.whose else {
                continue;
            };
            for connection in connections {
                let policy = routes
                    .policies
                    .of(integration.id, Some(connection), &event.event_type);
                let debounce = policy.debounce.as_ref();
                let bypasses = event.object.deleted
                    || examined.request.asked.replay
                    || debounce.is_some_and(|debounce| debounce.bypasses(&event.event_type));
                let max_events = debounce.and_then(|debounce| debounce.max_events);
                // Few windows end by what comes to them; for the others no object need be looked up.
                if !bypasses && max_events.is_none() && !state.flood.keeps_lists() {
                    continue;
                }
                let Some(object) = object_of(event, integration, (Some(&**connection), state)) else {
                    continue;
                };
                let further = (found.events.len(), examined.request.body.len() as u64);
                let is_counted_out = |max: u32| {
                    let window = state.flood.window(object);
                    window.map_or(0, |window| window.count as usize) + further.0 >= max as usize
                };
                let may_end = bypasses
                    || max_events.is_some_and(is_counted_out)
                    || debounce
                        .is_some_and(|debounce| state.flood.fills_list(object, further, debounce.max_bytes));
                if may_end {
                    missing.extend(state.missing(object));
                }
            }
        }
        let here = examined.request.pointer.offset;
        missing.retain(|offset| *offset != here);
        missing
    }

    /// Sets an event aside that has no connection yet, while it may still get one.
    fn await_connection<'a>(
        &self,
        tracked: Tracked<'a>,
        state: &State,
        now: UnixMillis,
    ) -> Option<Tracked<'a>> {
        let longest = self.config.unattributed_wait();
        let request = tracked.subject.request;
        let since = request.asked.aside_since.unwrap_or(now);
        // Whose turn it is has waited before.
        let has_waited = request.asked.in_turn.is_some() || now >= since.after(longest);
        if tracked.subject.connection.is_some() || has_waited {
            return Some(tracked);
        }
        let queue = Queue {
            cause: Cause::Connection,
            name: format!("{}/{}", request.meta.environment, request.meta.integration).into(),
        };
        let wait = Wait {
            since,
            due: now.after(longest / 10).min(since.after(longest)),
            longest,
        };
        let entry = Entry {
            offset: request.pointer.offset,
            position: Some(tracked.subject.position()),
            replay: request.asked.replay,
        };
        match state.set_aside().push(queue, entry, wait) {
            Ok(()) => {
                tracked.set_aside();
                None
            }
            Err(_full) => {
                metrics::count_passed(1);
                Some(tracked.noting(NO_ROOM_ASIDE))
            }
        }
    }

    /// Sets a request aside until its key is fetched; one that waited too long, or has no room, is rejected.
    fn await_key(&self, (examined, key): (&Examined, &KeyRequest), state: &mut State, batch: &mut Batch<'_>) {
        let tracked = batch.ledger.track(Subject::whole(examined));
        let request = &examined.request;
        let longest = self.config.key_wait();
        let since = request.asked.aside_since.unwrap_or(batch.now);
        let unavailable = |detail: String| Refused::new(Reason::KeyUnavailable, detail);
        if batch.now >= since.after(longest) {
            let failure = self.keys.last_failure(&key.url).unwrap_or_default();
            let detail = format!("{} gave no key for {} s: {failure}", key.url, longest.as_secs());
            tracked.end(&(&unavailable(detail)).into());
            return;
        }
        let queue = key_queue(&key.url, request.asked.in_turn.as_ref());
        let wait = Wait {
            since,
            due: since.after(longest),
            longest,
        };
        let entry = Entry {
            offset: request.pointer.offset,
            position: request.asked.position,
            replay: request.asked.replay,
        };
        if state.set_aside().push(queue, entry, wait).is_err() {
            metrics::count_passed(1);
            tracked.end(&(&unavailable(NO_ROOM_ASIDE.to_owned())).into());
            return;
        }
        tracked.set_aside();
        self.keys.want(key);
    }

    async fn examine_all(self: &Arc<Self>, requests: Vec<Request>) -> Vec<Examined> {
        let mut chunks = chunks(requests, &self.config);
        if chunks.len() <= 1 && chunks.iter().all(|chunk| chunk.bytes <= self.config.chunk_bytes) {
            return chunks
                .pop()
                .map(|chunk| self.examine_chunk(chunk.requests))
                .unwrap_or_default();
        }
        let mut running = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let permit = self
                .threads
                .clone()
                .acquire_owned()
                .await
                .expect("the threads are never closed");
            let pipeline = self.clone();
            running.push(tokio::task::spawn_blocking(move || {
                let _permit = permit;
                pipeline.examine_chunk(chunk.requests)
            }));
        }
        let mut examined = Vec::new();
        for chunk in running {
            match chunk.await {
                Ok(chunk) => examined.extend(chunk),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        examined
    }

    fn examine_chunk(&self, requests: Vec<Request>) -> Vec<Examined> {
        let tables = self.registry.read();
        let context = Context {
            tables: &tables,
            catalogue: &self.catalogue,
            keys: &self.keys,
            config: &self.config,
        };
        requests
            .into_iter()
            .map(|request| examine(request, &context, self.find))
            .collect()
    }

    async fn examine_again(self: &Arc<Self>, examined: Vec<Examined>) -> Vec<Examined> {
        let mut sure = Vec::with_capacity(examined.len());
        let mut places = Vec::new();
        let mut requests = Vec::new();
        for examined in examined {
            if examined.could_turn() {
                places.push(sure.len());
                requests.push(examined.request);
                sure.push(None);
            } else {
                sure.push(Some(examined));
            }
        }
        for (place, again) in places.into_iter().zip(self.examine_all(requests).await) {
            if let Some(slot) = sure.get_mut(place) {
                *slot = Some(again);
            }
        }
        sure.into_iter().flatten().collect()
    }

    fn routes(&self, examined: &[Examined]) -> Routes {
        Routes::plan(examined, &self.registry.read(), &self.policy)
    }
}

struct Chunk {
    requests: Vec<Request>,
    bytes: usize,
}

/// Cuts requests into what one thread takes at a time.
fn chunks(requests: Vec<Request>, config: &Config) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for request in requests {
        let bytes = request.body.len();
        match chunks.last_mut() {
            Some(last) if last.requests.len() < config.chunk_requests && last.bytes < config.chunk_bytes => {
                last.bytes += bytes;
                last.requests.push(request);
            }
            _ => chunks.push(Chunk {
                requests: vec![request],
                bytes,
            }),
        }
    }
    chunks
}

/// Every event of a request that is asked for, once for each connection it reaches, all tracked from the start.
fn tracked_events<'a>(
    (examined, found): (&'a Examined, &'a Events),
    ledger: &'a Ledger,
) -> Vec<(&'a Event, Tracked<'a>)> {
    let asked = &examined.request.asked;
    let mut tracked = Vec::with_capacity(found.events.len());
    for event in found.events.iter().filter(|event| asked.covers(event.position)) {
        let track = |connection| {
            let subject = Subject::of_event((examined, found, event), connection);
            (event, ledger.track(subject))
        };
        let before = tracked.len();
        if let Whose::Connections(connections) = &event.whose {
            let wanted = connections
                .iter()
                .filter(|connection| asked.covers_connection(connection));
            tracked.extend(wanted.map(|connection| track(Some(&**connection))));
        }
        // One whose turn has come stays its connection's even when that is gone: the others have theirs already.
        if tracked.len() == before {
            let in_turn = asked.in_turn.as_ref().and_then(|turn| turn.connection.as_deref());
            let connection = in_turn.filter(|_| !matches!(event.whose, Whose::Refused(_)));
            tracked.push(track(connection));
        }
    }
    tracked
}

/// Whether an event waited its turn as that of a connection that it does not reach any more.
fn is_gone(event: &Event, tracked: &Tracked<'_>) -> bool {
    let (subject, whose) = (&tracked.subject, &event.whose);
    let reached = |connection: &str| match whose {
        Whose::Connections(connections) => connections.iter().any(|reached| **reached == *connection),
        _ => false,
    };
    subject.request.asked.in_turn.is_some()
        && subject.connection.is_some_and(|connection| !reached(connection))
}
