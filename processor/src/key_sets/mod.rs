//! The keys that were fetched, as verifying looks them up. In: what [`fetch`] brings. Out: keys by id, or that there
//! are none; who waits is told of every fetch. Looks up without waiting and fetches nothing itself.

pub(crate) mod fetch;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tidegate_providers::{FetchedKey, KeyKind, KeyLookup, KeyRequest, KeySets};
use tidegate_schemas::UnixMillis;
use tokio::sync::{mpsc, watch};

/// A store of fetched keys; a cheap handle.
#[derive(Clone)]
pub(crate) struct KeyStore {
    shared: Arc<Shared>,
}

/// Where a set stands, and what it is.
pub(crate) type Place = (KeyKind, String);

struct Shared {
    sets: RwLock<Sets>,
    wants: mpsc::Sender<KeyRequest>,
    fetches: watch::Sender<u64>,
}

#[derive(Default)]
struct Sets {
    by_place: HashMap<Place, FetchedSet>,
    failures: HashMap<Place, String>,
}

/// One fetched set.
struct FetchedSet {
    all: Arc<[FetchedKey]>,
    by_id: HashMap<String, Arc<[FetchedKey]>>,
    fetched_at: UnixMillis,
    fetch: u64,
    used: AtomicBool,
}

impl KeyStore {
    /// An empty store, and what is wanted of it.
    pub fn new(wants_max: usize) -> (Self, mpsc::Receiver<KeyRequest>) {
        let (wants, wanted) = mpsc::channel(wants_max.max(1));
        let shared = Shared {
            sets: RwLock::default(),
            wants,
            fetches: watch::Sender::new(0),
        };
        let store = Self {
            shared: Arc::new(shared),
        };
        (store, wanted)
    }

    /// Asks for a key. When too many are asked for at once the question is dropped: whoever waits asks again.
    pub fn want(&self, request: &KeyRequest) {
        if self.shared.wants.try_send(request.clone()).is_err() {
            tracing::warn!(
                url = request.url,
                "too many keys are wanted at once, this one is asked for later"
            );
        }
    }

    /// Counts the fetches that succeeded, for whoever waits for one.
    pub fn fetches(&self) -> watch::Receiver<u64> {
        self.shared.fetches.subscribe()
    }

    /// Whether something was fetched from `url` after the fetch numbered `seen`.
    pub fn fetched_after(&self, url: &str, seen: u64) -> bool {
        let sets = self.shared.sets.read();
        let newer = |(place, set): (&Place, &FetchedSet)| place.1 == url && set.fetch > seen;
        sets.by_place.iter().any(newer)
    }

    /// Why the last fetch from `url` failed, if it did.
    pub fn last_failure(&self, url: &str) -> Option<String> {
        let sets = self.shared.sets.read();
        sets.failures
            .iter()
            .find(|(place, _)| place.1 == url)
            .map(|(_, failure)| failure.clone())
    }

    fn store(&self, place: Place, keys: Vec<FetchedKey>, fetched_at: UnixMillis) {
        let mut by_id: HashMap<String, Vec<FetchedKey>> = HashMap::new();
        for key in &keys {
            if let Some(id) = &key.key_id {
                by_id.entry(id.clone()).or_default().push(key.clone());
            }
        }
        let mut sets = self.shared.sets.write();
        sets.failures.remove(&place);
        self.shared.fetches.send_modify(|fetches| *fetches += 1);
        let set = FetchedSet {
            all: keys.into(),
            by_id: by_id.into_iter().map(|(id, keys)| (id, keys.into())).collect(),
            fetched_at,
            fetch: *self.shared.fetches.borrow(),
            used: AtomicBool::new(false),
        };
        sets.by_place.insert(place, set);
    }

    fn store_failure(&self, place: Place, failure: String) {
        self.shared.sets.write().failures.insert(place, failure);
    }

    /// Forgets sets older than `oldest` and, beyond `sets_max`, the oldest; the places to be fetched again because
    /// they were used since their fetch, which was before `fresh`.
    fn tidy(&self, (oldest, fresh): (UnixMillis, UnixMillis), sets_max: usize) -> Vec<Place> {
        let mut sets = self.shared.sets.write();
        sets.by_place.retain(|_, set| set.fetched_at >= oldest);
        if sets.by_place.len() > sets_max {
            let mut times: Vec<UnixMillis> = sets.by_place.values().map(|set| set.fetched_at).collect();
            times.sort_unstable();
            let cut = times.len() - sets_max;
            let first_kept = times.get(cut).copied().unwrap_or_default();
            sets.by_place.retain(|_, set| set.fetched_at >= first_kept);
        }
        let Sets { by_place, failures } = &mut *sets;
        if failures.len() > sets_max {
            failures.clear();
        }
        let due = by_place
            .iter()
            .filter(|(_, set)| set.fetched_at < fresh && set.used.swap(false, Ordering::Relaxed));
        due.map(|(place, _)| place.clone()).collect()
    }

    fn fetched_at(&self, place: &Place) -> Option<UnixMillis> {
        self.shared
            .sets
            .read()
            .by_place
            .get(place)
            .map(|set| set.fetched_at)
    }
}

impl KeySets for KeyStore {
    fn lookup(&self, request: &KeyRequest) -> KeyLookup {
        let place = (request.kind.clone(), request.url.clone());
        let sets = self.shared.sets.read();
        let Some(set) = sets.by_place.get(&place) else {
            return KeyLookup::NotFetched;
        };
        set.used.store(true, Ordering::Relaxed);
        let found = match &request.key_id {
            None => Some(&set.all),
            Some(id) => set.by_id.get(id),
        };
        match found {
            Some(keys) => KeyLookup::Found(keys.clone()),
            None => KeyLookup::KeyIdUnknown {
                fetched_at: set.fetched_at,
            },
        }
    }
}
