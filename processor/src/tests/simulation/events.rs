//! What providers send: events about a few objects, in bursts, out of order, delivered twice under new requests, and
//! appended twice as the same request. In: chance. Out: requests in the house's log.

use std::sync::Arc;

use tidegate_schemas::{EventId, RequestId, UnixMillis};
use uuid::Uuid;

use super::house::House;
use super::random::Random;

/// An event as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub id: EventId,
    pub connection: &'static str,
    pub object: Option<&'static str>,
    pub delivery: Option<u64>,
    pub event_type: &'static str,
    pub deleted: bool,
    pub version: Option<i64>,
    pub time: Option<u64>,
    pub content: Option<u64>,
    pub received_at: UnixMillis,
    pub payload_bytes: u32,
}

/// One sends more than half of all, one seldom.
const CONNECTIONS: [&str; 7] = ["acme", "acme", "acme", "acme", "umbrella", "umbrella", "globex"];
const OBJECTS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TYPES: [&str; 4] = ["created", "changed", "changed", "urgent"];

/// Everybody who sends.
#[derive(Debug, Default)]
pub struct Source {
    requests: u64,
    deliveries: u64,
    versions: i64,
    recent: Vec<Arc<Sent>>,
}

impl Source {
    /// Sends one request of up to three events, or one of the former ones again.
    pub fn send(&mut self, house: &mut House, random: &mut Random) {
        if random.one_in(30)
            && let Some(again) = house.some_request(random)
        {
            // Appended twice, because an acknowledgement was lost.
            house.append(again);
            return;
        }
        self.requests += 1;
        let request = RequestId(Uuid::from_u128(u128::from(self.requests)));
        let events = random.below(3) + 1;
        let mut bundle = Vec::new();
        for position in 0..events {
            let sent = self.event((request, position as u32), house.wall(), random);
            bundle.push(sent);
        }
        house.append(bundle);
    }

    fn event(
        &mut self,
        (request, position): (RequestId, u32),
        now: UnixMillis,
        random: &mut Random,
    ) -> Arc<Sent> {
        let connection = *random.one_of(&CONNECTIONS);
        let id = EventId::derive(request, position, Some(connection));
        if random.one_in(12)
            && let Some(again) = self.recent.get(random.below(64) as usize)
        {
            // Redelivered by the provider, in another request.
            let id = EventId::derive(request, position, Some(again.connection));
            return Arc::new(Sent {
                id,
                received_at: now,
                ..(**again).clone()
            });
        }
        self.versions += random.below(3) as i64;
        self.deliveries += 1;
        let behind = if random.one_in(4) {
            random.below(9) as i64
        } else {
            0
        };
        let sent = Arc::new(Sent {
            id,
            connection,
            object: (!random.one_in(25)).then(|| *random.one_of(&OBJECTS)),
            delivery: (!random.one_in(8)).then_some(self.deliveries),
            event_type: random.one_of::<&str>(&TYPES),
            deleted: random.one_in(20),
            version: (!random.one_in(6)).then_some(self.versions - behind),
            time: (!random.one_in(5)).then(|| now.0 - random.below(200)),
            content: (!random.one_in(5)).then(|| random.below(3)),
            received_at: now,
            payload_bytes: 40 + random.below(80) as u32,
        });
        let place = random.below(64) as usize;
        if self.recent.len() < 64 {
            self.recent.push(sent.clone());
        } else {
            self.recent[place] = sent.clone();
        }
        sent
    }
}
