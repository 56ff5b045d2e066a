//! Requests whose events are held in windows, in memory as far as the limit goes; the others are read again.
//! In: examined requests with the windows that keep one of their events. Out: the same, by window or by offset.
//! Nothing here is journalled: what is lost with the process is read again.

use std::collections::HashMap;
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

/// A request that stays for its windows.
#[derive(Debug)]
pub(crate) struct HeldRequest {
    pub examined: Examined,
    bytes: usize,
    limit: HeldLimit,
}

/// What one partition holds.
#[derive(Debug)]
pub(crate) struct Held {
    by_window: FingerprintMap<(Place, Arc<HeldRequest>)>,
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
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        self.limit.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// Nothing yet.
    pub fn within(limit: HeldLimit) -> Self {
        Self {
            by_window: FingerprintMap::default(),
            fetched: HashMap::new(),
            limit,
        }
    }

    /// Holds a request for the windows that keep one of its events, if there is room; what they kept before is let go.
    pub fn hold(&mut self, mut examined: Examined, windows: Vec<(Fingerprint, Place)>) {
        let bytes = bytes_of(&examined);
        if !self.limit.has_room(bytes) {
            for (window, _) in windows {
                self.by_window.remove(&window);
            }
            return;
        }
        detach(&mut examined);
        let request = self.request(examined, bytes);
        for (window, place) in windows {
            self.by_window.insert(window, (place, request.clone()));
        }
    }

    /// Keeps a request that was read again, until [`Held::let_go`].
    pub fn keep_fetched(&mut self, examined: Examined) {
        let bytes = bytes_of(&examined);
        let offset = examined.request.pointer.offset;
        let request = self.request(examined, bytes);
        self.fetched.insert(offset, request);
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
        self.fetched.values().map(|request| request.bytes).sum()
    }

    /// Lets go of what was read again.
    pub fn let_go(&mut self) {
        self.fetched.clear();
    }

    fn request(&self, examined: Examined, bytes: usize) -> Arc<HeldRequest> {
        self.limit.used.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(HeldRequest {
            examined,
            bytes,
            limit: self.limit.clone(),
        })
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
