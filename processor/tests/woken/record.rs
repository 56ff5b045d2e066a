//! What came of the requests, read from the topics as anybody would: rows from `outcomes`, events from `events`, and the
//! journals. In: the ids of what was appended. Out: what is missing, or that nothing is spoiled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;
use tidegate_broker::{Broker, Message, Reader};
use tidegate_schemas::{
    EventId, EventMeta, EventRow, JournalKind, JournalMeta, Metadata as _, Outcome, RequestId, Topic,
};

use crate::world::{BATCH, PARTITIONS};

/// The rows that came, beside the requests they are about.
pub struct Record {
    broker: Broker,
    outcomes: Reader,
    rows: BTreeMap<RequestId, Vec<EventRow>>,
    pub routed: BTreeSet<RequestId>,
    pub waiting: BTreeSet<RequestId>,
}

impl Record {
    pub fn of(broker: &Broker) -> Record {
        Record {
            broker: broker.clone(),
            outcomes: broker.reader(Topic::Outcomes, 0, 0),
            rows: BTreeMap::new(),
            routed: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }

    /// Reads the rows that come within a moment.
    pub async fn read(&mut self, moment: Duration) {
        let next = self.outcomes.next(1000, 8 << 20);
        let Ok(messages) = tokio::time::timeout(moment, next).await else {
            return;
        };
        for message in messages.unwrap() {
            for line in std::str::from_utf8(&message.value).unwrap().lines() {
                let row: EventRow = serde_json::from_str(line).unwrap();
                self.rows.entry(row.request_id).or_default().push(row);
            }
        }
    }

    /// What has no row yet and should have one.
    pub fn undecided(&self) -> Option<String> {
        let missing = self.routed.iter().filter(|id| !self.rows.contains_key(id));
        let (count, first) = (missing.clone().count(), missing.clone().next()?);
        Some(format!("{count} requests are undecided, {first} among them"))
    }

    /// What waited is to be decided too from now on.
    pub fn wait_no_longer(&mut self) {
        for id in &self.waiting {
            assert!(!self.rows.contains_key(id), "{id} did not wait");
        }
        self.routed.append(&mut self.waiting);
    }

    /// Every request has one event with one outcome; the events of one object lie in order, and few of them twice.
    pub async fn is_sound(&self, stops: usize) {
        let appended: BTreeSet<&RequestId> = self.routed.iter().collect();
        assert_eq!(self.rows.keys().collect::<BTreeSet<_>>(), appended);
        let mut true_rows = BTreeMap::new();
        for (request, rows) in &self.rows {
            let last = rows.iter().max_by_key(|row| row.commit).unwrap();
            let of_last = rows.iter().filter(|row| row.commit == last.commit);
            assert_eq!(of_last.count(), 1, "{request} has two true rows: {rows:#?}");
            for row in rows {
                assert_eq!(row.event_id, last.event_id, "{request} has two events");
                assert_eq!(row.outcome, Outcome::Routed, "{request}: {row:#?}");
            }
            true_rows.insert(last.event_id, last.commit);
        }
        let events = self.events().await;
        in_order(&events);
        let mut times: HashMap<EventId, usize> = HashMap::new();
        for (meta, _) in &events {
            *times.entry(meta.id).or_default() += 1;
        }
        assert_eq!(
            times.keys().collect::<BTreeSet<_>>(),
            true_rows.keys().collect::<BTreeSet<_>>(),
            "every event is there, and no other"
        );
        let (repeats, bound) = (events.len() - times.len(), stops * PARTITIONS as usize * BATCH);
        println!(
            "counted: {} events, {repeats} of them again ({bound} at most)",
            times.len()
        );
        assert!(
            repeats <= bound,
            "{repeats} repeats, {bound} are promised at most"
        );
    }

    async fn events(&self) -> Vec<(EventMeta, Message)> {
        let mut events = Vec::new();
        for partition in 0..PARTITIONS {
            for message in all(&self.broker, Topic::Events, partition).await {
                events.push((EventMeta::decode(&message.meta).unwrap(), message));
            }
        }
        events
    }
}

/// The first of each event of an object comes in the order in which they were appended.
fn in_order(events: &[(EventMeta, Message)]) {
    let mut seen = BTreeSet::new();
    let mut last: HashMap<(u32, &[u8]), u64> = HashMap::new();
    for (meta, message) in events {
        let body: Value = serde_json::from_slice(&message.value).unwrap();
        let Some(number) = body["number"].as_u64() else {
            continue;
        };
        if !seen.insert(meta.id) {
            continue;
        }
        let before = last.insert((message.partition, &message.key), number);
        assert!(
            before.is_none_or(|before| before < number),
            "{number} comes behind {before:?}: {meta:?}"
        );
    }
}

/// Everything in a partition.
async fn all(broker: &Broker, topic: Topic, partition: u32) -> Vec<Message> {
    let there = broker.latest(topic).await.unwrap()[partition as usize].clone();
    let mut reader = broker.reader(topic, partition, there.start);
    let mut messages = Vec::new();
    while messages
        .last()
        .map_or(there.start, |last: &Message| last.offset + 1)
        < there.end
    {
        messages.extend(reader.next(1000, 8 << 20).await.unwrap());
    }
    messages
}

async fn journal(broker: &Broker, partition: u32) -> Vec<(u64, JournalMeta)> {
    let messages = all(broker, Topic::State, partition).await.into_iter();
    messages
        .map(|message| (message.offset, JournalMeta::decode(&message.meta).unwrap()))
        .collect()
}

/// Each owner wrote one offset after the other, and at most one message more, by which it found out that it had lost;
/// among the messages that count the input never goes back.
pub async fn journal_is_sound(broker: &Broker, partition: u32) {
    let mut owners: HashMap<u64, (u64, bool)> = HashMap::new();
    let (mut epoch, mut input) = (0, 0);
    for (offset, meta) in journal(broker, partition).await {
        if meta.kind == JournalKind::Open {
            epoch = offset;
            owners.insert(epoch, (offset, false));
            continue;
        }
        // The beginning of an owner's time may have been trimmed.
        let (last, lost) = owners.entry(meta.epoch).or_insert((offset - 1, false));
        assert!(
            !*lost,
            "partition {partition}: {meta:?} at {offset} was written by who had lost"
        );
        *lost = offset != *last + 1;
        *last = offset;
        if meta.epoch >= epoch {
            assert!(
                meta.input >= input,
                "partition {partition}: {meta:?} at {offset} goes back from {input}"
            );
            input = meta.input;
        }
    }
}

/// The input offset that the journal has reached.
pub async fn input_reached(broker: &Broker, partition: u32) -> u64 {
    let mut epoch = 0;
    let mut input = 0;
    for (offset, meta) in journal(broker, partition).await {
        match meta.kind {
            JournalKind::Open => epoch = offset,
            JournalKind::Commit if meta.epoch >= epoch => input = meta.input,
            JournalKind::Commit => {}
        }
    }
    input
}
