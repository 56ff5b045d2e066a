//! All connections in memory: one record each, an index by id, and an index by (integration, property, value).
//! In: connections whole. Out: borrowed views. What no event is matched by is kept apart, as JSON, or not at all.
//! Checks nothing and decrypts nothing: the writer and the reader do.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use tidegate_schemas::IntegrationId;

use super::numbers::Numbers;
use super::postings::{NONE, Place, Postings, Unlinked};
use super::record::{self, Head, Origin, Value};
use crate::entity::Connection;

/// The connections of all integrations.
#[derive(Default)]
pub(super) struct Connections {
    records: Vec<Option<Box<[u8]>>>,
    free: Vec<u32>,
    details: HashMap<u32, Box<[u8]>>,
    details_bytes: usize,
    integrations: Numbers<IntegrationId>,
    properties: Numbers<Box<str>>,
    by_id: HashTable<u32>,
    by_value: HashTable<First>,
    postings: Postings,
    hasher: DefaultHashBuilder,
}

/// The first of the connections that carry a value. Its place stands here too, and whether any may follow it, so that
/// the usual lookup, of one connection, never waits for the postings. 16 bytes: none lies across two cache lines.
#[derive(Clone, Copy)]
struct First {
    posting: u32,
    place: Place,
    /// May be said of the last one left, never left unsaid.
    is_followed: bool,
}

impl Connections {
    /// Puts `connection` in place of the one with its id. `details` is its JSON, if it is to be kept.
    pub(super) fn put(&mut self, connection: &Connection, details: Option<Box<[u8]>>) {
        self.remove(&connection.integration, &connection.id);
        let integration = self.integrations.hold(&connection.integration);
        let mut values = Vec::new();
        for (name, texts) in &connection.properties {
            for (at, text) in texts.iter().enumerate() {
                let repeated = texts.iter().take(at).any(|earlier| earlier == text);
                if !repeated && !text.is_empty() {
                    let property = self.properties.hold(&name.as_str().into());
                    values.push((self.postings.reserve(), property, text.as_str()));
                }
            }
        }
        let origin = Origin {
            integration,
            values: &values,
        };
        let (record, starts) = record::encode(connection, &origin);
        let slot = self.store(record, details);
        self.insert_id(integration, &connection.id, slot);
        for ((posting, property, text), start) in values.iter().zip(starts) {
            self.link(*posting, (integration, *property, text), Place { slot, start });
        }
    }

    /// Removes a connection; says whether it was there.
    pub(super) fn remove(&mut self, integration: &IntegrationId, id: &str) -> bool {
        let Some(slot) = self.find(integration, id) else {
            return false;
        };
        self.remove_slot(slot);
        true
    }

    /// Removes every connection of an integration.
    pub(super) fn remove_all(&mut self, integration: &IntegrationId) {
        let Some(number) = self.integrations.get(integration) else {
            return;
        };
        for slot in 0..self.slots() {
            let record = self.records.get(slot as usize).and_then(Option::as_ref);
            if record.is_some_and(|record| record::integration(record) == number) {
                self.remove_slot(slot);
            }
        }
    }

    /// The slot of a connection.
    pub(super) fn find(&self, integration: &IntegrationId, id: &str) -> Option<u32> {
        let number = self.integrations.get(integration)?;
        let hash = self.hasher.hash_one((number, id));
        let is_it = |slot: &u32| {
            let head = record::head(self.record(*slot));
            head.integration == number && head.id == id
        };
        self.by_id.find(hash, is_it).copied()
    }

    /// The slots of the connections that carry `value`; none for an empty one.
    pub(super) fn by_value(&self, integration: &IntegrationId, property: &str, value: &str) -> Slots<'_> {
        Slots {
            postings: &self.postings,
            first: self.find_value(integration, property, value),
            at: NONE,
        }
    }

    /// Whether there is a connection in `slot`.
    pub(super) fn is_taken(&self, slot: u32) -> bool {
        self.records.get(slot as usize).is_some_and(Option::is_some)
    }

    /// How many slots there are, free ones included.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.records.len()).expect("slots are numbered by u32")
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The head of the connection in a taken slot.
    pub(super) fn head(&self, slot: u32) -> Head<'_> {
        record::head(self.record(slot))
    }

    /// The id behind an integration's number.
    pub(super) fn integration(&self, number: u32) -> IntegrationId {
        *self.integrations.key(number)
    }

    /// The name behind a property's number.
    pub(super) fn property(&self, number: u32) -> &str {
        self.properties.key(number)
    }

    /// The JSON kept beside the connection in `slot`.
    pub(super) fn details(&self, slot: u32) -> Option<&[u8]> {
        self.details.get(&slot).map(AsRef::as_ref)
    }

    /// Heap bytes of connections and indexes, and apart from them of the details.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let records: usize = self.records.iter().flatten().map(|record| record.len()).sum();
        let slots = self.records.capacity() * size_of::<Option<Box<[u8]>>>()
            + self.free.capacity() * size_of::<u32>();
        let tables = self.by_id.allocation_size() + self.by_value.allocation_size();
        let details = self.details.allocation_size() + self.details_bytes;
        (records + slots + tables + self.postings.bytes(), details)
    }

    fn record(&self, slot: u32) -> &[u8] {
        let record = self.records.get(slot as usize).and_then(Option::as_deref);
        record.expect("the indexes name taken slots alone")
    }

    fn store(&mut self, record: Box<[u8]>, details: Option<Box<[u8]>>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.records.push(None);
            self.slots() - 1
        });
        if let Some(place) = self.records.get_mut(slot as usize) {
            *place = Some(record);
        }
        if let Some(details) = details {
            self.details_bytes += details.len();
            self.details.insert(slot, details);
        }
        slot
    }

    fn insert_id(&mut self, integration: u32, id: &str, slot: u32) {
        let Self {
            by_id,
            records,
            hasher,
            ..
        } = self;
        let rehash = |slot: &u32| {
            let record = records.get(*slot as usize).and_then(Option::as_deref);
            let head = record::head(record.expect("the indexes name taken slots alone"));
            hasher.hash_one((head.integration, head.id))
        };
        by_id.insert_unique(hasher.hash_one((integration, id)), slot, rehash);
    }

    fn find_value(&self, integration: &IntegrationId, property: &str, value: &str) -> Option<First> {
        let key = (
            self.integrations.get(integration)?,
            self.properties.get(property)?,
            value,
        );
        let hash = self.hasher.hash_one(key);
        let found = self
            .by_value
            .find(hash, |first| key_at(&self.records, first.place) == key);
        found.copied()
    }

    fn link(&mut self, posting: u32, key: (u32, u32, &str), place: Place) {
        let Self {
            by_value,
            postings,
            records,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(key);
        let new = First {
            posting,
            place,
            is_followed: false,
        };
        if let Some(first) = by_value.find_mut(hash, |first| key_at(records, first.place) == key) {
            postings.link(posting, place, first.posting);
            *first = First {
                is_followed: true,
                ..new
            };
            return;
        }
        postings.link(posting, place, NONE);
        by_value.insert_unique(hash, new, |first| hasher.hash_one(key_at(records, first.place)));
    }

    fn unlink(&mut self, integration: u32, value: &Value<'_>) {
        let hash = self.hasher.hash_one((integration, value.property, value.text));
        let is_it = |first: &First| first.posting == value.posting;
        match self.postings.unlink(value.posting) {
            Unlinked::Inner => {}
            Unlinked::First { next } => {
                let new = First {
                    posting: next,
                    place: self.postings.place(next),
                    is_followed: self.postings.next(next) != NONE,
                };
                if let Some(first) = self.by_value.find_mut(hash, is_it) {
                    *first = new;
                }
            }
            Unlinked::Last => {
                if let Ok(entry) = self.by_value.find_entry(hash, is_it) {
                    entry.remove();
                }
            }
        }
        self.properties.release(value.property);
    }

    fn remove_slot(&mut self, slot: u32) {
        let Some(record) = self.records.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        let head = record::head(&record);
        let hash = self.hasher.hash_one((head.integration, head.id));
        if let Ok(entry) = self.by_id.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        for value in head.values() {
            self.unlink(head.integration, &value);
        }
        self.integrations.release(head.integration);
        if let Some(details) = self.details.remove(&slot) {
            self.details_bytes -= details.len();
        }
        self.free.push(slot);
    }
}

fn key_at(records: &[Option<Box<[u8]>>], place: Place) -> (u32, u32, &str) {
    let record = records.get(place.slot as usize).and_then(Option::as_deref);
    let record = record.expect("the indexes name taken slots alone");
    let value = record::value_at(record, place.start);
    (record::integration(record), value.property, value.text)
}

/// The slots of the connections that carry a value.
#[derive(Clone)]
pub(super) struct Slots<'a> {
    postings: &'a Postings,
    first: Option<First>,
    /// The posting that goes on behind the first.
    at: u32,
}

impl Iterator for Slots<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if let Some(first) = self.first.take() {
            if first.is_followed {
                self.at = self.postings.next(first.posting);
            }
            return Some(first.place.slot);
        }
        if self.at == NONE {
            return None;
        }
        let place = self.postings.place(self.at);
        self.at = self.postings.next(self.at);
        Some(place.slot)
    }
}
