//! `tidegate top` beside a real server: one table when there is no terminal, in each view, that adds up with what
//! ClickHouse holds; on a terminal a screen that keys turn, and that leaves the terminal as it was. In: a flood of
//! `floods.toml`.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tidegate_testkit::receiver::Receiver;
use tidegate_testkit::server::{Launch, PATIENCE, Server};

use crate::floods::{flood, manifest, outcomes, send};
use crate::terminal::Session;
use crate::{launch, no_variables};

/// What it prints, once it ends with 0.
fn top(launch: &Launch, arguments: &[&str]) -> String {
    let output = launch
        .command(&[&["top", "--last", "1h"][..], arguments].concat())
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text is printed")
}

/// The cells of the table, its titles first.
fn cells(printed: &str) -> Vec<Vec<String>> {
    let table = printed
        .lines()
        .skip_while(|line| !line.starts_with("integration"));
    table
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// The number under a title.
fn number(cells: &[Vec<String>], row: usize, title: &str) -> u64 {
    let column = cells[0].iter().position(|cell| cell == title).expect("a column");
    cells[row][column].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_tells_who_is_hottest_and_what_became_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let receiver = Receiver::start().await;
    let mut flood = flood();
    flood.objects = 25;
    let flood = Arc::new(flood);
    let server = launch(folder.path()).start().await;
    let launch = server.launch().clone();
    server.query_until("SELECT event_id FROM events", |_| true).await;
    let empty = top(&launch, &[]);
    assert!(empty.ends_with("no events\n"), "{empty}");
    let key = ("tests".to_owned(), "flooded".to_owned());
    let url = server.apply(&manifest(&flood, &receiver), &no_variables()).await[&key].clone();
    let events = flood.objects * 2 + 1;
    send(&flood, &url, (0, events)).await;
    let outcomes = outcomes(&server, events).await;
    let routed = outcomes.get("routed").copied().unwrap_or_default();

    let integrations = cells(&top(&launch, &["--once"]));
    assert_eq!(integrations[1][0], "flooded", "{integrations:?}");
    assert_eq!(number(&integrations, 1, "events"), events as u64);
    assert_eq!(number(&integrations, 1, "routed"), routed);
    assert_eq!(
        number(&integrations, 1, "windows"),
        routed,
        "one delivery for each window"
    );
    assert_eq!(number(&integrations, 1, "debounced"), events as u64 - routed);

    let connections = cells(&top(&launch, &["connections"]));
    assert_eq!(connections[1][..2], ["flooded", "acme"]);
    assert_eq!(number(&connections, 1, "events"), events as u64);

    let objects = cells(&top(&launch, &["objects", "--sort", "events", "-n", "5"]));
    assert_eq!(objects.len(), 6, "five rows and the titles: {objects:?}");
    assert_eq!(
        objects[1][..3],
        ["flooded", "acme", "contact-0"],
        "it has three events"
    );
    assert_eq!(number(&objects, 1, "events"), 3);

    let began = Instant::now();
    loop {
        let printed = top(&launch, &[]);
        if printed.contains("open windows 0 (") && printed.contains(&format!("delivery ids {events} (")) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{printed}");
    }
    server.terminate().await;
    let output = launch.command(&["top"]).output().expect("the program starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no server runs on"));
}

/// A server with a small flood behind it.
async fn flooded(folder: &std::path::Path) -> Server {
    let receiver = Receiver::start().await;
    let mut flood = flood();
    flood.objects = 4;
    let flood = Arc::new(flood);
    let server = launch(folder).start().await;
    let key = ("tests".to_owned(), "flooded".to_owned());
    let url = server.apply(&manifest(&flood, &receiver), &no_variables()).await[&key].clone();
    send(&flood, &url, (0, 9)).await;
    outcomes(&server, 9).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_keys_turn_the_screen_and_the_terminal_is_left_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = flooded(folder.path()).await;
    let launch = server.launch().clone();

    let mut session = Session::of(&launch, "top --last 1h");
    let screen = session.shows("q quit");
    assert!(screen.is_alternate && !screen.has_cursor, "{}", screen.text());
    let text = screen.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("the hottest integrations of the last 3600 s"),
        "{text}"
    );
    assert!(lines[1].starts_with("open windows"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("flooded ")), "{text}");
    session.press("2");
    session.shows("acme");
    session.press("3");
    session.shows("contact-3");
    session.press("s");
    session.shows("by routed");
    session.press("p");
    session.shows("paused");
    session.press("-");
    session.shows("of the last 1800 s");
    session.press("q");
    assert_eq!(session.ends(), 0);

    let mut session = Session::of(&launch, "top");
    session.shows("q quit");
    session.press("\x03");
    assert_eq!(session.ends(), 0, "Ctrl-C");

    let session = Session::of(&launch, "top");
    session.shows("q quit");
    let process = Pid::from_raw(session.process()).expect("a process id");
    kill_process(process, Signal::TERM).expect("it can be sent a signal");
    assert_eq!(session.ends(), 0, "SIGTERM");

    // A server that goes away is told on the screen, and keys still work.
    let mut session = Session::of(&launch, "top");
    session.shows("q quit");
    server.terminate().await;
    session.shows("not refreshed: ");
    session.press("q");
    assert_eq!(session.ends(), 0);
    let session = Session::of(&launch, "top");
    assert_ne!(session.ends(), 0, "without a server it is an ordinary error");
}
