//! What is set aside comes back: in turn, when it is due, and out of the journal as it went in. No clock is read.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const ROOM: usize = 1 << 20;

fn queue(name: &str) -> Queue {
    Queue {
        cause: Cause::Key,
        name: name.into(),
    }
}

fn entry(offset: u64) -> Entry {
    Entry {
        offset,
        position: None,
        replay: false,
    }
}

fn wait(since: UnixMillis, due: UnixMillis) -> Wait {
    Wait {
        since,
        due,
        longest: Duration::from_secs(3600),
    }
}

/// The tables that the changes of `from` make, as a journal would hand them on.
fn restored(changes: &Changes, into: &mut SetAside) {
    for change in Changes::decode(changes.as_bytes()) {
        into.apply(change.expect("whole")).expect("what was written");
    }
}

fn contents(set_aside: &SetAside) -> Vec<(Queue, Vec<Entry>)> {
    let run = |(queue, waiting): (&Queue, &Waiting)| {
        (
            queue.clone(),
            waiting
                .runs_after(0)
                .flat_map(|(_, run)| run.entries())
                .collect::<Vec<_>>(),
        )
    };
    set_aside.queues.iter().map(run).collect()
}

#[test]
fn queues_take_turns_however_long_one_is() {
    let mut set_aside = SetAside::within(ROOM);
    for offset in 0..10_000 {
        set_aside
            .push(queue("a"), entry(offset), wait(NOW, NOW))
            .expect("room");
    }
    set_aside
        .push(queue("b"), entry(10_000), wait(NOW, NOW))
        .expect("room");
    let mut turns = Vec::new();
    while let Some((key, _)) = set_aside.next_due(NOW) {
        turns.push((*key.0.name).to_owned());
        set_aside.take_first(&key, usize::MAX);
    }
    assert_eq!(turns.get(..2), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert!(turns.len() > 3, "the long queue has several runs");
    assert_eq!((set_aside.len_bytes(), contents(&set_aside)), (0, Vec::new()));
}

#[test]
fn nothing_is_due_before_its_time_unless_it_is_woken() {
    let later = NOW.after(Duration::from_secs(60));
    let mut set_aside = SetAside::within(ROOM);
    set_aside
        .push(queue("a"), entry(1), wait(NOW, later))
        .expect("room");
    assert_eq!((set_aside.next_due(NOW), set_aside.due_at()), (None, Some(later)));
    set_aside.wake(Cause::Key, "b");
    assert_eq!(set_aside.next_due(NOW), None);
    set_aside.wake(Cause::Key, "a");
    let (key, since) = set_aside.next_due(NOW).expect("it was woken");
    assert_eq!((set_aside.first(&key, 9), since), (vec![entry(1)], NOW));
}

#[test]
fn the_limit_holds_and_space_comes_back() {
    let room = 4096;
    let mut set_aside = SetAside::within(room);
    let full = (0..).find(|at| set_aside.push(queue("a"), entry(*at), wait(NOW, NOW)).is_err());
    let taken = full.expect("a limit");
    assert!(taken > 500, "only {taken} pointers fit into {room} bytes");
    assert!(set_aside.len_bytes() <= room + 8);
    let (key, _) = set_aside.next_due(NOW).expect("due");
    set_aside.take_first(&key, usize::MAX);
    set_aside
        .push(queue("a"), entry(taken), wait(NOW, NOW))
        .expect("room again");
}

#[test]
fn only_undecided_requests_are_kept() {
    let mut set_aside = SetAside::within(ROOM);
    for offset in [3, 3, 9, 40] {
        set_aside
            .push(queue("a"), entry(offset), wait(NOW, NOW))
            .expect("room");
    }
    assert_eq!(set_aside.offsets_in(&(0..40)), [3, 9]);
    assert_eq!(set_aside.offsets_in(&(4..9)), [0; 0]);
}

#[test]
fn a_change_of_an_unknown_cause_is_refused() {
    let error = SetAside::within(ROOM)
        .apply(&[change::TAG_PUT, 9, 1, 0])
        .expect_err("unknown");
    assert!(error.to_string().contains("does not know"), "{error}");
}

#[test]
fn whoever_is_due_longest_goes_first_and_a_turn_is_one_run() {
    let mut set_aside = SetAside::within(ROOM);
    let at = |millis: u64| NOW.after(Duration::from_millis(millis));
    for (name, due) in [("c", 1), ("a", 3), ("b", 2), ("d", 9)] {
        set_aside
            .push(queue(name), entry(1), wait(NOW, at(due)))
            .expect("room");
    }
    assert_eq!(set_aside.due_at(), Some(at(1)));
    let turns: Vec<String> = (0..6)
        .filter_map(|_| set_aside.next_due(at(5)))
        .map(|((queue, _), _)| (*queue.name).to_owned())
        .collect();
    assert_eq!(turns, ["c", "b", "a", "c", "b", "a"]);
    set_aside.put_off(&queue("b"), at(20));
    assert_eq!(set_aside.due_at(), Some(at(5)));
    for name in ["a", "c"] {
        set_aside.put_off(&queue(name), at(30));
    }
    assert_eq!(set_aside.due_at(), Some(at(9)));
}

proptest! {
    #[test]
    fn the_journal_gives_back_what_was_set_aside(
        steps in proptest::collection::vec((0u8..6, 0u64..500, any::<bool>()), 1..200),
        slice_bytes in 1usize..600,
    ) {
        let mut set_aside = SetAside::within(ROOM);
        let mut journalled = SetAside::within(ROOM);
        let mut sliced = SetAside::within(ROOM);
        let mut cursor = None;
        for (step, (name, offset, take)) in steps.into_iter().enumerate() {
            let since = NOW.after(Duration::from_secs(step as u64));
            set_aside.push(queue(&name.to_string()), entry(offset), wait(since, since)).expect("room");
            if take && let Some((key, _)) = set_aside.next_due(since) {
                set_aside.take_first(&key, usize::MAX);
            }
            let mut changes = Changes::new();
            set_aside.write_changes(&mut changes);
            let mut slice = Changes::new();
            cursor = set_aside.slice(cursor.as_deref(), slice_bytes, &mut slice);
            restored(&changes, &mut journalled);
            // A journal's reader takes a message's slices before its changes.
            restored(&slice, &mut sliced);
            restored(&changes, &mut sliced);
        }
        prop_assert_eq!(contents(&journalled), contents(&set_aside));
        prop_assert_eq!(contents(&sliced), contents(&set_aside));
        prop_assert_eq!(journalled.len_bytes(), set_aside.len_bytes());
        // A reader that begins at the round's first slice has everything once a round is complete.
        let mut whole = SetAside::within(ROOM);
        let mut all = Changes::new();
        prop_assert_eq!(set_aside.slice(None, usize::MAX / 2, &mut all), None);
        restored(&all, &mut whole);
        prop_assert_eq!(contents(&whole), contents(&set_aside));
    }
}
