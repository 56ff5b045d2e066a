//! The events of recorded requests, found by their real definitions: split, type, delivery id, object, version, content.
//! In: requests and definitions. Out: events, and how many were filtered or malformed. Verifies nothing: that takes the
//! secrets, and what was forged was not recorded as received unless the early check is off. Whose an event is it tells by
//! what the event itself says, for there is no registry here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::bail;
use tidegate_providers::{Catalogue, Definition, Place, RawEvent, RawRequest};
use tidegate_schemas::{EnvironmentId, EventId, IntegrationId};
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Event;
use super::recording::Recorded;

/// What is found in a recording.
#[derive(Debug, Default)]
pub struct Found {
    /// Its events, in order.
    pub events: Vec<Event>,
    /// The providers that sent them, and the integration of each.
    pub integrations: BTreeMap<String, String>,
    /// How many the definitions filter.
    pub filtered: u64,
    /// How many requests cannot be read as their definition says.
    pub malformed: u64,
    /// How many events name no connection.
    pub unattributed: u64,
}

/// What finding events needs besides the requests.
pub struct Finder<'a> {
    /// The definitions.
    pub catalogue: &'a Catalogue,
    /// Each integration's constants, by key.
    pub cfg: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Whose an event is that names nobody.
    pub connection: Option<Arc<str>>,
}

/// Names that events share.
#[derive(Default)]
struct Names {
    texts: HashMap<String, Arc<str>>,
    integrations: HashMap<(EnvironmentId, String), IntegrationId>,
}

impl Names {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(text.to_owned(), shared.clone());
        shared
    }

    fn integration(&mut self, environment: EnvironmentId, key: &str) -> IntegrationId {
        let next = IntegrationId(Uuid::from_u128(self.integrations.len() as u128 + 1));
        *self
            .integrations
            .entry((environment, key.to_owned()))
            .or_insert(next)
    }
}

impl Finder<'_> {
    /// Finds the events of requests.
    ///
    /// # Errors
    /// There is no definition of a request's provider.
    pub fn find(&self, requests: &[Recorded]) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let mut names = Names::default();
        let missing: BTreeSet<&str> = requests
            .iter()
            .map(|recorded| &*recorded.meta.provider)
            .filter(|provider| self.catalogue.get(provider).is_none())
            .collect();
        if let Some(provider) = missing.first() {
            bail!(
                "there is no definition of the provider `{provider}` that the recording names: give the folder that holds \
                 it with --providers"
            );
        }
        for recorded in requests {
            self.request(recorded, &mut names, &mut found);
        }
        Ok(found)
    }

    fn request(&self, recorded: &Recorded, names: &mut Names, found: &mut Found) {
        let meta = &recorded.meta;
        let Some(definition) = self.catalogue.get(&meta.provider) else {
            return;
        };
        let none = BTreeMap::new();
        let parsed = definition.parse(RawRequest {
            method: &meta.method,
            path: &meta.path,
            query: &meta.query,
            headers: &meta.headers,
            body: &recorded.body,
            url: &meta.url,
            received_at: meta.received_at,
            cfg: self.cfg.get(&meta.integration).unwrap_or(&none),
        });
        let Ok(events) = definition.split_recorded(&parsed) else {
            found.malformed += 1;
            return;
        };
        found
            .integrations
            .insert(meta.integration.clone(), meta.provider.clone());
        for raw in &events {
            if raw.dropped.is_some() {
                found.filtered += 1;
                continue;
            }
            let event = self.event(raw, (recorded, &definition), names);
            found.unattributed += u64::from(event.connection.is_none());
            found.events.push(event);
        }
    }

    fn event(
        &self,
        raw: &RawEvent<'_>,
        (recorded, definition): (&Recorded, &Definition),
        names: &mut Names,
    ) -> Event {
        let meta = &recorded.meta;
        let named = meta.connection.as_deref();
        let named = named.or_else(|| raw.identifiers.first().map(|identifier| &*identifier.value));
        let connection = named
            .map(|name| names.text(name))
            .or_else(|| self.connection.clone());
        let (payload, within): (&[u8], &[u8]) = match &raw.payload.place {
            Place::Span(span) => (
                recorded.body.get(span.clone()).unwrap_or_default(),
                &recorded.body,
            ),
            Place::Own(own) => (own, own),
        };
        let object = raw.object.as_ref();
        let content = object.and_then(|object| {
            let content = within.get(object.content.clone()?)?;
            let hash = definition.content_hash(object.rule, content, 0);
            Some(hash.unwrap_or_else(|| xxh3_64(content)))
        });
        let by_payload = || {
            let mut text = "payload:".to_owned();
            write!(text, "{:032x}", xxh3_128(payload)).expect("a text takes more text");
            text
        };
        Event {
            id: EventId::derive(meta.id, raw.position, connection.as_deref()),
            integration: names.integration(meta.environment, &meta.integration),
            integration_key: names.text(&meta.integration),
            event_type: names.text(&raw.event_type),
            received_at: meta.received_at,
            delivery_id: if definition.dedupes_by_hash() {
                Some(by_payload())
            } else {
                raw.delivery_id.as_deref().map(str::to_owned)
            },
            object_key: object.map(|object| (*object.key).to_owned()),
            version: object.and_then(|object| object.version.as_ref()?.rank),
            time: raw.time,
            deleted: object.is_some_and(|object| object.deleted),
            content,
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            connection,
        }
    }
}
