//! A burst that a few lines of TOML describe. In: the text. Out: its events, the same ones for the same text every time.
//! Reads no clock and no other randomness than its seed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tidegate_registry::manifest::FloodFacts;
use tidegate_schemas::{EventId, IntegrationId, UnixMillis};
use uuid::Uuid;

use super::Event;

/// How many events a burst may have: they are all held in memory.
const EVENTS_MAX: u32 = 10_000_000;
/// The virtual clock's first moment: 2026-01-01T00:00:00Z.
const BEGINS: UnixMillis = UnixMillis(1_767_225_600_000);
/// A repeated delivery is one of so many before it.
const REPEATS_BACK: u64 = 20;

/// The description.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Burst {
    /// How many events.
    pub events: u32,
    /// About how many objects.
    pub objects: u32,
    /// Of how many connections, which share the objects out.
    pub connections: u32,
    /// Events a second, on average; the gaps between them vary from none to twice the average.
    pub rate: f64,
    /// Their types, taken at random.
    pub types: Vec<String>,
    /// Whether events carry their object's version.
    pub versions: bool,
    /// Which share of them is delivered a second time, under the same delivery id.
    pub repeats: f64,
    /// Which share comes late, with a version that was overtaken.
    pub late: f64,
    /// Which share leaves the object as it was.
    pub unchanged: f64,
    /// Which share says that the object is gone.
    pub deleted: f64,
    /// Bytes of each payload.
    pub payload_bytes: u32,
    /// Another seed is another burst of the same kind.
    pub seed: u64,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            events: 100,
            objects: 5,
            connections: 1,
            rate: 10.0,
            types: vec!["object.changed".to_owned()],
            versions: true,
            repeats: 0.0,
            late: 0.0,
            unchanged: 0.0,
            deleted: 0.0,
            payload_bytes: 1_000,
            seed: 1,
        }
    }
}

/// What is known of an object while the burst is made.
#[derive(Debug, Clone, Copy, Default)]
struct Object {
    version: i64,
    state: u64,
    state_before: u64,
}

impl Burst {
    /// Reads a description. `name` names it in errors.
    ///
    /// # Errors
    /// It is no TOML, names something unknown, or a number is out of range.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let burst: Self = toml::from_str(text)
            .with_context(|| format!("{name} describes no burst; `tidegate simulate --help` shows one"))?;
        burst
            .check()
            .with_context(|| format!("{name} describes no burst"))?;
        Ok(burst)
    }

    fn check(&self) -> anyhow::Result<()> {
        for (field, value, max) in [
            ("events", self.events, EVENTS_MAX),
            ("objects", self.objects, EVENTS_MAX),
            ("connections", self.connections, EVENTS_MAX),
        ] {
            if value == 0 || value > max {
                bail!("`{field}` is {value}: give 1 to {max}");
            }
        }
        if !(self.rate > 0.0 && self.rate <= 1e6) {
            bail!(
                "`rate` is {}: give more than 0 and at most 1000000 events a second",
                self.rate
            );
        }
        if self.types.is_empty() {
            bail!("`types` is empty: name at least one type of event");
        }
        let shares = [
            ("repeats", self.repeats),
            ("late", self.late),
            ("unchanged", self.unchanged),
            ("deleted", self.deleted),
        ];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                bail!("`{field}` is {share}: give a share from 0 to 1");
            }
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if sum > 1.0 {
            bail!("`repeats`, `late`, `unchanged` and `deleted` together are {sum}: more than every event");
        }
        if self.late > 0.0 && !self.versions {
            bail!("`late` needs `versions = true`: without a version nothing tells that an event is late");
        }
        Ok(())
    }

    /// What a policy can go by.
    #[must_use]
    pub fn facts(&self) -> FloodFacts {
        FloodFacts {
            delivery_id: true,
            object_key: true,
            rank: self.versions,
            content: true,
        }
    }

    /// Its events, in the order in which they come.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut random = Random(self.seed);
        let mut objects = vec![Object::default(); self.objects as usize];
        let names = |what: &str, count: usize| -> Vec<Arc<str>> {
            (1..=count).map(|n| format!("{what}-{n}").into()).collect()
        };
        let connections = names("connection", self.connections as usize);
        let types: Vec<Arc<str>> = self.types.iter().map(|name| name.as_str().into()).collect();
        let key: Arc<str> = "burst".into();
        let mut events: Vec<Event> = Vec::with_capacity(self.events as usize);
        let mut after = 0.0;
        for n in 0..u64::from(self.events) {
            let at = BEGINS.after(Duration::from_secs_f64(after));
            after += random.share() * 2.0 / self.rate;
            let id = EventId(Uuid::from_u128((u128::from(at.0) << 80) | u128::from(n + 1)));
            let kind = random.share();
            if kind < self.repeats && n > 0 {
                let back = random.below(REPEATS_BACK.min(n)) + 1;
                let again = events[(n - back) as usize].clone();
                events.push(Event {
                    id,
                    received_at: at,
                    ..again
                });
                continue;
            }
            let place = random.below(u64::from(self.objects)) as usize;
            let (late, gone) = self.turn(&mut objects[place], kind, n + 1);
            let object = objects[place];
            events.push(Event {
                id,
                integration: IntegrationId(Uuid::from_u128(1)),
                integration_key: key.clone(),
                connection: connections.get(place % connections.len()).cloned(),
                event_type: types[random.below(types.len() as u64) as usize].clone(),
                received_at: at,
                delivery_id: Some(format!("delivery-{}", n + 1)),
                object_key: Some(format!("object/{}", place + 1)),
                version: self.versions.then_some(object.version - i64::from(late)),
                time: None,
                deleted: gone,
                content: Some(if late { object.state_before } else { object.state }),
                payload_bytes: self.payload_bytes,
            });
        }
        events
    }

    /// What an event does to its object; whether it comes late, and whether the object is gone.
    fn turn(&self, object: &mut Object, kind: f64, state: u64) -> (bool, bool) {
        let late = kind < self.repeats + self.late && object.version > 1;
        let after_late = self.repeats + self.late;
        let unchanged =
            !late && object.version > 0 && (after_late..after_late + self.unchanged).contains(&kind);
        let after_unchanged = after_late + self.unchanged;
        let gone = (after_unchanged..after_unchanged + self.deleted).contains(&kind);
        if !late {
            object.version += 1;
        }
        if !late && !unchanged {
            object.state_before = object.state;
            object.state = state;
        }
        (late, gone)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to just below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float")]
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to just below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_out_of_range_names_its_field() {
        let check = |text: &str, expected: &str| {
            let error = Burst::parse("b.toml", text).expect_err(text);
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        };
        check("events = 0", "`events` is 0");
        check("rate = 0.0", "`rate` is 0");
        check("types = []", "`types` is empty");
        check("repeats = 1.5", "`repeats` is 1.5");
        check("repeats = 0.6\nlate = 0.6", "together are 1.2");
        check("late = 0.1\nversions = false", "`late` needs");
        check("evnts = 5", "unknown field `evnts`");
    }

    #[test]
    fn the_same_seed_is_the_same_burst() {
        let burst = Burst {
            repeats: 0.2,
            late: 0.2,
            unchanged: 0.2,
            deleted: 0.1,
            ..Burst::default()
        };
        let told = |seed: u64| {
            format!(
                "{:?}",
                Burst {
                    seed,
                    ..burst.clone()
                }
                .events()
            )
        };
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
        let events = burst.events();
        assert_eq!(events.len(), 100);
        assert!(events.is_sorted_by_key(|event| event.received_at));
        let ids: std::collections::BTreeSet<_> =
            events.iter().map(|event| event.delivery_id.clone()).collect();
        assert!(
            (70..95).contains(&ids.len()),
            "a fifth is repeated: {}",
            ids.len()
        );
        assert!(events.iter().any(|event| event.deleted));
    }
}
