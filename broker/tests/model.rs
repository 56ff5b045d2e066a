//! The log against a plain one in memory: the same random operations, the same answers, through clean stops, kills and
//! rotations of segments.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{open_sim, record, tiny_config};
use tidegate_broker::Broker;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_schemas::{Pointer, Topic};

const PLACES: [(Topic, u32); 4] = [
    (Topic::Requests, 0),
    (Topic::Requests, 1),
    (Topic::Events, 0),
    (Topic::State, 1),
];

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<(usize, usize)>),
    Trim(usize, u64),
    ReadFrom(usize, u64, usize, usize),
    ReadPointers(usize, Vec<u64>),
    Reopen(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let place = 0..PLACES.len();
    prop_oneof![
        8 => prop::collection::vec((place.clone(), 0..700_usize), 1..5).prop_map(Operation::Append),
        1 => (place.clone(), 0..60_u64).prop_map(|(place, before)| Operation::Trim(place, before)),
        4 => (place.clone(), 0..80_u64, 1..20_usize, 1..4000_usize)
            .prop_map(|(place, from, messages, bytes)| Operation::ReadFrom(place, from, messages, bytes)),
        2 => (place, prop::collection::vec(0..80_u64, 1..6))
            .prop_map(|(place, offsets)| Operation::ReadPointers(place, offsets)),
        1 => any::<bool>().prop_map(Operation::Reopen),
    ]
}

/// The plain log.
#[derive(Default)]
struct Model {
    partitions: BTreeMap<(Topic, u32), (u64, Vec<String>)>,
    appended: usize,
}

impl Model {
    fn of(&mut self, place: (Topic, u32)) -> &mut (u64, Vec<String>) {
        self.partitions.entry(place).or_default()
    }
}

struct Subject {
    disk: SimDisk,
    broker: Option<Broker>,
    model: Model,
}

impl Subject {
    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it is open between operations")
    }

    async fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Append(sizes) => self.append(&sizes).await,
            Operation::Trim(place, before) => {
                let place = PLACES[place];
                let (start, texts) = self.model.of(place);
                *start = (*start).max(before.min(texts.len() as u64));
                self.broker().trim(place.0, place.1, before).await.unwrap();
            }
            Operation::ReadFrom(place, from, messages, bytes) => {
                self.read_from(PLACES[place], from, (messages, bytes)).await;
            }
            Operation::ReadPointers(place, offsets) => self.read_pointers(PLACES[place], &offsets).await,
            Operation::Reopen(clean) => self.reopen(clean).await,
        }
        for place in PLACES {
            let (start, texts) = self.model.of(place).clone();
            assert_eq!(
                self.broker().offsets(place.0, place.1),
                start..texts.len() as u64,
                "{place:?}"
            );
        }
    }

    async fn append(&mut self, sizes: &[(usize, usize)]) {
        let mut batch = Vec::new();
        let mut expected = Vec::new();
        for (place, size) in sizes {
            let (topic, partition) = PLACES[*place];
            self.model.appended += 1;
            let text = format!("{} {}", self.model.appended, "z".repeat(*size));
            batch.push(record(topic, partition, &text));
            let texts = &mut self.model.of((topic, partition)).1;
            expected.push(texts.len() as u64);
            texts.push(text);
        }
        assert_eq!(self.broker().append(batch).await.unwrap(), expected);
    }

    async fn read_from(&mut self, place: (Topic, u32), from: u64, (messages, bytes): (usize, usize)) {
        let (start, texts) = self.model.of(place).clone();
        let from = from.max(start);
        if from >= texts.len() as u64 {
            return;
        }
        let mut reader = self.broker().reader(place.0, place.1, from);
        let found = reader.next(messages, bytes).await.unwrap();
        assert!(!found.is_empty() && found.len() <= messages);
        let total: usize = found.iter().map(|message| message.value.len()).sum();
        assert!(
            found.len() == 1 || total <= bytes,
            "{total} bytes where {bytes} were asked for"
        );
        for (at, message) in found.iter().enumerate() {
            let offset = from + at as u64;
            assert_eq!(
                (message.offset, &message.value[..]),
                (offset, texts[offset as usize].as_bytes())
            );
        }
    }

    async fn read_pointers(&mut self, place: (Topic, u32), offsets: &[u64]) {
        let (start, texts) = self.model.of(place).clone();
        let pointers: Vec<Pointer> = offsets
            .iter()
            .map(|&offset| Pointer {
                partition: place.1,
                offset,
            })
            .collect();
        let found = self.broker().read(place.0, &pointers).await.unwrap();
        for (offset, message) in offsets.iter().zip(found) {
            let expected = texts.get(*offset as usize).filter(|_| *offset >= start);
            let found = message.map(|message| String::from_utf8(message.value.to_vec()).unwrap());
            assert_eq!(found.as_ref(), expected, "{place:?} offset {offset}");
        }
    }

    async fn reopen(&mut self, clean: bool) {
        // Requests are durable when they are acknowledged, and everything else in order with them.
        self.append(&[(0, 1)]).await;
        let broker = self.broker.take().expect("it is open between operations");
        if clean {
            broker.close().await.unwrap();
        } else {
            self.disk = self.disk.killed();
        }
        self.broker = Some(open_sim(&tiny_config(), &self.disk).await.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_answers_like_a_plain_one(operations in prop::collection::vec(operation(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = SimDisk::new();
            let broker = Some(open_sim(&tiny_config(), &disk).await.unwrap());
            let mut subject = Subject { disk, broker, model: Model::default() };
            for operation in operations {
                subject.apply(operation).await;
            }
            subject.reopen(true).await;
        });
    }
}
