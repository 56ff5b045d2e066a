//! What waits for a key or a connection is set aside, survives a restart, and is decided when what it waits for comes
//! or its time is over. Keys come from a real HTTP server on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_schemas::{Outcome, Reason, Topic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::lines::find_lines;
use super::{House, World};
use crate::{Config, KeysConfig};

/// A server that answers every request with a status and a document, once it is let.
pub(super) struct KeyServer {
    url: String,
    asked: Arc<AtomicUsize>,
    pub open: watch::Sender<bool>,
}

impl KeyServer {
    pub async fn start(answers: &'static [(u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let (open, is_open) = watch::channel(false);
        let counted = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let at = counted.fetch_add(1, Ordering::SeqCst);
                let (status, document) = answers.get(at).or(answers.last()).copied().expect("an answer");
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    let mut request = [0u8; 4096];
                    let _bytes = socket.read(&mut request).await.expect("a request");
                    is_open
                        .wait_for(|open| *open)
                        .await
                        .expect("the test holds the sender");
                    let length = document.len();
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{document}"
                    );
                    socket
                        .write_all(answer.as_bytes())
                        .await
                        .expect("the client reads");
                });
            }
        });
        Self { url, asked, open }
    }

    pub fn body(&self) -> String {
        format!("key {}", self.url)
    }

    /// Waits until somebody asks.
    pub async fn asked_for(&self) {
        while self.asked.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(super) fn impatient() -> Config {
    Config {
        keys: KeysConfig {
            retry_after_ms: 1,
            refetch_after_ms: 5,
            ..KeysConfig::default()
        },
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_key_holds_up_nobody_and_is_decided_when_it_comes() {
    let world = World::new("lines");
    let server = KeyServer::start(&[(500, ""), (200, "{\"secret\":\"s\"}")]).await;
    let mut house = House::new().await;
    let bodies = [server.body(), "a".to_owned(), server.body()];
    house
        .append(0, bodies.map(|body| world.request(&[], body)).to_vec())
        .await;
    house.start_finding(&world, impatient(), find_lines);
    let first = house.rows(1).await;
    assert_eq!(
        first.iter().map(|row| row.request_offset).collect::<Vec<_>>(),
        [1]
    );
    server.open.send_replace(true);
    let rows = house.rows(3).await;
    let ends: Vec<_> = rows.iter().map(|row| (row.request_offset, row.outcome)).collect();
    assert_eq!(
        ends,
        [(1, Outcome::Routed), (0, Outcome::Routed), (2, Outcome::Routed)]
    );
    assert_eq!(
        server.asked.load(Ordering::SeqCst),
        2,
        "a failure, then one fetch for both"
    );
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_survives_a_restart() {
    let world = World::new("lines");
    let server = KeyServer::start(&[(200, "{\"secret\":\"s\"}")]).await;
    let mut house = House::new().await;
    house
        .append(
            0,
            vec![world.request(&[], server.body()), world.request(&[], "a")],
        )
        .await;
    house.start_finding(&world, impatient(), find_lines);
    assert_eq!(house.rows(1).await.len(), 1);
    house.stop().await.expect("a clean stop");
    let mut house = house.reopened().await;
    server.open.send_replace(true);
    house.start_finding(&world, impatient(), find_lines);
    let rows = house.rows(2).await;
    assert_eq!(
        rows.iter().map(|row| row.request_offset).collect::<Vec<_>>(),
        [1, 0]
    );
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_and_is_gone_has_its_row_too() {
    let world = World::new("lines");
    let server = KeyServer::start(&[(200, "{\"secret\":\"s\"}")]).await;
    let mut house = House::new().await;
    let requests = vec![world.request(&[], server.body()), world.request(&[], "a")];
    house.append(0, requests).await;
    house.start_finding(&world, impatient(), find_lines);
    assert_eq!(house.rows(1).await.len(), 1);
    house.broker.trim(Topic::Requests, 0, 2).await.expect("a trim");
    server.open.send_replace(true);
    let rows = house.rows(2).await;
    let gone = rows.last().expect("two rows");
    assert_eq!(
        (gone.request_offset, gone.outcome, gone.reason),
        (0, Outcome::Failed, Reason::RequestGone)
    );
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_gets_its_key_is_rejected() {
    let world = World::new("lines");
    let server = KeyServer::start(&[(404, "")]).await;
    server.open.send_replace(true);
    let mut house = House::new().await;
    house.append(0, vec![world.request(&[], server.body())]).await;
    let config = Config {
        key_wait_ms: 50,
        ..impatient()
    };
    house.start_finding(&world, config, find_lines);
    let rows = house.rows(1).await;
    let row = rows.first().expect("one row");
    assert_eq!(
        (row.outcome, row.reason),
        (Outcome::Rejected, Reason::KeyUnavailable)
    );
    assert!(row.detail.contains(&server.url), "{}", row.detail);
    house.stop().await.expect("a clean stop");
    assert_eq!(house.broker.offsets(Topic::Events, 0).end, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_must_not_be_dialled_gives_no_key() {
    let world = World::new("lines");
    let mut house = House::new().await;
    house
        .append(0, vec![world.request(&[], "key https://169.254.169.254/latest")])
        .await;
    let config = Config {
        key_wait_ms: 50,
        ..impatient()
    };
    house.start_finding(&world, config, find_lines);
    let row = house.rows(1).await.remove(0);
    assert_eq!(row.reason, Reason::KeyUnavailable);
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_when_there_is_no_room_to_set_it_aside() {
    let world = World::new("lines");
    let server = KeyServer::start(&[(200, "{}")]).await;
    let mut house = House::new().await;
    house
        .append(0, vec![world.request(&[], server.body()), world.request(&[], "")])
        .await;
    let config = Config {
        set_aside_bytes_max: 1,
        unattributed_wait_ms: 60_000,
        ..impatient()
    };
    house.start_finding(&world, config, find_lines);
    let rows = house.rows(2).await;
    let ends: Vec<_> = rows.iter().map(|row| (row.outcome, row.reason)).collect();
    assert_eq!(
        ends,
        [
            (Outcome::Rejected, Reason::KeyUnavailable),
            (Outcome::Routed, Reason::Ok)
        ]
    );
    house.stop().await.expect("a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unattributed_event_waits_its_time_and_then_passes() {
    let world = World::new("lines");
    let mut house = House::new().await;
    house.append(0, vec![world.request(&[], "a\n\nb")]).await;
    let config = Config {
        unattributed_wait_ms: 40,
        ..Config::default()
    };
    house.start_finding(&world, config, find_lines);
    let rows = house.rows(3).await;
    let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
    assert_eq!(positions, [0, 2, 1]);
    house.stop().await.expect("a clean stop");
}
