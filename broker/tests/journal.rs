//! Journals: a new owner finds exactly what was committed, whatever happened between any two steps, and a former owner
//! that wakes up is refused before it writes anything.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use support::numbers::{JOURNAL, Numbers, take_over};
use support::{Chance, open_sim, outcome, tiny_config};
use tidegate_broker::Broker;
use tidegate_broker::embedded::disk::SimDisk;
use tidegate_broker::journal::{Changes, Commit, Journal, JournalError, Replay, Taken};
use tidegate_schemas::Topic;

/// Commits one batch of random changes with one output that names its journal message.
async fn commit(
    journal: &mut Journal,
    numbers: &mut Numbers,
    chance: &mut Chance,
) -> Result<(), JournalError> {
    let before = numbers.clone();
    let mut changes = Changes::new();
    for _ in 0..1 + chance.below(5) {
        let name = format!("name {}", chance.below(60));
        let number = (chance.below(4) > 0).then(|| chance.below(1_000_000) as u64);
        changes.push(&numbers.set(&name, number));
    }
    let outputs = vec![outcome(&journal.next_offset().to_string())];
    let input = journal.input() + 1;
    let committed = journal
        .commit(
            Commit {
                outputs,
                changes,
                input,
            },
            numbers,
        )
        .await;
    if committed.is_err() {
        *numbers = before;
    }
    committed.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_finds_what_was_committed_after_a_crash_between_any_two_steps() {
    let mut disk = SimDisk::new();
    let mut chance = Chance::new(7);
    let mut expected = (0, Numbers::default());
    for life in 0..40_u64 {
        let broker = open_sim(&tiny_config(), &disk).await.unwrap();
        let (mut journal, input, mut numbers) = take_over(&broker).await;
        assert_eq!((input, &numbers), (expected.0, &expected.1), "life {life}");
        // The crash comes after any number of commits, also right after `open`.
        for _ in 0..life % 13 {
            commit(&mut journal, &mut numbers, &mut chance).await.unwrap();
        }
        expected = (journal.input(), numbers);
        // Dropping the broker lets its flusher finish, as the system does for a process that is only slow.
        drop((journal, broker));
        disk = disk.killed();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_and_journal_message_are_there_together_or_not_at_all() {
    for seed in 0..40 {
        let disk = SimDisk::new();
        let broker = open_sim(&tiny_config(), &disk).await.unwrap();
        let mut chance = Chance::new(seed);
        let (mut journal, _, mut numbers) = take_over(&broker).await;
        for _ in 0..chance.below(60) {
            commit(&mut journal, &mut numbers, &mut chance).await.unwrap();
        }
        let disk = disk.power_loss(&mut |count| chance.below(count));
        drop(broker);
        let broker = open_sim(&tiny_config(), &disk).await.unwrap();
        let (journal, input, _) = take_over(&broker).await;
        let outputs = support::read_all(&broker, Topic::Outcomes, 0).await.unwrap();
        // Every output names its commit, and every commit had one.
        assert_eq!(outputs.len() as u64, input, "seed {seed}");
        for (at, (_, names)) in outputs.iter().enumerate() {
            assert_eq!(*names, (at + 1).to_string(), "seed {seed}");
        }
        assert_eq!(
            journal.epoch(),
            if input == 0 { journal.epoch() } else { input + 1 },
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn a_former_owner_that_wakes_up_writes_and_trims_nothing() {
    let disk = SimDisk::new();
    let broker = open_sim(&tiny_config(), &disk).await.unwrap();
    let mut chance = Chance::new(3);
    let (mut former, _, mut former_numbers) = take_over(&broker).await;
    for _ in 0..20 {
        commit(&mut former, &mut former_numbers, &mut chance)
            .await
            .unwrap();
    }
    let (mut owner, input, mut numbers) = take_over(&broker).await;
    assert_eq!((input, &numbers), (20, &former_numbers));
    let before = (
        broker.offsets(JOURNAL.0, JOURNAL.1),
        broker.offsets(Topic::Outcomes, 0),
    );
    for _ in 0..2 {
        let lost = commit(&mut former, &mut former_numbers, &mut chance)
            .await
            .unwrap_err();
        assert!(matches!(lost, JournalError::Lost { partition: 1, .. }), "{lost}");
        let lost = former.complete_round(&former_numbers).await.unwrap_err();
        assert!(matches!(lost, JournalError::Lost { .. }), "{lost}");
    }
    assert_eq!(
        (
            broker.offsets(JOURNAL.0, JOURNAL.1),
            broker.offsets(Topic::Outcomes, 0)
        ),
        before
    );
    commit(&mut owner, &mut numbers, &mut chance).await.unwrap();
    assert_eq!(take_over(&broker).await.2, numbers);
}

#[tokio::test]
async fn a_message_of_a_lower_epoch_behind_an_open_is_ignored_by_every_reader() {
    let disk = SimDisk::new();
    let broker = open_sim(&tiny_config(), &disk).await.unwrap();
    let (mut former, _, mut former_numbers) = take_over(&broker).await;
    let mut chance = Chance::new(5);
    commit(&mut former, &mut former_numbers, &mut chance)
        .await
        .unwrap();
    let mut reader = broker.reader(JOURNAL.0, JOURNAL.1, 0);
    let stale = reader.next(10, 10_000).await.unwrap().pop().unwrap();
    let (mut owner, _, mut numbers) = take_over(&broker).await;
    // On a broker without conditional appends a former owner's last message can arrive behind the next one's `open`.
    let stale = tidegate_broker::Record {
        topic: JOURNAL.0,
        partition: JOURNAL.1,
        key: stale.key,
        meta: stale.meta,
        value: bytes::Bytes::from_static(b""),
    };
    broker.append(vec![stale]).await.unwrap();
    let lost = commit(&mut owner, &mut numbers, &mut chance).await.unwrap_err();
    assert!(
        matches!(lost, JournalError::Lost { .. }),
        "an offset that is not the next one stops the owner"
    );
    let mut follower = (Replay::default(), Numbers::default());
    let mut reader = broker.reader(JOURNAL.0, JOURNAL.1, 0);
    let messages = reader.next(100, 100_000).await.unwrap();
    let taken: Vec<Taken> = messages
        .iter()
        .map(|message| follower.0.take(message, &mut follower.1).unwrap())
        .collect();
    assert_eq!(taken, [Taken::Applied, Taken::Opened, Taken::Ignored]);
    assert_eq!(take_over(&broker).await.2, follower.1);
}

#[tokio::test]
async fn a_restore_reads_at_most_three_times_the_tables() {
    let disk = SimDisk::new();
    let broker = open_sim(&support::small_config(), &disk).await.unwrap();
    let (mut journal, _, mut numbers) = take_over(&broker).await;
    let names = 400;
    let table_bytes = names * "name 100=100000".len() + names * 4;
    for number in 0..20_000_u64 {
        let mut changes = Changes::new();
        for at in 0..8 {
            changes.push(&numbers.set(
                &format!("name {}", (number * 8 + at) * 7 % names as u64),
                Some(100_000 + at),
            ));
        }
        journal
            .commit(
                Commit {
                    changes,
                    input: number + 1,
                    ..Commit::default()
                },
                &numbers,
            )
            .await
            .unwrap();
        if number % 997 == 0 && number > 1000 {
            let mut reader = broker.reader(JOURNAL.0, JOURNAL.1, 0);
            let (end, mut held) = (broker.offsets(JOURNAL.0, JOURNAL.1).end, 0);
            while reader.position() < end {
                held += reader
                    .next(1000, 1 << 20)
                    .await
                    .unwrap()
                    .iter()
                    .map(|message| message.value.len())
                    .sum::<usize>();
            }
            // A round is cut at messages, so one of them may be over at either end.
            assert!(
                held <= table_bytes * 3 + 2048,
                "{held} bytes for tables of {table_bytes}"
            );
        }
    }
    assert_eq!(take_over(&broker).await.2, numbers);
}

#[tokio::test]
async fn an_idle_journal_completes_a_round_a_day_and_only_when_something_changed() {
    let (disk, clock) = (SimDisk::new(), support::Clock::new());
    let broker = Broker::open_on(&tiny_config(), support::host(&disk, &clock).0)
        .await
        .unwrap();
    let (mut journal, _, mut numbers) = take_over(&broker).await;
    let mut chance = Chance::new(1);
    for _ in 0..30 {
        commit(&mut journal, &mut numbers, &mut chance).await.unwrap();
    }
    let before = journal.next_offset();
    journal.idle(&numbers).await.unwrap();
    assert_eq!(journal.next_offset(), before, "the day is not over");
    for _ in 0..3 {
        clock.advance_hours(25);
        journal.idle(&numbers).await.unwrap();
    }
    let rest = broker.offsets(JOURNAL.0, JOURNAL.1);
    assert!(
        rest.start >= before && rest.end - rest.start <= 6,
        "{rest:?} is left"
    );
    let quiet = journal.next_offset();
    clock.advance_hours(25);
    journal.idle(&numbers).await.unwrap();
    assert_eq!(journal.next_offset(), quiet, "nothing has changed");
    assert_eq!(take_over(&broker).await.2, numbers);
}
