//! Names to addresses, through the operating system's resolver. One name is looked up once at a time, whoever waits
//! for it, so a name server that hangs holds one lookup per name and not one per request. Caches nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::Error;

type Found = Result<Arc<[IpAddr]>, Error>;

#[derive(Clone)]
pub(crate) struct Resolver {
    lookups: Arc<Mutex<HashMap<String, watch::Receiver<Option<Found>>>>>,
    slots: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(lookups_max: usize) -> Self {
        Self {
            lookups: Arc::default(),
            slots: Arc::new(Semaphore::new(lookups_max.max(1))),
        }
    }

    /// The addresses of `host`, which may be an address itself.
    pub(crate) async fn resolve(&self, host: &str) -> Found {
        if let Ok(address) = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
        {
            return Ok(Arc::new([address]));
        }
        let mut waiting = self.join(host);
        let found = waiting.wait_for(Option::is_some).await.map(|found| found.clone());
        match found {
            Ok(Some(found)) => found,
            // The lookup's runtime ended under it: whoever asks next starts another.
            _ => {
                self.lookups.lock().remove(host);
                Err(Error::Dns {
                    host: host.to_owned(),
                    reason: "the lookup was interrupted".to_owned(),
                })
            }
        }
    }

    /// Joins the lookup of `host` that is under way, or starts one.
    fn join(&self, host: &str) -> watch::Receiver<Option<Found>> {
        let mut lookups = self.lookups.lock();
        if let Some(under_way) = lookups.get(host) {
            return under_way.clone();
        }
        let (answer, waiting) = watch::channel(None);
        lookups.insert(host.to_owned(), waiting.clone());
        let (resolver, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            let found = resolver.ask_system(&host).await;
            resolver.lookups.lock().remove(&host);
            // Nobody waits any more when every caller's time ran out.
            answer.send_replace(Some(found));
        });
        waiting
    }

    async fn ask_system(&self, host: &str) -> Found {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        let dns = |reason: String| Error::Dns {
            host: host.to_owned(),
            reason,
        };
        let found = tokio::net::lookup_host((host, 0))
            .await
            .map_err(|error| dns(error.to_string()))?;
        let addresses: Arc<[IpAddr]> = found.map(|address| address.ip()).collect();
        if addresses.is_empty() {
            Err(dns("it has no address".to_owned()))
        } else {
            Ok(addresses)
        }
    }
}
