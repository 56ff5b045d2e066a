//! Fetches the keys that verifying wants: one fetch at a time per address, under the rule of HTTP out, limited in time,
//! size and number; again after a failure, again when a set grows old. In: what is wanted. Out: sets in the store.
//! Verifies nothing.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use tidegate_egress::{Client, Limits};
use tidegate_providers::{FetchedKey, KeyDocument, KeyKind, KeyRequest};
use tidegate_schemas::UnixMillis;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{KeyStore, Place};
use crate::config::KeysConfig;
use crate::metrics;

/// How often old sets are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How many addresses may be asked for one key: an OpenID configuration and the set that it names.
const HOPS_MAX: usize = 2;

/// Fetches what is wanted until it is cancelled.
pub(crate) struct Fetcher {
    store: KeyStore,
    client: Client,
    config: KeysConfig,
    /// How long a failing address is tried again after it was wanted last.
    wanted_for: Duration,
    wanted: HashMap<Place, Want>,
    running: JoinSet<(Place, UnixMillis, Result<Vec<FetchedKey>, String>)>,
    busy: HashSet<Place>,
}

struct Want {
    due: Instant,
    until: Instant,
    failures: u32,
}

impl Fetcher {
    pub fn new(store: KeyStore, client: Client, (config, wanted_for): (KeysConfig, Duration)) -> Self {
        Self {
            store,
            client,
            config,
            wanted_for,
            wanted: HashMap::new(),
            running: JoinSet::new(),
            busy: HashSet::new(),
        }
    }

    pub async fn run(mut self, mut wants: mpsc::Receiver<KeyRequest>, stop: CancellationToken) {
        let mut tidy_at = Instant::now() + TIDY_EVERY;
        loop {
            let due = self
                .wanted
                .values()
                .map(|want| want.due)
                .min()
                .unwrap_or(tidy_at)
                .min(tidy_at);
            let room = self.running.len() < self.config.fetches_max.max(1);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(request) = wants.recv() => self.want((request.kind, request.url)),
                Some(ended) = self.running.join_next() => match ended {
                    Ok((place, began_at, fetched)) => self.ended(place, began_at, fetched),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = sleep_until(due), if room || due == tidy_at => {}
            }
            if Instant::now() >= tidy_at {
                tidy_at = Instant::now() + TIDY_EVERY;
                self.tidy();
            }
            self.start_due();
        }
    }

    /// Notes an address down; one that was fetched just now waits its turn.
    fn want(&mut self, place: Place) {
        let now = Instant::now();
        let until = now + self.wanted_for;
        if let Some(want) = self.wanted.get_mut(&place) {
            want.until = until;
            return;
        }
        if self.busy.contains(&place) || self.wanted.len() >= self.config.sets_max {
            return;
        }
        let since = self.store.fetched_at(&place).map(|at| wall_clock().since(at));
        let wait = since.map_or(Duration::ZERO, |since| {
            self.config.refetch_after().saturating_sub(since)
        });
        let due = now + wait;
        self.wanted.insert(
            place,
            Want {
                due,
                until,
                failures: 0,
            },
        );
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < self.config.fetches_max.max(1) {
            let next = self
                .wanted
                .iter()
                .filter(|(place, want)| want.due <= now && !self.busy.contains(*place));
            let Some(place) = next
                .min_by_key(|(_, want)| want.due)
                .map(|(place, _)| place.clone())
            else {
                return;
            };
            self.busy.insert(place.clone());
            // Due again only if this fetch fails.
            if let Some(want) = self.wanted.get_mut(&place) {
                want.due = now + self.config.timeout() * 4;
            }
            let (client, config) = (self.client.clone(), self.config.clone());
            self.running.spawn(async move {
                let began_at = wall_clock();
                let fetched = fetch(&client, &config, &place).await;
                (place, began_at, fetched)
            });
        }
    }

    fn ended(&mut self, place: Place, began_at: UnixMillis, fetched: Result<Vec<FetchedKey>, String>) {
        self.busy.remove(&place);
        metrics::count_fetch(fetched.is_ok());
        match fetched {
            Ok(keys) => {
                self.wanted.remove(&place);
                self.store.store(place, keys, began_at);
            }
            Err(failure) => {
                tracing::warn!(url = place.1, failure, "a key set cannot be fetched");
                self.store.store_failure(place.clone(), failure);
                let now = Instant::now();
                if let Some(want) = self.wanted.get_mut(&place) {
                    let pause = self.config.retry_after() * 2u32.saturating_pow(want.failures.min(16));
                    want.failures += 1;
                    want.due = now + pause.min(self.config.refetch_after());
                    if want.until < now {
                        self.wanted.remove(&place);
                    }
                }
            }
        }
    }

    fn tidy(&mut self) {
        let now = wall_clock();
        let ages = (now.before(self.config.stale()), now.before(self.config.fresh()));
        for place in self.store.tidy(ages, self.config.sets_max) {
            self.want(place);
        }
    }
}

/// Fetches one place, by way of an OpenID configuration where it is one.
async fn fetch(client: &Client, config: &KeysConfig, (kind, url): &Place) -> Result<Vec<FetchedKey>, String> {
    let limits = Limits {
        timeout: config.timeout(),
        answer_bytes_max: config.answer_bytes_max,
    };
    let (mut kind, mut url) = (kind.clone(), url.clone());
    for _ in 0..HOPS_MAX {
        let target = client.check_url(&url).map_err(|error| error.to_string())?;
        let document = client
            .fetch(&target, limits)
            .await
            .map_err(|error| error.to_string())?;
        match kind.read(&document).map_err(|refusal| refusal.to_string())? {
            KeyDocument::Keys(keys) => return Ok(keys),
            KeyDocument::Next(key_set) => (kind, url) = (KeyKind::Jwks, key_set),
        }
    }
    Err("the openid configuration names another one instead of a key set".to_owned())
}

fn wall_clock() -> UnixMillis {
    SystemTime::now().into()
}
