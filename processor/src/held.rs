//! Requests whose events are held in windows, in memory as far as the limit goes; the others are read again.
//! In: examined requests with the windows that keep one of their events, and at a batch's end what each window still keeps.
//! Out: the same, by window or by offset. Nothing here is journalled: what is lost with the process is read again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::event::{Examined, Finding};
use crate::flood::{Fingerprint, FingerprintMap};
use crate::steps::debounce::Place;

/// What a request takes beside its body, in bytes, about.
const REQUEST_BYTES: usize = 2048;

/// How much all partitions may hold.
#[derive(Debug, Clone)]
pub(crate) struct HeldLimit {
    bytes_max: usize,
    used: Arc<AtomicUsize>,
}

/// A request that is being decided, or stays for its windows.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    pub examined: Examined,
    /// The room that it takes, once it stays.
    room: Option<Room>,
}

/// Room that is given back when it is dropped.
#[derive(Debug)]
struct Room {
    bytes: usize,
    limit: HeldLimit,
}

/// What one partition holds.
#[derive(Debug)]
pub(crate) struct Held {
    by_window: FingerprintMap<(Place, Arc<HeldRequest>)>,
    /// The windows of which something is held since the last batch.
    fresh: Vec<Fingerprint>,
    fetched: HashMap<u64, Arc<HeldRequest>>,
    limit: HeldLimit,
}

impl HeldLimit {
    /// So many bytes for all partitions together.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            used: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed) + bytes <= self.bytes_max
    }

    fn take(&self, bytes: usize) -> Room {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Room {
            bytes,
            limit: self.clone(),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.limit.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl From<Examined> for HeldRequest {
    fn from(examined: Examined) -> Self {
        Self { examined, room: None }
    }
}

impl Held {
    /// Nothing yet.
    pub fn within(limit: HeldLimit) -> Self {
        Self {
            by_window: FingerprintMap::default(),
            fresh: Vec::new(),
            fetched: HashMap::new(),
            limit,
        }
    }

    /// Holds a request for a window that keeps this event of it, until [`Held::settle`]; what the window kept before is
    /// let go.
    pub fn hold(&mut self, request: &Arc<HeldRequest>, (window, place): (Fingerprint, Place)) {
        self.by_window.insert(window, (place, request.clone()));
        self.fresh.push(window);
    }

    /// Keeps what was held since the last call for those windows that `keep` this event still, as far as there is room.
    pub fn settle(&mut self, keeps: impl Fn(Fingerprint, Place) -> bool) {
        let mut shared = Vec::new();
        for window in self.fresh.drain(..) {
            let Entry::Occupied(mut entry) = self.by_window.entry(window) else {
                continue;
            };
            let (place, request) = entry.get_mut();
            if request.room.is_some() {
                // It was settled just now: a window that held several is named as often.
                continue;
            }
            if !keeps(window, *place) {
                entry.remove();
            } else {
                match Arc::get_mut(request).map(|request| request.settle(&self.limit)) {
                    Some(true) => {}
                    Some(false) => drop(entry.remove()),
                    None => {
                        let (place, request) = entry.remove();
                        shared.push((place, window, request));
                    }
                }
            }
        }
        self.settle_shared(shared);
    }

    /// The same for requests of which several windows keep an event.
    fn settle_shared(&mut self, mut shared: Vec<(Place, Fingerprint, Arc<HeldRequest>)>) {
        shared.sort_by_key(|(place, ..)| place.offset);
        let mut shared = shared.into_iter().peekable();
        while let Some((place, window, mut request)) = shared.next() {
            let mut windows = vec![(window, place)];
            while let Some((place, window, _)) = shared.next_if(|(other, ..)| other.offset == place.offset) {
                windows.push((window, place));
            }
            // The others of its windows have let go of it, so it can be written to.
            if Arc::get_mut(&mut request).is_some_and(|request| request.settle(&self.limit)) {
                let held = windows
                    .into_iter()
                    .map(|(window, place)| (window, (place, request.clone())));
                self.by_window.extend(held);
            }
        }
    }

    /// Keeps a request that was read again, until [`Held::let_go`].
    pub fn keep_fetched(&mut self, examined: Examined) {
        let room = self.limit.take(bytes_of(&examined));
        let offset = examined.request.pointer.offset;
        let request = HeldRequest {
            examined,
            room: Some(room),
        };
        self.fetched.insert(offset, Arc::new(request));
    }

    /// The request of a window's event, if it is at hand.
    pub fn at(&self, window: Fingerprint, place: Place) -> Option<Arc<HeldRequest>> {
        let held = self.by_window.get(&window).filter(|(held, _)| *held == place);
        held.map(|(_, request)| request)
            .or_else(|| self.fetched.get(&place.offset))
            .cloned()
    }

    /// Lets go of what a window held: it has ended.
    pub fn release(&mut self, window: Fingerprint) {
        self.by_window.remove(&window);
    }

    /// Bytes of what was read again.
    pub fn fetched_bytes(&self) -> usize {
        let rooms = self.fetched.values().filter_map(|request| request.room.as_ref());
        rooms.map(|room| room.bytes).sum()
    }

    /// Lets go of what was read again.
    pub fn let_go(&mut self) {
        self.fetched.clear();
    }
}

impl HeldRequest {
    /// Makes it stay; says whether there was room for it.
    fn settle(&mut self, limit: &HeldLimit) -> bool {
        let bytes = bytes_of(&self.examined);
        if !limit.has_room(bytes) {
            return false;
        }
        detach(&mut self.examined);
        self.room = Some(limit.take(bytes));
        true
    }
}

/// What a request takes: its body, the masked one where that is another, and the rest.
fn bytes_of(examined: &Examined) -> usize {
    let masked = match &examined.finding {
        Finding::Events(found) if found.body.as_ptr() != examined.request.body.as_ptr() => found.body.len(),
        _ => 0,
    };
    examined.request.body.len() + masked + REQUEST_BYTES
}

/// Gives a request a body of its own: as it was read it keeps everything alive that was read with it.
fn detach(examined: &mut Examined) {
    let read = std::mem::take(&mut examined.request.body);
    let own = Bytes::copy_from_slice(&read);
    if let Finding::Events(found) = &mut examined.finding {
        found.body = if found.body.as_ptr() == read.as_ptr() && found.body.len() == read.len() {
            own.clone()
        } else {
            Bytes::copy_from_slice(&found.body)
        };
    }
    examined.request.body = own;
}

#[cfg(test)]
mod tests {
    use tidegate_schemas::{Pointer, UnixMillis};

    use super::*;
    use crate::event::Refused;

    fn request(offset: u64) -> Arc<HeldRequest> {
        let pointer = Pointer { partition: 0, offset };
        let reason = tidegate_schemas::Reason::Lost;
        let examined = Examined {
            request: crate::request::Request::gone(pointer, UnixMillis(1)),
            integration: None,
            finding: Finding::Refused(Refused::new(reason, "")),
        };
        Arc::new(examined.into())
    }

    #[test]
    fn requests_stay_for_the_windows_that_keep_them_as_far_as_there_is_room() {
        let limit = HeldLimit::new(2 * REQUEST_BYTES);
        let mut held = Held::within(limit.clone());
        let used = || limit.used.load(Ordering::Relaxed) / REQUEST_BYTES;
        let windows: [Fingerprint; 5] = std::array::from_fn(|n| Fingerprint([n as u8 + 1; 12]));
        let place = |offset, position| Place { offset, position };
        // A bundle of which three windows keep an event, one of them no longer at the end.
        let bundle = request(7);
        let mut hold = |request: &Arc<HeldRequest>, window: usize, place| {
            held.hold(request, (windows[window], place));
        };
        hold(&request(6), 0, place(6, 0));
        hold(&bundle, 0, place(7, 0));
        hold(&bundle, 1, place(7, 1));
        hold(&bundle, 2, place(7, 2));
        hold(&request(8), 3, place(8, 0));
        drop(bundle);
        assert_eq!(
            used(),
            0,
            "a batch's requests are bounded by what is read at once"
        );
        held.settle(|window, _| window != windows[2]);
        assert_eq!(used(), 2, "the bundle is counted once");
        let at = |held: &Held, window: usize, place| held.at(windows[window], place).is_some();
        assert!(at(&held, 0, place(7, 0)) && at(&held, 1, place(7, 1)) && at(&held, 3, place(8, 0)));
        assert!(!at(&held, 0, place(6, 0)), "another took its place");
        assert!(!at(&held, 2, place(7, 2)), "its window does not keep it any more");
        held.hold(&request(9), (windows[4], place(9, 0)));
        assert!(at(&held, 4, place(9, 0)), "until the batch's end");
        held.settle(|_, _| true);
        assert!(!at(&held, 4, place(9, 0)), "there is no room for a third");
        assert_eq!(used(), 2);
        windows.iter().for_each(|window| held.release(*window));
        assert_eq!(used(), 0);
    }
}
