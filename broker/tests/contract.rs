//! What a broker promises, held against a plain model in memory, the embedded log and a real Kafka: the same random
//! operations with the same answers, the same refusals, and journals that go from owner to owner.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::ops::Range;

use support::numbers::{JOURNAL, Numbers, take_over};
use support::{Chance, open_sim, outcome, record, tiny_config};
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_broker::journal::{Changes, Commit, Journal, JournalError};
use tidegate_broker::{AppendError, Broker, Message, Record, kafka};
use tidegate_schemas::{Pointer, Topic};
use tidegate_testkit::kafka::{shared, unique_prefix};

const PLACES: [(Topic, u32); 4] = [
    (Topic::Requests, 0),
    (Topic::Requests, 1),
    (Topic::Events, 0),
    (Topic::State, 1),
];

/// The plain model: what is there, by place.
#[derive(Default)]
struct Model(BTreeMap<(Topic, u32), (u64, Vec<Record>)>);

/// Whoever must keep the promises.
enum Subject {
    Model(Model),
    Broker(Broker),
}

/// A message as all three must answer it: offset, key, metadata, value.
type Seen = (u64, Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<Record>),
    Trim((Topic, u32), u64),
    ReadFrom((Topic, u32), u64),
    ReadPointers((Topic, u32), Vec<u64>),
    Ends,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Offsets(Vec<u64>),
    Done,
    Read(Vec<Seen>),
    Found(Vec<Option<Seen>>),
    Ends(Vec<Range<u64>>),
}

fn seen(offset: u64, record: &Record) -> Seen {
    (
        offset,
        record.key.to_vec(),
        record.meta.to_vec(),
        record.value.to_vec(),
    )
}

fn seen_message(message: &Message) -> Seen {
    let Message { key, meta, value, .. } = message;
    (message.offset, key.to_vec(), meta.to_vec(), value.to_vec())
}

impl Subject {
    async fn apply(&mut self, operation: Operation) -> Answer {
        match self {
            Subject::Model(model) => model.apply(operation),
            Subject::Broker(broker) => apply(broker, operation).await,
        }
    }
}

impl Model {
    fn apply(&mut self, operation: Operation) -> Answer {
        match operation {
            Operation::Append(batch) => {
                Answer::Offsets(batch.into_iter().map(|it| self.append(it)).collect())
            }
            Operation::Trim(place, before) => {
                let (start, records) = self.0.entry(place).or_default();
                *start = (*start).max(before.min(records.len() as u64));
                Answer::Done
            }
            Operation::ReadFrom(place, from) => {
                let range = self.range(place);
                let all = range.start.max(from)..range.end;
                Answer::Read(all.filter_map(|offset| self.at(place, offset)).collect())
            }
            Operation::ReadPointers(place, offsets) => {
                Answer::Found(offsets.into_iter().map(|offset| self.at(place, offset)).collect())
            }
            Operation::Ends => Answer::Ends(PLACES.iter().map(|place| self.range(*place)).collect()),
        }
    }

    fn append(&mut self, record: Record) -> u64 {
        let (_, records) = self.0.entry((record.topic, record.partition)).or_default();
        records.push(record);
        records.len() as u64 - 1
    }

    fn range(&self, place: (Topic, u32)) -> Range<u64> {
        self.0
            .get(&place)
            .map_or(0..0, |(start, records)| *start..records.len() as u64)
    }

    fn at(&self, place: (Topic, u32), offset: u64) -> Option<Seen> {
        let (start, records) = self.0.get(&place)?;
        let record = records.get(offset as usize)?;
        (offset >= *start).then(|| seen(offset, record))
    }
}

async fn apply(broker: &Broker, operation: Operation) -> Answer {
    match operation {
        Operation::Append(batch) => Answer::Offsets(broker.append(batch).await.unwrap()),
        Operation::Trim(place, before) => {
            // Above the end Kafka refuses and the log trims to the end; journals ask for neither.
            let end = broker.latest(place.0).await.unwrap()[place.1 as usize].end;
            broker.trim(place.0, place.1, before.min(end)).await.unwrap();
            Answer::Done
        }
        Operation::ReadFrom(place, from) => {
            let range = broker.latest(place.0).await.unwrap()[place.1 as usize].clone();
            let mut read = Vec::new();
            let mut reader = broker.reader(place.0, place.1, from);
            while range.start.max(from) + (read.len() as u64) < range.end {
                let messages = reader.next(7, 2000).await.unwrap();
                assert!(!messages.is_empty() && messages.len() <= 7);
                read.extend(messages.iter().map(seen_message));
            }
            assert!(read.is_empty() || reader.position() == range.end);
            Answer::Read(read)
        }
        Operation::ReadPointers((topic, partition), offsets) => {
            let pointer = |offset| Pointer { partition, offset };
            let pointers: Vec<Pointer> = offsets.into_iter().map(pointer).collect();
            let found = broker.read(topic, &pointers).await.unwrap();
            Answer::Found(found.iter().map(|it| it.as_ref().map(seen_message)).collect())
        }
        Operation::Ends => {
            let mut ends = Vec::new();
            for (topic, partition) in PLACES {
                ends.push(broker.latest(topic).await.unwrap()[partition as usize].clone());
            }
            Answer::Ends(ends)
        }
    }
}

/// Operations that follow from a seed.
fn script(seed: u64, steps: usize) -> Vec<Operation> {
    let mut chance = Chance::new(seed);
    let mut appended = 0;
    let mut step = |_| {
        let place = PLACES[chance.below(PLACES.len())];
        match chance.below(10) {
            0 => Operation::Trim(place, chance.below(30) as u64),
            1 | 2 => Operation::ReadFrom(place, chance.below(40) as u64),
            3 => Operation::ReadPointers(
                place,
                (0..1 + chance.below(5))
                    .map(|_| chance.below(50) as u64)
                    .collect(),
            ),
            4 => Operation::Ends,
            _ => {
                let batch = (0..1 + chance.below(4)).map(|_| {
                    let (topic, partition) = PLACES[chance.below(PLACES.len())];
                    appended += 1;
                    record(
                        topic,
                        partition,
                        &format!("{appended} {}", "z".repeat(chance.below(600))),
                    )
                });
                Operation::Append(batch.collect())
            }
        }
    };
    (0..steps).map(&mut step).collect()
}

async fn embedded() -> Broker {
    open_sim(&tiny_config(), &SimDisk::new()).await.unwrap()
}

/// The same limits and partitions on the tests' Kafka, under names of their own.
async fn on_kafka(test: &str) -> Broker {
    let tiny = tiny_config();
    let config = kafka::Config {
        bootstrap: shared().await.bootstrap(),
        prefix: unique_prefix(test),
        body_message_bytes_max: tiny.body_message_bytes_max + 512,
        rows_message_bytes_max: tiny.rows_message_bytes_max + 512,
        partitions: tiny.partitions,
        question_timeout_ms: 60_000,
        append_timeout_ms: 60_000,
        request_timeout_ms: 60_000,
        ..kafka::Config::default()
    };
    Broker::connect(&config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_the_embedded_log_and_kafka_answer_alike() {
    for seed in 1..=4 {
        let mut subjects = [
            Subject::Model(Model::default()),
            Subject::Broker(embedded().await),
            Subject::Broker(on_kafka("alike").await),
        ];
        for (step, operation) in script(seed, 60).into_iter().enumerate() {
            let [model, log, kafka] = &mut subjects;
            let expected = model.apply(operation.clone()).await;
            for (name, subject) in [("the log", log), ("kafka", kafka)] {
                let answer = subject.apply(operation.clone()).await;
                assert_eq!(
                    answer, expected,
                    "seed {seed}, step {step}, {name}: {operation:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_appended_is_refused_whole() {
    for broker in [embedded().await, on_kafka("refused").await] {
        let partitions = broker.partitions(Topic::Events);
        let large = record(
            Topic::Events,
            0,
            &"z".repeat(broker.message_bytes_max(Topic::Events) + 1),
        );
        let nowhere = record(Topic::Events, partitions, "");
        for refused in [large, nowhere] {
            let batch = vec![record(Topic::Events, 0, "good"), refused];
            let error = broker.append(batch).await.unwrap_err();
            let expected = matches!(
                error,
                AppendError::TooLarge { .. } | AppendError::NoPartition { .. }
            );
            assert!(expected && !error.is_retryable(), "{error}");
        }
        assert_eq!(
            broker.latest(Topic::Events).await.unwrap()[0],
            0..0,
            "nothing of it is there"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_what_is_appended_later_and_both_readers_of_a_partition_get_it() {
    for broker in [embedded().await, on_kafka("waits").await] {
        let (one, two) = (
            broker.reader(Topic::Requests, 1, 0),
            broker.reader(Topic::Requests, 1, 0),
        );
        let reading = [one, two].map(|mut reader| {
            tokio::spawn(async move {
                reader
                    .next(10, 1000)
                    .await
                    .unwrap()
                    .iter()
                    .map(seen_message)
                    .collect::<Vec<_>>()
            })
        });
        broker
            .append(vec![record(Topic::Requests, 1, "late")])
            .await
            .unwrap();
        for read in reading {
            assert_eq!(
                read.await.unwrap(),
                [seen(0, &record(Topic::Requests, 1, "late"))]
            );
        }
    }
}

async fn commit(
    journal: &mut Journal,
    numbers: &mut Numbers,
    chance: &mut Chance,
) -> Result<(), JournalError> {
    let mut changes = Changes::new();
    for _ in 0..1 + chance.below(5) {
        let number = (chance.below(4) > 0).then(|| chance.below(1000) as u64);
        changes.push(&numbers.set(&format!("name {}", chance.below(20)), number));
    }
    let commit = Commit {
        outputs: vec![outcome(&journal.next_offset().to_string())],
        changes,
        input: journal.input() + 1,
    };
    journal.commit(commit, numbers).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_goes_from_owner_to_owner_and_is_kept_short() {
    for broker in [embedded().await, on_kafka("journal").await] {
        let mut chance = Chance::new(11);
        let mut expected = (0, Numbers::default());
        for life in 0..6 {
            let (mut journal, input, mut numbers) = take_over(&broker).await;
            assert_eq!((input, &numbers), (expected.0, &expected.1), "life {life}");
            for _ in 0..7 * life {
                commit(&mut journal, &mut numbers, &mut chance).await.unwrap();
            }
            expected = (journal.input(), numbers);
        }
        let journal = &broker.latest(JOURNAL.0).await.unwrap()[JOURNAL.1 as usize];
        assert!(journal.start > 50, "rounds are trimmed: {journal:?}");
        let outputs = broker.latest(Topic::Outcomes).await.unwrap()[0].end;
        assert_eq!(outputs, expected.0, "one output a commit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_owner_that_wakes_up_changes_nothing_that_anyone_reads() {
    for broker in [embedded().await, on_kafka("former").await] {
        let mut chance = Chance::new(5);
        let (mut former, _, mut former_numbers) = take_over(&broker).await;
        for _ in 0..5 {
            commit(&mut former, &mut former_numbers, &mut chance)
                .await
                .unwrap();
        }
        let (mut owner, input, mut numbers) = take_over(&broker).await;
        assert_eq!((input, &numbers), (5, &former_numbers));
        for _ in 0..2 {
            let lost = commit(&mut former, &mut former_numbers, &mut chance)
                .await
                .unwrap_err();
            assert!(matches!(lost, JournalError::Lost { .. }), "{lost}");
            let lost = former.complete_round(&former_numbers).await.unwrap_err();
            assert!(
                matches!(lost, JournalError::Lost { .. }),
                "it trims nothing either: {lost}"
            );
        }
        // On Kafka the former one's last message lies behind the `open`: the owner finds that out and opens again.
        if let Err(lost) = commit(&mut owner, &mut numbers.clone(), &mut Chance::new(9)).await {
            assert!(
                broker.is_shared() && matches!(lost, JournalError::Lost { .. }),
                "{lost}"
            );
            (owner, _, numbers) = take_over(&broker).await;
        } else {
            (owner, _, numbers) = take_over(&broker).await;
            assert_eq!(owner.input(), 6);
        }
        commit(&mut owner, &mut numbers, &mut chance).await.unwrap();
        assert_eq!(take_over(&broker).await.2, numbers);
    }
}
