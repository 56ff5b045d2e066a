//! Each rule of debouncing as a line: events go in at times, and out comes what was handed on, when, and from where.

use super::*;

/// An event: when it comes (ms), its version, its provider time.
type Line = (u64, Option<i64>, Option<u64>);

fn id(n: u64) -> EventId {
    EventId(uuid::Uuid::from_u128(u128::from(n) + 1))
}

fn incoming(n: usize, (at, version, time): Line) -> Incoming {
    Incoming {
        id: id(n as u64),
        place: Place {
            offset: n as u64,
            position: 0,
        },
        received_at: UnixMillis(at),
        version,
        time: time.map(UnixMillis),
        bypasses: false,
    }
}

/// Runs events through a policy; `P` for one that passes at once, `W` for the kept one of a window, with its time.
fn run(policy: &Debounce, lines: &[Line]) -> Vec<(char, u64, u64)> {
    let mut window: Option<Window> = None;
    let mut out = Vec::new();
    let fire = |window: &mut Option<Window>, until: u64, out: &mut Vec<(char, u64, u64)>| {
        if let Some(due) = window.take_if(|window| window.deadline.0 <= until)
            && let Some(kept) = due.kept
        {
            out.push(('W', kept.offset, due.deadline.0));
        }
    };
    for (n, line) in lines.iter().enumerate() {
        fire(&mut window, line.0, &mut out);
        let decision = debounce(
            window.as_ref(),
            &incoming(n, *line),
            Some(policy),
            UnixMillis(line.0),
        );
        if decision.event == Debounced::Passes {
            out.push(('P', n as u64, line.0));
        }
        window = decision.window;
        if decision.ends_after
            && let Some(kept) = window.take().and_then(|window| window.kept)
        {
            out.push(('W', kept.offset, line.0));
        }
    }
    fire(&mut window, u64::MAX, &mut out);
    out
}

fn policy() -> Debounce {
    Debounce {
        quiet: Duration::from_millis(20),
        max_wait: Duration::from_millis(50),
        ..Debounce::default()
    }
}

const fn at(at: u64) -> Line {
    (at, None, None)
}

#[test]
fn a_window_ends_when_it_is_quiet_and_after_max_wait_at_the_latest() {
    let policy = policy();
    assert_eq!(run(&policy, &[at(100)]), [('W', 0, 120)]);
    assert_eq!(run(&policy, &[at(100), at(110)]), [('W', 1, 130)]);
    let starving = [at(100), at(115), at(130), at(145), at(160)];
    assert_eq!(run(&policy, &starving), [('W', 3, 150), ('W', 4, 180)]);
}

#[test]
fn an_edge_says_when_something_is_handed_on() {
    let edge = |edge| Debounce { edge, ..policy() };
    let lines = [at(100), at(110), at(115), at(200)];
    assert_eq!(run(&edge(Edge::Trailing), &lines), [('W', 2, 135), ('W', 3, 220)]);
    assert_eq!(run(&edge(Edge::Leading), &lines), [('P', 0, 100), ('P', 3, 200)]);
    assert_eq!(
        run(&edge(Edge::Both), &lines),
        [('P', 0, 100), ('W', 2, 135), ('P', 3, 200)]
    );
}

#[test]
fn keep_says_which_event_stands_for_the_others() {
    let keep = |keep| Debounce { keep, ..policy() };
    let by_version = [
        (100, Some(5), Some(9)),
        (105, Some(7), Some(1)),
        (110, Some(6), Some(99)),
    ];
    assert_eq!(run(&keep(Keep::Latest), &by_version), [('W', 1, 130)]);
    assert_eq!(run(&keep(Keep::First), &by_version), [('W', 0, 130)]);
    assert_eq!(run(&keep(Keep::All), &by_version), [('W', 2, 130)]);
    let by_time = [(100, None, Some(5)), (105, None, Some(4)), (110, None, Some(5))];
    assert_eq!(
        run(&keep(Keep::Latest), &by_time),
        [('W', 2, 130)],
        "of equals the last to come"
    );
    let same_version = [(100, Some(5), Some(8)), (105, Some(5), Some(7))];
    assert_eq!(
        run(&keep(Keep::Latest), &same_version),
        [('W', 0, 125)],
        "the time decides between equals"
    );
    assert_eq!(
        run(&keep(Keep::Latest), &[at(100), at(101)]),
        [('W', 1, 121)],
        "arrival at last"
    );
}

#[test]
fn behind_the_leading_event_only_a_later_one_is_handed_on() {
    let both = Debounce {
        edge: Edge::Both,
        ..policy()
    };
    assert_eq!(
        run(&both, &[(100, Some(5), None), (105, Some(4), None)]),
        [('P', 0, 100)]
    );
}

#[test]
fn max_events_ends_a_window_at_once() {
    let check = |edge, expected: &[(char, u64, u64)]| {
        let policy = Debounce {
            edge,
            max_events: Some(2),
            ..policy()
        };
        assert_eq!(run(&policy, &[at(100), at(101), at(102)]), expected);
    };
    check(Edge::Trailing, &[('W', 1, 101), ('W', 2, 122)]);
    check(Edge::Leading, &[('P', 0, 100), ('P', 2, 102)]);
    check(Edge::Both, &[('P', 0, 100), ('W', 1, 101), ('P', 2, 102)]);
}

#[test]
fn what_bypasses_ends_the_window_and_passes() {
    let policy = policy();
    let open = debounce(None, &incoming(0, at(100)), Some(&policy), UnixMillis(100)).window;
    let deletion = Incoming {
        bypasses: true,
        ..incoming(1, at(101))
    };
    for policy in [Some(&policy), None] {
        let decision = debounce(open.as_ref(), &deletion, policy, UnixMillis(101));
        assert_eq!(
            (decision.ends_before, decision.event, decision.window),
            (true, Debounced::Passes, None)
        );
    }
    assert!(!debounce(None, &deletion, Some(&policy), UnixMillis(101)).ends_before);
}

#[test]
fn an_open_window_keeps_its_deadline_when_the_policy_changes() {
    let old = policy();
    let open = debounce(None, &incoming(0, at(100)), Some(&old), UnixMillis(100))
        .window
        .expect("opened");
    let longer = Debounce {
        quiet: Duration::from_millis(40),
        max_events: Some(2),
        ..old.clone()
    };
    for (policy, deadline) in [(Some(&old), 125), (Some(&longer), 120), (None, 120)] {
        let decision = debounce(Some(&open), &incoming(1, at(105)), policy, UnixMillis(105));
        let window = decision.window.expect("still open");
        assert_eq!(
            (window.deadline.0, window.count, decision.ends_after),
            (deadline, 2, false)
        );
    }
}

#[test]
fn no_deadline_lies_further_ahead_after_the_clock_was_set() {
    let open = debounce(None, &incoming(0, at(1000)), Some(&policy()), UnixMillis(1000))
        .window
        .expect("opened");
    let check = |now: u64, opened: u64, deadline: u64| {
        let window = open.rebased(UnixMillis(now));
        assert_eq!(
            (window.opened.0, window.deadline.0),
            (opened, deadline),
            "at {now}"
        );
    };
    check(1010, 1000, 1020);
    check(5000, 1000, 1020);
    check(400, 400, 420);
}
