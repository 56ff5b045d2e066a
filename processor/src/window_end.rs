//! A window that has ended: what it kept goes on to detect and route, under its own id and for all that it stood for.
//! In: the window, and its requests as far as they are at hand. Out: the kept event's row and message; a window of which
//! something must be read first is opened again. Reads nothing itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tidegate_registry::{Edge, Integration, Keep};
use tidegate_schemas::Reason;

use crate::event::{Examined, Finding, Refused, Whose};
use crate::flood::{Ended, Fingerprint};
use crate::handing_on::{At, Desk, Handed, object_of};
use crate::held::HeldRequest;
use crate::list::list_of;
use crate::metrics;
use crate::pipeline::Pipeline;
use crate::policies::Policies;
use crate::state::State;
use crate::steps::debounce::Place;
use crate::steps::route::route;
use crate::tracked::{Ledger, Subject, Verdict};

/// How soon a window is looked at again whose event cannot be verified yet.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Pipeline {
    /// Hands on what a window kept. `current` is the request that is being decided, whose event it may be.
    pub fn hand_on_window(&self, ended: Ended, current: Option<&Examined>, desk: &mut Desk<'_>) {
        let Some(kept) = ended.window.kept else {
            return end_window(&ended, desk);
        };
        let Some(requests) = requests_of(&ended, current, desk.state) else {
            // Its owner reads what is missing, and fires it then.
            return desk.state.flood.restore(ended, desk.now);
        };
        let request = requests.iter().find(|request| request.offset() == kept.offset);
        let examined = request.expect("the kept event is one of the window's").examined();
        if let Finding::Undecided(key) = &examined.finding
            && desk.now < ended.window.opened.after(self.config.key_wait())
        {
            self.keys.want(key);
            let again = desk.now.after(AGAIN_AFTER);
            return desk.state.flood.restore(ended, again);
        }
        let found = find_event(examined, kept.position, (ended.object, &*desk.state));
        match (found, &examined.integration) {
            (Some((at, connection)), Some(integration)) => {
                let list = (ended.window.keep == Keep::All).then(|| {
                    let listed = listed(&ended, &requests, desk.state);
                    list_of(at, listed)
                });
                let event = list.as_ref().unwrap_or(at.event);
                let at = At { event, ..at };
                self.hand_on_kept(&ended, (at, &**integration, connection), desk);
            }
            _ => end_lost((&ended, kept), examined, desk.ledger),
        }
        end_window(&ended, desk);
    }

    fn hand_on_kept(
        &self,
        ended: &Ended,
        (at, integration, connection): (At<'_>, &Integration, &str),
        desk: &mut Desk<'_>,
    ) {
        let coalesced = ended.coalesced();
        let event_type = &*at.event.event_type;
        let (route, policy) = {
            let tables = self.registry.read();
            let route = route(
                tables.endpoints_of(&integration.environment),
                integration,
                event_type,
            );
            let policy = Policies::now(&tables, &self.policy, (integration, connection, event_type));
            (route, policy)
        };
        let subject = Subject::of_event((at.examined, at.found, at.event), Some(connection));
        let tracked = desk.ledger.track(subject);
        let handed = Handed {
            at,
            route: &route,
            detects: policy.detect_changes,
            window: Some(ended.window.id),
            coalesced: Some(&coalesced),
            note: "",
        };
        self.hand_on(tracked, &handed, desk);
    }
}

/// A request of a window: the one at hand, or one that is held.
enum Source<'a> {
    Current(&'a Examined),
    Held(Arc<HeldRequest>),
}

impl Source<'_> {
    fn examined(&self) -> &Examined {
        match self {
            Source::Current(examined) => examined,
            Source::Held(held) => &held.examined,
        }
    }

    fn offset(&self) -> u64 {
        self.examined().request.pointer.offset
    }
}

/// The offsets of requests that a window needs and that are not at hand.
pub(crate) fn missing(ended: &Ended, state: &State) -> Vec<u64> {
    let places = places_of(ended).into_iter();
    let missing = places.filter(|place| state.held.at(ended.object, *place).is_none());
    missing.map(|place| place.offset).collect()
}

fn places_of(ended: &Ended) -> Vec<Place> {
    match (ended.window.keep, ended.window.kept) {
        (_, None) => Vec::new(),
        (Keep::All, Some(_)) => ended.members.places().collect(),
        (_, Some(kept)) => vec![kept],
    }
}

/// The requests of a window in the order of its places, one for all places in a row that lie in it; `None` when one is
/// not at hand.
fn requests_of<'a>(ended: &Ended, current: Option<&'a Examined>, state: &State) -> Option<Vec<Source<'a>>> {
    let mut requests: Vec<Source<'a>> = Vec::new();
    for place in places_of(ended) {
        if requests.last().is_some_and(|last| last.offset() == place.offset) {
            continue;
        }
        let here = current.filter(|current| current.request.pointer.offset == place.offset);
        requests.push(match here {
            Some(examined) => Source::Current(examined),
            None => Source::Held(state.held.at(ended.object, place)?),
        });
    }
    Some(requests)
}

/// The events of a list, in their order, with those requests of which each is the next or the same as the one before.
fn listed<'a>(ended: &Ended, requests: &'a [Source<'_>], state: &State) -> impl Iterator<Item = At<'a>> {
    let mut requests = requests.iter();
    let mut request = requests.next();
    ended.members.places().filter_map(move |place| {
        if request.is_some_and(|request| request.offset() != place.offset) {
            request = requests.next();
        }
        let found = find_event(request?.examined(), place.position, (ended.object, state));
        found.map(|(at, _)| at)
    })
}

/// The event at a position that is about this object, and whose it is.
fn find_event<'a>(
    examined: &'a Examined,
    position: u32,
    (object, state): (Fingerprint, &State),
) -> Option<(At<'a>, &'a str)> {
    let (Finding::Events(found), Some(integration)) = (&examined.finding, &examined.integration) else {
        return None;
    };
    let in_order = found
        .events
        .binary_search_by_key(&position, |event| event.position);
    let event = found.events.get(in_order.ok()?)?;
    let Whose::Connections(connections) = &event.whose else {
        return None;
    };
    let is_it = |connection: &&str| object_of(event, integration, (Some(connection), state)) == Some(object);
    let connection = connections.iter().map(|connection| &**connection).find(is_it)?;
    let at = At {
        examined,
        found,
        event,
    };
    Some((at, connection))
}

/// What a window kept is not there any more, is not genuine any more, or is nobody's: that is its outcome.
fn end_lost((ended, kept): (&Ended, Place), examined: &Examined, ledger: &Ledger) {
    let mut detail = String::from("what a window kept is not what it was");
    let refused = match &examined.finding {
        Finding::Refused(refused) => refused.clone(),
        Finding::Undecided(key) => {
            let _ = write!(detail, ": {} gave no key", key.url); // Writing to a String does not fail.
            Refused::new(Reason::KeyUnavailable, detail)
        }
        Finding::Events(_) => Refused::new(Reason::RequestGone, detail),
    };
    let mut request = examined.request.clone();
    request.asked.position = Some(kept.position);
    let subject = Subject {
        request: &request,
        id: ended.kept_id(),
        ..Subject::whole(examined)
    };
    let verdict = Verdict {
        window: Some(ended.window.id),
        ..(&refused).into()
    };
    ledger.track(subject).end(&verdict);
}

/// Counts what a window came to.
fn end_window(ended: &Ended, desk: &mut Desk<'_>) {
    desk.state.held.release(ended.object);
    let window = &ended.window;
    let first = u64::from(window.edge != Edge::Trailing);
    let kept = u64::from(window.kept.is_some());
    metrics::count_window(u64::from(window.count).saturating_sub(first + kept), kept);
}
